"""Reading every other file of a home, and the weights in the cache: what a deep check adds.

Shards are read by `shards.check`, and rows of Milvus by `verify`. One file is read at a time, in
pieces where it is large.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ...schemas.backbones import Backbone
from ...schemas.errors import VidsimError
from ...schemas.results import FilesChecked
from ...schemas.settings import SETTINGS_FILE, settings
from ..models.weights import folder_of, status
from ..shards.check import ASIDE
from ..shards.home import Home
from ..shards.manifest import LISTS
from ..shards.open_shard import is_shard
from ..system.checked_json import ChangedError, read_checked
from ..system.progress import Progress
from ..system.unreadable import unread

_PIECE_BYTES = 1 << 20

_DERIVED = ("background", "counts", "failed", "hashes-2", "indexes", "shards", "verified.json")
"""What is made anew by itself: of `shards`, their lists; of `failed`, by trying again. All else is
left to people: descriptions of networks, decisions, settings, moves, what is not vidsim's."""

_NOT_READ = (".lock", ".partial", ".sock")

_HOLDER = "writing.json"
"""Written anew by whoever is writing, and of no use to anybody else."""


@dataclass(frozen=True)
class WrongFile:
    """A file that is not as it was written.

    Attributes:
        path: The file.
        look: Looks at it again: says what is wrong, "" where nothing is.
        sentence: What is wrong.
        remade: Whether vidsim makes it anew where it is missing.
    """

    path: Path
    look: Callable[[Path], str]
    sentence: str
    remade: bool


@dataclass
class _Read:
    files: dict[str, FilesChecked] = field(default_factory=dict)
    wrong: list[WrongFile] = field(default_factory=list)

    def look(self, what: str, path: Path, look: Callable[[Path], str], remade: bool) -> None:
        """Look at one file, and count it."""
        size = _size(path)
        try:
            wrong = look(path)
        except FileNotFoundError:
            return  # a writer has replaced or removed it meanwhile
        of = self.files.get(what) or FilesChecked(what=what, files=0, bytes=0, wrong=0)
        counted = {"files": of.files + 1, "bytes": of.bytes + size, "wrong": of.wrong + bool(wrong)}
        self.files[what] = of.model_copy(update=counted)
        if wrong:
            self.wrong.append(WrongFile(path, look, wrong, remade))


def read_every_file(home: Home, progress: Progress) -> tuple[list[FilesChecked], list[WrongFile]]:
    """Read every file of a home but shards, and weights in the cache, whole.

    Args:
        home: The home.
        progress: Receives the progress.

    Returns:
        What was read, by what it is for, and what is wrong.

    Raises:
        StoreError: A library's note or shards cannot be read.
    """
    read = _Read()
    paths = [*_files(home.path)]
    progress.start("files", sum(map(_size, paths)), "bytes")
    for path in paths:
        what, look = _kind(home.path, path)
        remade = path.relative_to(home.path).parts[0] in _DERIVED and look is not _whole
        size = _size(path)
        read.look(what, path, look, remade)
        progress.advance("files", size)
    progress.finish("files")
    _read_weights(home, progress, read)
    return [*read.files.values()], read.wrong


def mend(wrong: Iterable[WrongFile], repair: bool) -> tuple[list[str], list[str]]:
    """Delete what is damaged and made anew by itself; look at the rest again, as it may be mended.

    Args:
        wrong: As `read_every_file` gives it.
        repair: Whether anything may be deleted.

    Returns:
        Sentences about what is wrong still, and about what is well.
    """
    damage, mended = [], []
    for file in wrong:
        try:
            still = file.look(file.path)
        except FileNotFoundError:
            still = ""
        if not still:
            mended.append(f"{file.path} was damaged, and is written anew.")
        elif repair and file.remade:
            file.path.unlink(missing_ok=True)
            mended.append(f"{still}; it was deleted, and is made anew when it is needed.")
        elif file.remade:
            damage.append(f"{still}; --repair deletes it, and it is made anew when it is needed.")
        elif "; " in still:
            damage.append(still)
        else:
            damage.append(f"{still}; put it back from a copy, or delete it.")
    return damage, mended


def _files(home: Path) -> Iterator[Path]:
    """Yield all files below `home` but shards, locks, and what is half written."""
    for parent, folders, names in os.walk(home):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            shard = home / "shards" in path.parents and path.parent.name != ASIDE and is_shard(name)
            passed_over = shard or name == _HOLDER or name.endswith(_NOT_READ)
            if not passed_over and path.is_file():
                yield path


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _kind(home: Path, path: Path) -> tuple[str, Callable[[Path], str]]:
    """Return what a file is for, and what says what is wrong with it."""
    inside = path.relative_to(home).parts
    if inside[0] == "milvus.db":
        return "files of Milvus Lite", _whole  # rows and vectors are compared by `verify`
    if inside[0] == "shards" and path.name in LISTS:
        return "lists of shards", _checked
    if path.name == SETTINGS_FILE:
        return "settings", _settings
    if path.suffix == ".json" and inside[0] != "shards":
        return "notes and descriptions", _checked
    if path.suffix == ".npz":
        return "hashes of frames", _zipped
    return "others", _whole


def _checked(path: Path) -> str:
    try:
        read_checked(path)
    except (ChangedError, VidsimError) as error:
        return str(error).rstrip(".")
    return ""


def _zipped(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as packed:
            bad = packed.testzip()  # in pieces
    except FileNotFoundError:
        raise
    except OSError as error:
        return unread(path, error).rstrip(".")
    except Exception as error:  # zipfile raises whatever damage leads it to
        return f"{path} is damaged ({error})"
    return f"{path} is damaged (its part {bad} fails its checksum)" if bad else ""


def _settings(path: Path) -> str:
    try:
        settings(path.parent)
    except VidsimError as error:
        return str(error).rstrip(".")
    return ""


def _whole(path: Path) -> str:
    """Read a file that has no checksum: a failing disk says so."""
    try:
        with path.open("rb") as file:
            while file.read(_PIECE_BYTES):
                pass
    except FileNotFoundError:
        raise
    except OSError as error:
        return unread(path, error).rstrip(".")
    return ""


def _read_weights(home: Home, progress: Progress, read: _Read) -> None:
    from ..models.prepared import is_whole  # torch

    def prepared(path: Path) -> str:
        return "" if is_whole(path) else f"{path} is damaged (its name tells another SHA-256)"

    notes = [home.note(library) for library in home.shards.libraries()]
    used = {name for note in notes for name in note.weights}
    networks = {b.network: b for b in home.backbones.values() if b.name in used and b.weights}
    made = sorted((settings().cache / "prepared").glob("*.safetensors"))
    progress.start("weights", len(networks) + len(made), "files")
    for backbone in networks.values():
        if (folder := folder_of(backbone)).is_dir():
            read.look("weights", folder, _weights(backbone), remade=False)
        progress.advance("weights", 1)
    for path in made:
        read.look("weights", path, prepared, remade=True)
        progress.advance("weights", 1)
    progress.finish("weights")


def _weights(backbone: Backbone) -> Callable[[Path], str]:
    def look(folder: Path) -> str:
        state = status(backbone)
        if state not in ("damaged", "unreadable"):
            return ""  # missing ones are fetched when they are needed
        return f"The weights in {folder} are {state}; run 'vidsim models pull {backbone.name}'"

    return look
