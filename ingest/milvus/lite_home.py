"""The Milvus Lite of a home: open it, wait for it, and explain why it cannot be opened."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...schemas.errors import StoreError
from ..system.unreadable import patiently, unwritten
from ..system.unwritable import may_all_be_written, readable_copy
from .lite_client import EmbeddedClient, EmbeddedError, LockedError

_HELD = frozenset({errno.EAGAIN, errno.EACCES})
"""Errors of a lock held elsewhere; ``flock(2)`` and ``fcntl(2)``. Lite reports any failure to
lock as a held lock."""


@contextmanager
def open_embedded(home: Path, writing: bool) -> Iterator[EmbeddedClient]:
    """Open Milvus Lite under `home`, and close it afterwards.

    Args:
        home: vidsim's home.
        writing: Whether rows will be written. If not, a read-only home suffices: whatever Lite
            writes by itself is discarded.

    Raises:
        StoreError: Another process holds it, permissions forbid reading or writing, or it is
            damaged.
    """
    path = home / "milvus.db"
    if not writing and home.exists() and not may_all_be_written(path):
        with readable_copy(path) as copy, _opened(copy, path) as client:
            yield client
        return
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(unwritten(f"The home {home}", error)) from error
    with _opened(path, path) as client:
        yield client


@contextmanager
def _opened(directory: Path, path: Path) -> Iterator[EmbeddedClient]:
    """Open a directory of Milvus Lite, which error messages call `path`."""
    what = f"The store {path}"
    try:
        client = patiently(what, lambda: EmbeddedClient(str(directory)))
    except EmbeddedError as error:
        raise StoreError(_explained(what, error)) from error
    try:
        yield client
    except BaseException:
        with suppress(EmbeddedError):  # the first failure says more
            client.close()
        raise
    try:
        client.close()
    except EmbeddedError as error:
        raise StoreError(
            f"What was written last to {path} is not in its files yet ({error}); mend that, and "
            "the next command does it."
        ) from error


def _explained(what: str, error: EmbeddedError) -> str:
    cause = error.__cause__
    locking = cause.__cause__ if isinstance(error, LockedError) and cause else None
    if isinstance(locking, OSError) and locking.errno not in _HELD:
        return unwritten(what, locking)
    if isinstance(error, LockedError):
        return (
            f"{what} is in use by another vidsim process; wait for that process to "
            "end, or set VIDSIM_HOME to another folder."
        )
    if isinstance(cause, OSError) and not isinstance(cause, (FileExistsError, NotADirectoryError)):
        return unwritten(what, cause)
    return (
        f"{what} is not a Milvus Lite directory ({error}); "
        "set VIDSIM_HOME to another folder, or move it away and run 'vidsim reindex'."
    )
