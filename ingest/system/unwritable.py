"""Read-only homes: copied by another user, or on a read-only file system.

Milvus Lite writes wherever it reads: a lock, logs, rows that it seals on closing. Where it may not
write, it gets a temporary folder whose large files are links to those of the home, so that its
writes stay there and are discarded.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...schemas.errors import StoreError
from .unreadable import hindrance, patiently, told

_LOCK = "LOCK"
"""The file that Milvus Lite locks; ``milvus_lite/db.py``."""


def may_be_written(path: Path) -> bool:
    """Return whether this user may write to a folder or a file, or create it if missing."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return os.access(path, os.W_OK)


def may_all_be_written(directory: Path) -> bool:
    """Return whether Milvus Lite may write everywhere in its directory.

    Raises:
        StoreError: It cannot be listed.
    """
    if not may_be_written(directory):
        return False
    if not directory.is_dir():
        return True  # or something else is there, which Lite reports
    with told(f"The store {directory}"):
        for folder, _, files in os.walk(directory, onerror=_raise):
            if not os.access(folder, os.W_OK):
                return False
            if _LOCK in files and not os.access(os.path.join(folder, _LOCK), os.W_OK):
                return False
    return True


@contextmanager
def readable_copy(directory: Path) -> Iterator[Path]:
    """Provide a writable directory in which Milvus Lite reads the contents of `directory`.

    A lock keeps others from writing to `directory` in the meantime, where locks work.

    Args:
        directory: Lite's directory; it need not exist.

    Raises:
        StoreError: It cannot be read, is being written to, or there is no room for temporary
            files.
    """
    try:
        scratch = Path(tempfile.mkdtemp(prefix="vidsim-"))
    except OSError as error:
        raise StoreError(
            f"There is no folder for temporary files ({error.strerror}), which {directory} needs "
            "as it may only be read; set TMPDIR to a folder that can be written."
        ) from error
    try:
        with shared_lock(directory / _LOCK, f"The store {directory}"):
            if directory.is_dir():
                _mirror(directory, scratch)
            yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _mirror(directory: Path, scratch: Path) -> None:
    with told(f"The store {directory}"):
        for folder, _, files in os.walk(directory, onerror=_raise):
            there = scratch / Path(folder).relative_to(directory)
            there.mkdir(exist_ok=True)
            for name in files:
                if name.endswith(".json"):  # small, and rewritten in place
                    shutil.copyfile(os.path.join(folder, name), there / name)
                elif name != _LOCK:
                    (there / name).symlink_to(os.path.abspath(os.path.join(folder, name)))


@contextmanager
def shared_lock(path: Path, what: str) -> Iterator[None]:
    """Lock out programs that lock `path` to write; do nothing where locks do not work.

    Args:
        path: The lock file; it may be missing, or never be locked.
        what: The name of what it guards, for messages.

    Raises:
        StoreError: One of them is writing.
    """
    try:
        import fcntl

        handle = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):  # no lock is possible; the next read reports any error
        yield
        return
    try:
        try:
            patiently(what, lambda: fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB))
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                found = hindrance(error)
                why = found.sentence(what) if found else f"{what} cannot be locked ({error})."
                raise StoreError(why) from error
        yield
    finally:
        os.close(handle)


def _raise(error: OSError) -> None:
    raise error
