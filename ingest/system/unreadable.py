"""Distinguish unreadable files from damaged ones.

A file that another program holds, that this user may not read, or that the network lost for a
moment is still intact. Only a file that was read may be called damaged.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ...schemas.errors import StoreError

if TYPE_CHECKING:
    import h5py

_log = logging.getLogger(__name__)

PATIENCE_S = 3.0
"""Seconds to wait for a file that another program holds: a query of a stored video, or a reader of
one shard, ends within that time."""

_WAIT_S = 0.1

_AGAIN = "run the same command again"


@dataclass(frozen=True)
class Hindrance:
    """The reason why something could not be read or written.

    Attributes:
        said: Words that follow its name: ``is in use by another program``.
        step: What to do next.
        passes: Whether it may be over within moments.
    """

    said: str
    step: str
    passes: bool = False

    def sentence(self, what: str) -> str:
        """Return the full sentence about `what`."""
        return f"{what} {self.said}; {self.step}."


_HELD = Hindrance(
    "is in use by another program", f"wait for that program or close it, and {_AGAIN}", True
)
_MARKED = Hindrance(
    "is open for writing in another program, or one ended without closing it",
    "close that program; if none is running, clear the mark with 'h5clear -s FILE'",
    True,
)
_DENIED = Hindrance(
    "may not be read by this user",
    "give yourself permission with chmod (its folders too), or ask its owner",
)
_FILES = Hindrance(
    "cannot be opened, as too many files are open already",
    f"raise the limit with 'ulimit -n 4096', or close other programs, and {_AGAIN}",
)
_STALE = Hindrance(
    "is on a network folder that has lost it (stale file handle)",
    f"mount that folder again, and {_AGAIN}",
    True,
)
_DISK = Hindrance(
    "could not be read from its disk (input/output error)",
    f"check that disk or its connection, and {_AGAIN}",
)
_AWAY = Hindrance(
    "is on a network folder or device that does not answer",
    f"check the connection, and {_AGAIN}",
)
_GONE = Hindrance(
    "is not there any more", f"see whether another program moved it or a disk is away, and {_AGAIN}"
)
_NO_FILE = Hindrance("is not what it should be, a file or a folder", "look at what lies there")
_MEMORY = Hindrance("does not fit into memory", f"close other programs, and {_AGAIN}")
_NO_LOCKS = Hindrance(
    "cannot be locked, as its file system has no locks",
    f"set HDF5_USE_FILE_LOCKING=FALSE while no other program writes to it, and {_AGAIN}",
)
_READ_ONLY = Hindrance(
    "may not be written (its file system is read-only)",
    "mount it for writing, or set VIDSIM_HOME to another folder",
)
_FULL = Hindrance("cannot be written, as the disk or its quota is full", "free some space")

_BY_NUMBER: Mapping[int, Hindrance] = {
    **dict.fromkeys((errno.EAGAIN, errno.EBUSY, errno.EDEADLK, errno.ETXTBSY), _HELD),
    **dict.fromkeys((errno.EACCES, errno.EPERM), _DENIED),
    **dict.fromkeys((errno.EMFILE, errno.ENFILE), _FILES),
    **dict.fromkeys((errno.ENOENT,), _GONE),
    **dict.fromkeys((errno.EISDIR, errno.ENOTDIR, errno.ELOOP), _NO_FILE),
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL),
    errno.ESTALE: _STALE,
    errno.EIO: _DISK,
    errno.ENOMEM: _MEMORY,
    errno.EROFS: _READ_ONLY,
    **dict.fromkeys((errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP), _NO_LOCKS),
    **dict.fromkeys(
        (
            errno.ETIMEDOUT,
            errno.ENOTCONN,
            errno.ECONNABORTED,
            errno.ECONNREFUSED,
            errno.ECONNRESET,
            errno.EHOSTDOWN,
            errno.EHOSTUNREACH,
            errno.ENETDOWN,
            errno.ENETUNREACH,
            errno.ENODEV,
            errno.ENXIO,
        ),
        _AWAY,
    ),
}
"""By errno; ``errno(3)`` and ``open(2)``, ``flock(2)``, ``read(2)`` of the Linux manual say what
raises them."""

_OF_CONTENT = frozenset({errno.EINVAL, errno.EOVERFLOW, errno.EFBIG, errno.EILSEQ, errno.ERANGE})
"""Errors of reading at an offset that a damaged file states."""

_BY_TEXT: tuple[tuple[str, Hindrance], ...] = (
    ("file is already open", _MARKED),
    ("unable to lock file", _HELD),
    ("resource temporarily unavailable", _HELD),
    ("permission denied", _DENIED),
    ("operation not permitted", _DENIED),
    ("too many open files", _FILES),
    ("stale file handle", _STALE),
    ("stale nfs file handle", _STALE),
    ("input/output error", _DISK),
    ("cannot allocate memory", _MEMORY),
    ("no locks available", _NO_LOCKS),
)
"""Messages of HDF5 and Arrow, which drop the errno, in lower case."""

_NUMBER = re.compile(r"\berrno[ =:]+(\d+)", re.IGNORECASE)

_Opened = TypeVar("_Opened")


def hindrance(error: BaseException) -> Hindrance | None:
    """Return why something could not be read or written; None if its content is at fault.

    It also examines the causes of `error`: libraries raise their own errors from the system's.
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if (found := _of_one(cause)) is not None:
            return found
        cause = cause.__cause__
    return None


def _of_one(error: BaseException) -> Hindrance | None:
    if isinstance(error, MemoryError):
        return _MEMORY
    number = error.errno if isinstance(error, OSError) else None
    text = str(error).lower()
    if number is None and (written := _NUMBER.search(text)):
        number = int(written[1])
    if number is not None and number in _BY_NUMBER:
        return _BY_NUMBER[number]
    for words, found in _BY_TEXT:
        if words in text:
            return found
    if number and not (number in _OF_CONTENT and "unable to open file: name" not in text):
        return Hindrance(f"cannot be read ({os.strerror(number)})", f"see to that, and {_AGAIN}")
    return None


def too_many_files(error: BaseException) -> bool:
    """Return whether this process or machine is out of file handles."""
    return hindrance(error) is _FILES


def unread(path: Path, error: OSError) -> str:
    """Return the sentence about a file whose reading raised a system error."""
    found = hindrance(error)
    return found.sentence(str(path)) if found else f"{path} cannot be read ({error}); look at it."


def unread_weights(path: Path, cause: Exception | None) -> str | None:
    """Return the sentence about unreadable weights; None if they were read and are wrong."""
    # TensorFlow's own NotFoundError is not an OSError.
    gone = "failed to find any matching files" in str(cause).lower()
    if gone or isinstance(cause, (FileNotFoundError, NotADirectoryError)):
        return f"{path} is not there, or not whole; run 'vidsim models pull' to fetch it."
    found = hindrance(cause) if cause else None
    return found.sentence(str(path)) if found else None


def unwritten(what: str, error: OSError) -> str:
    """Return the sentence about `what` that could not be written."""
    found = hindrance(error)
    if found is _DENIED:
        return (
            f"{what} cannot be written: this user may not ({os.strerror(errno.EACCES)}); give "
            "yourself permission with chmod, or set VIDSIM_HOME to a folder that can be written."
        )
    if found in (_READ_ONLY, _FILES, _STALE, _HELD, _AWAY):
        return found.sentence(what)
    if found is _NO_LOCKS:
        return (
            f"{what} cannot be locked for writing, as its file system has no locks; mount it with "
            "locks, or set VIDSIM_HOME to a folder on a disk of this machine."
        )
    step = "free some space" if found is _FULL else "see to that"
    reason = error.strerror or error
    return f"{what} cannot be written ({reason}); {step}, or set VIDSIM_HOME to another folder."


def patiently(what: str, do: Callable[[], _Opened], patience_s: float | None = None) -> _Opened:
    """Call `do`, retrying while another program holds `what`.

    Args:
        what: Its name, for the log record about the wait.
        do: Function that may be called again; `hindrance` examines its errors.
        patience_s: Seconds of retries; None for `PATIENCE_S`.

    Raises:
        Exception: The last error of `do`.
    """
    until = time.monotonic() + (PATIENCE_S if patience_s is None else patience_s)
    told = False
    while True:
        try:
            return do()
        except Exception as error:
            found = hindrance(error)
            if found is None or not found.passes or time.monotonic() >= until:
                raise
            if not told:
                told = True
                _log.warning("%s %s; waiting a moment for it.", what, found.said)
        time.sleep(_WAIT_S)


def open_h5(path: Path, what: str, patience_s: float | None = None) -> h5py.File:
    """Open an HDF5 file for reading, once no other program holds it.

    Args:
        path: The file.
        what: Its name in messages.
        patience_s: Seconds to wait; None for `PATIENCE_S`.

    Raises:
        StoreError: It could not be read.
        OSError: It was read, and is not an intact HDF5 file.
    """
    import h5py

    with told(what):
        return patiently(what, lambda: h5py.File(path, "r"), patience_s)


@contextmanager
def told(what: str) -> Iterator[None]:
    """Turn read failures into a StoreError about `what`; errors of damage pass through.

    Raises:
        StoreError: Something could not be read.
    """
    try:
        yield
    except (OSError, RuntimeError, MemoryError) as error:
        if (found := hindrance(error)) is not None:
            raise StoreError(found.sentence(what)) from error
        raise


def listed(folder: Path, what: str) -> list[Path]:
    """List a folder's entries by name; none if it is missing.

    `Path.glob`, in contrast, silently skips an unreadable folder.

    Raises:
        StoreError: It cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(folder / entry.name for entry in entries)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        found = hindrance(error)
        why = found.sentence(what) if found else f"{what} cannot be listed ({error.strerror})."
        raise StoreError(why) from error
