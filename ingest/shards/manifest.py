"""A library's list of its shards, by which a missing, foreign or changed one is noticed.

The list is written around each change of a shard, under the home's lock: a shard is announced
before it is renamed into place, and given up before it is deleted, so that a kill between leaves
nothing that is not known. A shard that is listed and not there was lost.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ..system.checked_json import ChangedError, read_checked, write_checked
from ..system.unreadable import told
from .open_shard import is_shard

_log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
"""Name of the list in the folder of a library's shards."""

LISTS = (MANIFEST, "manifest.copy.json")
"""The list and its copy: what tells that a shard is lost must not be lost with it."""

_HEAD_BYTES = 4096
"""They hold the shard's own random id (`layout.write_shard`)."""

ANOTHER = (
    "{path} is another shard than was written there, such as an older copy; put back the newest, "
    "or 'vidsim verify --repair' moves this one away, and 'vidsim ingest' on the folder of "
    "{library} then embeds again what it lacks."
)
"""Sentence about a shard, however intact, in the place of another."""

_NEXT = ".next"
"""Ending of the name under which a shard is listed before it is renamed into place."""

GIVEN_UP = ".gone"
"""Ending of the name under which a shard is listed before it is deleted."""


@dataclass(frozen=True)
class ShardNote:
    """What the list says of one shard.

    Attributes:
        bytes: Size of the file.
        sha256: Hash of its content.
        videos: Number of videos in it.
        backbones: Names of the backbones that it has rows of.
        head: Hash of its first `_HEAD_BYTES`, which tells it from any other shard at little cost.
    """

    bytes: int
    sha256: str
    videos: int
    backbones: Sequence[str]
    head: str


def note_of(path: Path, videos: int, backbones: Iterable[str]) -> ShardNote:
    """Return the note of a shard that holds this many videos, and rows of these backbones.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        head = hashlib.sha256(file.read(_HEAD_BYTES)).hexdigest()
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return ShardNote(file.tell(), digest, videos, sorted(backbones), head)


@dataclass(frozen=True)
class _List:
    """One of the two files that list a library's shards.

    Attributes:
        library: The library's name.
        revision: Grows by one with each change: of two lists, the one with the larger counts.
        shards: Notes by file name.
    """

    library: str
    revision: int
    shards: Mapping[str, ShardNote]


_LIST = TypeAdapter(_List)


def read_manifest(folder: Path) -> dict[str, ShardNote] | None:
    """Return the notes of a library's shards by file name, of the newer of its two lists.

    Returns:
        None where there is no list (an older vidsim wrote the shards), or both are damaged: then
        the shards that are there are all that is known.

    Raises:
        StoreError: It cannot be read.
    """
    found = _newest(folder)
    return dict(found.shards) if found else None


def _newest(folder: Path) -> _List | None:
    found = [of for name in LISTS if (of := _read(folder / name))]
    return max(found, key=lambda of: of.revision, default=None)


def _read(path: Path) -> _List | None:
    try:
        content = read_checked(path)
        found = None if content is None else _LIST.validate_python(content)
        if found and found.library != path.parent.name:
            raise ChangedError(f"{path} is the list of {found.library}")
    except (ChangedError, ValidationError) as error:
        why = error if isinstance(error, ChangedError) else f"{path} is no list of shards"
        _log.warning("%s; it is not used, and the next ingest makes it anew.", why)
        return None
    return found


def is_written(folder: Path, notes: Mapping[str, ShardNote]) -> bool:
    """Return whether both lists of a library are these notes; none is where there are none.

    Raises:
        StoreError: One cannot be read.
    """
    one, other = (_read(folder / name) for name in LISTS)
    return one == other and (one.shards if one else {}) == notes


def write_manifest(folder: Path, notes: Mapping[str, ShardNote]) -> None:
    """Write the notes of a library's shards, twice; delete both lists where there are none.

    A list that says so already stays as it is, or is written again.

    Raises:
        OSError: It cannot be written.
        StoreError: What is there cannot be read.
    """
    if not notes:
        for name in LISTS:
            (folder / name).unlink(missing_ok=True)
        return
    found = _newest(folder)
    if found is None or found.shards != notes:
        revision = found.revision + 1 if found else 1
        found = _List(folder.name, revision, dict(sorted(notes.items())))
    for name in LISTS:
        write_checked(folder / name, _LIST.dump_python(found, mode="json"))


def announce(path: Path, note: ShardNote) -> None:
    """Note what is about to be renamed to `path`: a kill after that leaves a shard that is known.

    Raises:
        OSError: It cannot be written.
    """
    notes = read_manifest(path.parent)
    if notes is None and any(is_shard(other.name) for other in path.parent.iterdir()):
        return  # an older vidsim wrote them; a list of this one alone would not be theirs
    write_manifest(path.parent, {**(notes or {}), path.name + _NEXT: note})


def carried_out(folder: Path, notes: Mapping[str, ShardNote]) -> dict[str, ShardNote]:
    """Return the notes with those that were announced, where the shard is what they say."""
    found = _listed(notes)
    for name, note in notes.items():
        if name.endswith(_NEXT) and _is(path := folder / name.removesuffix(_NEXT), note):
            found[path.name] = note
    return found


def given_up(folder: Path, notes: Mapping[str, ShardNote]) -> list[Path]:
    """Return the shards that were about to be deleted, and are there still."""
    return [
        path
        for name, note in notes.items()
        if name.endswith(GIVEN_UP) and _is(path := folder / name.removesuffix(GIVEN_UP), note)
    ]


def _is(path: Path, note: ShardNote) -> bool:
    with suppress(FileNotFoundError):
        return note_of(path, 0, ()).sha256 == note.sha256
    return False


def problems(folder: Path, files: Collection[Path], being_written: bool) -> list[str]:
    """Return a sentence per shard of a library that is not there or not as listed.

    Args:
        folder: The library's.
        files: Its shards that are there.
        being_written: Whether a process is writing to the home, which lists shards after it has
            written them.

    Raises:
        StoreError: The list or a shard cannot be read.
    """
    found = {path.name: path for path in files}
    sentences = []
    listed = read_manifest(folder)
    notes = carried_out(folder, listed or {})
    if listed is None and found and not being_written:
        sentences = [
            f"The list of shards {folder / MANIFEST} is missing or damaged, so that no missing "
            "shard would be noticed; 'vidsim verify --repair' lists those that are there."
        ]
    elif not being_written:
        sentences = [
            f"The shard {folder / name} is not on its library's list: an older vidsim wrote it, or "
            "somebody put it there; 'vidsim verify --repair' lists it."
            for name in unlisted(folder, files)
        ]
    for name, note in notes.items():
        if name not in found:
            sentences.append(
                f"The shard {folder / name} is missing, and with it {note.videos} videos of "
                f"{folder.name} in some modality; put it back from a copy, or store them again "
                "('vidsim ingest' on the whole folder, or an import of an export, after which "
                "'vidsim verify --repair --give-up' ends this message)."
            )
        elif not being_written and (
            size_of(found[name]) != note.bytes or is_another(found[name], note)
        ):
            sentences.append(
                f"The shard {folder / name} is not the one that was written there; 'vidsim "
                f"verify {folder.name}' says whether it can be read."
            )
    return sentences


def is_another(path: Path, note: ShardNote) -> bool:
    """Return whether a shard is another one than its list says, however intact.

    Raises:
        StoreError: It cannot be read.
    """
    with told(f"The shard {path}"), path.open("rb") as file:
        return note.head != hashlib.sha256(file.read(_HEAD_BYTES)).hexdigest()


def unlisted(folder: Path, files: Collection[Path]) -> list[str]:
    """Return the names of shards that are not on their library's list, if it has one."""
    notes = read_manifest(folder)
    if notes is None:
        return []
    known = {*carried_out(folder, notes), *(path.name for path in given_up(folder, notes))}
    return [path.name for path in files if path.name not in known]


def missing(folder: Path, files: Collection[Path]) -> list[str]:
    """Return the names of shards that are listed and not among `files`."""
    found = {path.name for path in files}
    return [name for name in _listed(read_manifest(folder) or {}) if name not in found]


def _listed(notes: Mapping[str, ShardNote]) -> dict[str, ShardNote]:
    """Return the notes without what is announced or given up."""
    return {name: n for name, n in notes.items() if not name.endswith((_NEXT, GIVEN_UP))}


def changed(folder: Path, files: Collection[Path]) -> list[Path]:
    """Return the shards whose content is not what was written, reading all of it."""
    notes = carried_out(folder, read_manifest(folder) or {})
    with told(f"A shard of {folder.name}"):
        return [
            path
            for path in files
            if path.name in notes and note_of(path, 0, ()).sha256 != notes[path.name].sha256
        ]


def replaced(folder: Path, files: Collection[Path]) -> list[Path]:
    """Return the shards that are others than those that were written, however intact."""
    notes = carried_out(folder, read_manifest(folder) or {})
    return [path for path in files if path.name in notes and is_another(path, notes[path.name])]


def stamp(folder: Path, files: Collection[Path]) -> str:
    """Return a text that changes with the shards of a library, and with nothing else."""
    notes = carried_out(folder, read_manifest(folder) or {})
    with told(f"A shard of {folder.name}"):
        state = []
        for path in files:
            with suppress(FileNotFoundError):  # removed just now
                stat = path.stat()
                listed = notes[path.name].sha256 if path.name in notes else stat.st_mtime_ns
                state.append((path.name, stat.st_size, listed))
    return hashlib.sha256(repr(state).encode()).hexdigest()


def size_of(path: Path) -> int:
    """Return the size of a shard in bytes.

    Raises:
        StoreError: It cannot be read.
    """
    with told(f"The shard {path}"):
        return path.stat().st_size
