"""Open regular files only, and name the type of anything else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Literal

Odd = Literal["socket", "pipe", "device", "folder"]
"""Types other than a regular file. A pipe is a named pipe; a Solaris door or port counts as a
device."""

ODD_NAMES: dict[Odd, str] = {
    "socket": "a socket",
    "pipe": "a named pipe",
    "device": "a device",
    "folder": "a folder",
}

# Opening a pipe, or some devices, would block until a peer opens it. Windows has no such flag.
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_BINARY", 0)


class NotRegularError(OSError):
    """The path is not a regular file."""

    def __init__(self, odd: Odd) -> None:
        """Record its type."""
        super().__init__(f"It is {ODD_NAMES[odd]}, no file")
        self.odd = odd


def odd_kind(mode: int) -> Odd | None:
    """Return the type in `st_mode`; None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode):
        return "folder"
    if stat.S_ISFIFO(mode):
        return "pipe"
    return "socket" if stat.S_ISSOCK(mode) else "device"


@contextmanager
def open_regular(path: Path) -> Iterator[tuple[FileIO, os.stat_result]]:
    """Open a regular file, or the target of a link, without ever blocking.

    It checks the type before it opens (opening a tape rewinds it) and again after: the path may
    have changed by then.

    Yields:
        The unbuffered file, and its status.

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
