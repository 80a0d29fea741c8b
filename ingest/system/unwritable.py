"""A home that may only be read: copied by somebody else, or on a read-only file system.

Milvus Lite writes wherever it reads: a lock, logs, what it seals when it is closed. Where it may
not, it is given a folder of its own whose large files are links to those of the home, so that
whatever it writes stays there and is thrown away.
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
    """Whether this user may write in a folder or to a file, or make it where it is not there."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return os.access(path, os.W_OK)


def may_all_be_written(directory: Path) -> bool:
    """Whether Milvus Lite may write in a directory of its, everywhere.

    Raises:
        StoreError: It cannot be listed.
    """
    if not may_be_written(directory):
        return False
    if not directory.is_dir():
        return True  # or something else lies there, of which Lite says so
    with told(f"The store {directory}"):
        for folder, _, files in os.walk(directory, onerror=_raise):
            if not os.access(folder, os.W_OK):
                return False
            if _LOCK in files and not os.access(os.path.join(folder, _LOCK), os.W_OK):
                return False
    return True


@contextmanager
def readable_copy(directory: Path) -> Iterator[Path]:
    """A directory in which Milvus Lite reads what `directory` holds and may write.

    Nobody writes to `directory` meanwhile, as far as that can be seen to.

    Args:
        directory: What Lite made; need not be there.

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
                if name.endswith(".json"):  # small, and written anew in place
                    shutil.copyfile(os.path.join(folder, name), there / name)
                elif name != _LOCK:
                    (there / name).symlink_to(os.path.abspath(os.path.join(folder, name)))


@contextmanager
def shared_lock(path: Path, what: str) -> Iterator[None]:
    """Keeps programs from writing that lock `path` for that; does nothing where it cannot.

    Args:
        path: The file they lock; it may not be there, or be locked by nobody ever.
        what: What it guards, in sentences.

    Raises:
        StoreError: One of them is writing.
    """
    try:
        import fcntl

        handle = os.open(path, os.O_RDONLY)
    except (ImportError, OSError):  # nobody can be asked; what is read next says what is wrong
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
