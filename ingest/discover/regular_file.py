"""Opens regular files alone, and says what else a path may be."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Literal

Odd = Literal["socket", "pipe", "device", "folder"]
"""What is no regular file. A pipe is one that has a name; a door or port of Solaris counts as a
device."""

ODD_NAMES: dict[Odd, str] = {
    "socket": "a socket",
    "pipe": "a named pipe",
    "device": "a device",
    "folder": "a folder",
}

# A pipe, or some devices, would let `open` wait for somebody else. Windows has no such flag.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


class NotRegularError(OSError):
    """What was to be read is no regular file."""

    def __init__(self, odd: Odd) -> None:
        """Notes what it is."""
        super().__init__(f"It is {ODD_NAMES[odd]}, no file")
        self.odd = odd


def odd_kind(mode: int) -> Odd | None:
    """What `st_mode` says that something is; None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISFIFO(mode):
        return "pipe"
    return "socket" if stat.S_ISSOCK(mode) else "device"


@contextmanager
def open_regular(path: Path) -> Iterator[tuple[FileIO, os.stat_result]]:
    """Opens a regular file, or the one that a link leads to, and never waits for anybody.

    It looks before it opens (to open a tape rewinds it) and again after: the path may lead
    elsewhere by then.

    Yields:
        The unbuffered file, and what the system says of it.

    Raises:
        NotRegularError: It is something else.
        OSError: It cannot be read.
    """
    if odd := odd_kind(path.stat().st_mode):
        raise NotRegularError(odd)
    with FileIO(path, opener=lambda name, flags: os.open(name, flags | _AT_ONCE)) as file:
        found = os.fstat(file.fileno())
        if odd := odd_kind(found.st_mode):
            raise NotRegularError(odd)
        yield file, found
