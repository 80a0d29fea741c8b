"""Files of an archive that was downloaded: each by its exact name, and checked."""

from __future__ import annotations

import hashlib
import os
import tarfile
import zipfile
from pathlib import Path
from typing import IO

from ...schemas.errors import WeightsError
from ...schemas.weights import PinnedArchive, PinnedFile


def extract(packed: Path, file: PinnedFile, target: Path, archive: PinnedArchive) -> None:
    """Extract one member, by its exact name, from a zip or tar archive, and check it.

    Args:
        packed: The archive.
        file: The member, and its SHA-256.
        target: The file to write.
        archive: Names the archive in messages.

    Raises:
        WeightsError: There is no such member, or it is another file.
        OSError: `target` cannot be written.
    """
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
    """Copy `source` to `target` with fsync; return its SHA-256."""
    digest = hashlib.sha256()
    with target.open("wb") as out:
        while block := source.read(1 << 20):
            digest.update(block)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    return digest.hexdigest()
