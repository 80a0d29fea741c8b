"""The file that is decoded: opened by the parent where a decoder may open none itself.

A decoder gets a descriptor with its request (`given`). All that reads the file goes through here,
so that it need not know.
"""

from __future__ import annotations

import io
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from ..system.channel import Message

_MOST_CPU_S = 48 * 3600
"""Processor time that a file may take even if nobody waits any more: 12 hours of 4K at 60 pictures
a second take some 30 hours of a core."""

_given: dict[str, tuple[int | None, int]] = {}
"""Descriptors of open files by absolute path, or None and the errno with which opening failed."""


class MediaFile(io.RawIOBase):
    """One reader of an open file, with a place of its own: any number may read it at a time."""

    def __init__(self, descriptor: int, name: str) -> None:
        """Begin at the start; `name` is what libav calls it. Closing leaves the descriptor open."""
        super().__init__()
        self._descriptor = descriptor
        self.name = name
        self._at = 0

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def seekable(self) -> bool:
        """Return that it is."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, and return it."""
        if whence == os.SEEK_CUR:
            offset += self._at
        elif whence == os.SEEK_END:
            offset += os.fstat(self._descriptor).st_size
        if offset < 0:
            raise ValueError("before the start of the file")
        self._at = offset
        return offset

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes."""
        if size < 0:
            return self.readall()
        data = os.pread(self._descriptor, size, self._at)
        self._at += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Read as many bytes as fit."""
        count = os.preadv(self._descriptor, [buffer], self._at)
        self._at += count
        return count


@contextmanager
def given(message: Message) -> Iterator[None]:
    """Read the file that a request brings for its ``path``, within the context."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = int(time.process_time()) + _MOST_CPU_S
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))
    path = os.path.abspath(message.fields["path"])
    _given[path] = message.file, int(message.fields.get("errno", 0))
    try:
        yield
    finally:
        del _given[path]
        if message.file is not None:
            os.close(message.file)


def media_file(path: str) -> MediaFile | None:
    """Return a new reader of a file that was given; None for one that is to be opened.

    Raises:
        OSError: The parent could not open it.
    """
    descriptor, number = _given.get(os.path.abspath(path), (None, 0))
    if number:
        raise OSError(number, os.strerror(number), path)
    return None if descriptor is None else MediaFile(descriptor, f"file:{path}")


def open_media(path: str) -> BinaryIO:
    """Open a file to read its bytes.

    Raises:
        OSError: It cannot be opened.
    """
    file = media_file(path)
    return open(path, "rb") if file is None else cast(BinaryIO, io.BufferedReader(file))


def media_size(path: str) -> int:
    """Return the size of a file in bytes.

    Raises:
        OSError: It cannot be told.
    """
    file = media_file(path)
    return os.path.getsize(path) if file is None else file.seek(0, os.SEEK_END)
