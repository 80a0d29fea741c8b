"""The lock of a home: one process writes at a time, and says who it is and how far.

Reading needs no lock: what is finished does not change.
"""

from __future__ import annotations

import errno
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from ...schemas.errors import StoreError
from ..system.atomic_file import make_folder, sweep, whole_file
from ..system.unreadable import unwritten

_log = logging.getLogger(__name__)

_LOCK = "writing.lock"
_HOLDER = "writing.json"

_PATIENCE_S = 0.5
"""Seconds to wait for the lock in any case: whoever asks who holds it takes it for a moment."""

_MOMENT_S = 0.2
"""Seconds within which who has taken the lock says so, and who says so no more gives it back."""


@dataclass(frozen=True)
class Holder:
    """The process that holds the lock of a home.

    Attributes:
        pid: Its number.
        doing: What it does, such as ``ingest of ucf101``.
        since_s: When it began, seconds since the epoch.
        done: Videos finished, where it tells.
        total: Videos to finish; 0 where it does not tell.
        changes: Whether it changes what is stored.
        host: The machine that it runs on.
    """

    pid: int
    doing: str
    since_s: float
    done: int = 0
    total: int = 0
    changes: bool = True
    host: str = ""

    def __str__(self) -> str:
        """Describe it for a sentence about the home."""
        began = time.localtime(self.since_s)
        today = time.localtime()[:3] == began[:3]
        since = time.strftime("%H:%M" if today else "%Y-%m-%d %H:%M", began)
        does = "writing" if self.changes else "reading"
        where = f" on {self.host}" if self.host not in ("", platform.node()) else ""
        return (
            f"process {self.pid}{where} ({self.doing}{self._progress()}) has been {does} since "
            f"{since}"
        )

    def note(self) -> str:
        """Return the note of an answer that was given meanwhile."""
        return (
            f"Process {self.pid} is still writing ({self.doing}{self._progress()}); this is what "
            "was finished."
        )

    def has_ended(self) -> bool:
        """Return whether it is known to have ended, without taking its note away."""
        import psutil  # only while the lock is held

        return self.host == platform.node() and not psutil.pid_exists(self.pid)

    def _progress(self) -> str:
        return f", {self.done} of {self.total} videos" if self.total else ""


_HOLDER_FORMAT = TypeAdapter(Holder)


class HeldLock:
    """The lock of a home, held by this process."""

    def __init__(self, home: Path, doing: str, changes: bool) -> None:
        """Note that this process holds it."""
        self._path = home / _HOLDER
        self._holder = Holder(
            os.getpid(), doing, time.time(), changes=changes, host=platform.node()
        )
        self._write()

    def tell(self, done: int, total: int) -> None:
        """Note how many videos are finished, for those who read meanwhile."""
        self._holder = replace(self._holder, done=done, total=total)
        self._write()

    def release(self) -> None:
        """Take the note away."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        try:
            with whole_file(self._path) as partial:
                partial.write_bytes(_HOLDER_FORMAT.dump_json(self._holder))
        except OSError as error:  # others see that the home is locked, and not by whom
            _log.info("%s cannot be written (%s).", self._path, error)


@contextmanager
def writing(home: Path, doing: str, wait: bool = False, changes: bool = True) -> Iterator[HeldLock]:
    """Hold the write lock of `home`.

    Args:
        home: The home, created if missing.
        doing: What for, as others are told.
        wait: Whether to wait for another process that holds it.
        changes: False for what reads Milvus Lite, which one process can open: what is stored does
            not change.

    Raises:
        StoreError: Another process holds it, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout  # a query writes nothing

    try:
        make_folder(home)
        _check_locks(home)
        lock = FileLock(home / _LOCK)
        try:
            lock.acquire(timeout=_PATIENCE_S)
        except Timeout as error:
            found = holder(home)
            said = str(found) if found else "another process is writing"
            if not wait:
                raise StoreError(
                    f"The home {home} is in use: {said}. Wait for it to end (--wait does), or set "
                    "VIDSIM_HOME to another folder."
                ) from error
            _log.warning("The home %s is in use: %s. Waiting for it to end.", home, said)
            lock.acquire()
    except OSError as error:
        raise StoreError(unwritten(f"The home {home}", error)) from error
    try:
        held = HeldLock(home, doing, changes)
        try:
            sweep(home)
            yield held
        finally:
            held.release()
    finally:
        lock.release()


_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
"""What flock raises on a file system that has no locks; ``flock(2)``, NFS, FUSE."""


def _check_locks(home: Path) -> None:
    """Refuse a home on a file system without locks: `FileLock` takes another way for some errors.

    Raises:
        OSError: It has none, with the number ENOLCK, or the lock's file cannot be made.
    """
    try:
        import fcntl
    except ImportError:
        return
    handle = os.open(home / _LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)) from error
    finally:
        os.close(handle)


def writer(home: Path) -> Holder | None:
    """Return who changes what is stored in `home`, as `holder` does."""
    found = holder(home)
    return found if found and found.changes else None


def holder(home: Path) -> Holder | None:
    """Return who holds the lock of `home`; None where nobody does, or locks do not work there."""
    until = time.monotonic() + _MOMENT_S
    while _is_locked(home):
        found = read_holder(home)
        if found and not found.has_ended():
            return found
        if time.monotonic() > until:
            return Holder(0, "unknown", time.time())
        time.sleep(_MOMENT_S / 20)
    return None


def _is_locked(home: Path) -> bool:
    try:
        import fcntl

        handle = os.open(home / _LOCK, os.O_RDONLY)
    except (ImportError, OSError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


def read_holder(home: Path) -> Holder | None:
    """Return what the last writer of `home` told; None where it told nothing."""
    try:
        return _HOLDER_FORMAT.validate_json((home / _HOLDER).read_bytes())
    except (OSError, ValidationError):
        return None
