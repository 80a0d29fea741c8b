"""Files made from media, such as thumbnails and clips: each made once, the oldest deleted."""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from .... import __version__
from ....ingest.system.atomic_file import sweep, whole_file
from ....schemas.errors import MediaError, StoreError

MOST_BYTES = 1 << 30
"""Bytes that are kept, unless told otherwise: some hours of clips, or 100,000 thumbnails."""

_LESS = 0.9
"""What is kept of the most bytes once these are exceeded, so that it does not happen each time."""

_FAILED_S = 300.0
_MOST_FAILED = 1000
"""Seconds for which what could not be made is not tried again, and how many are remembered."""


@dataclass(frozen=True)
class Wanted:
    """A file to be made.

    Attributes:
        of: What it is made from.
        what: The state of that, and all that was asked for.
        suffix: Of the file's name, which says what it is.
        write: Writes it; raises MediaError where what it is made from does not decode.
        upload: Whether it is made from what a client sent.
    """

    of: str
    what: str
    suffix: str
    write: Callable[[BinaryIO], None]
    upload: bool = False

    @property
    def name(self) -> str:
        """Return the name of its file, which says nothing about what is stored."""
        return f"{_hash(self.of)}-{_hash(f'{__version__} {self.what}')}{self.suffix}"


class Derived:
    """A folder of such files, those deleted first that were asked for longest ago.

    Any number of threads may ask; those that ask for the same file wait for one that makes it.
    """

    def __init__(self, folder: Path, most_bytes: int = MOST_BYTES) -> None:
        """Take over a folder, with what an earlier server left in it.

        Raises:
            OSError: It cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        sweep(folder)
        self._folder = folder
        self._most_bytes = most_bytes
        self._lock = Lock()
        self._making: dict[str, Future[None]] = {}
        self._failed: OrderedDict[str, tuple[float, str]] = OrderedDict()
        with os.scandir(folder) as entries:
            found = [(entry.stat(), entry.name) for entry in entries if entry.is_file()]
        found.sort(key=lambda each: each[0].st_atime_ns)
        self._sizes = OrderedDict((name, status.st_size) for status, name in found)
        self._bytes = sum(self._sizes.values())

    def opened(self, wanted: Wanted) -> BinaryIO | None:
        """Return a file that is made already, open; None where it is not.

        Raises:
            MediaError: It could not be made a short while ago.
        """
        with self._lock:
            if (failed := self._failed.get(wanted.name)) is not None:
                if time.monotonic() < failed[0]:
                    raise MediaError(failed[1])
                del self._failed[wanted.name]
            if wanted.name not in self._sizes:
                return None
            self._sizes.move_to_end(wanted.name)
        path = self._folder / wanted.name
        try:
            file = path.open("rb")
        except OSError:  # deleted by hand
            with self._lock:
                self._bytes -= self._sizes.pop(wanted.name, 0)
            return None
        with suppress(OSError):  # so that the next server knows the order
            os.utime(path, ns=(time.time_ns(), os.fstat(file.fileno()).st_mtime_ns))
        return file

    def made(self, wanted: Wanted) -> BinaryIO:
        """Return a file, open, after making it if need be.

        Raises:
            MediaError: What it is made from does not decode.
            StoreError: It cannot be written.
            VidsimError: As `wanted.write`.
        """
        while True:
            if (file := self.opened(wanted)) is not None:
                return file
            with self._lock:
                theirs = self._making.get(wanted.name)
                if theirs is None:
                    ours = self._making[wanted.name] = Future[None]()
            if theirs is not None:
                theirs.result()
                continue
            try:
                self._make(wanted)
            except BaseException as error:
                ours.set_exception(error)
                raise
            else:
                ours.set_result(None)
            finally:
                with self._lock:
                    del self._making[wanted.name]

    def _make(self, wanted: Wanted) -> None:
        path = self._folder / wanted.name
        try:
            with whole_file(path) as partial, partial.open("wb") as file:
                wanted.write(file)
            size = path.stat().st_size
        except MediaError as error:
            with self._lock:
                self._failed[wanted.name] = time.monotonic() + _FAILED_S, str(error)
                while len(self._failed) > _MOST_FAILED:
                    self._failed.popitem(last=False)
            raise
        except OSError as error:
            raise StoreError(
                f"{self._folder} cannot be written ({error.strerror or error}); free some space, "
                "or mend its permissions."
            ) from error
        with self._lock:
            self._bytes += size - self._sizes.pop(wanted.name, 0)
            self._sizes[wanted.name] = size
            self._shrink()

    def _shrink(self) -> None:
        """Delete the files that were asked for longest ago, but the newest."""
        if self._bytes <= self._most_bytes:
            return
        while self._bytes > self._most_bytes * _LESS and len(self._sizes) > 1:
            name, size = self._sizes.popitem(last=False)
            self._bytes -= size
            with suppress(OSError):
                (self._folder / name).unlink()

    def forget(self, of: str) -> None:
        """Delete all that was made from something."""
        begin = f"{_hash(of)}-"
        with self._lock:
            for name in [name for name in self._sizes if name.startswith(begin)]:
                self._bytes -= self._sizes.pop(name)
                with suppress(OSError):
                    (self._folder / name).unlink()

    def clear(self) -> None:
        """Delete all."""
        with self._lock:
            for name in self._sizes:
                with suppress(OSError):
                    (self._folder / name).unlink()
            self._sizes.clear()
            self._bytes = 0


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
