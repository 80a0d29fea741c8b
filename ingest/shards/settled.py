"""Looks at files that a writer may replace or remove meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from ...schemas.errors import StoreError
from ..system.unreadable import told

ATTEMPTS = 10
"""Looks at a library whose shards change while they are looked at."""

FileState = tuple[Path, int, int, int]
"""A file with its inode, time of modification and size: another one has others."""

_Found = TypeVar("_Found")


def settled(files: Callable[[], Iterable[Path]], look: Callable[[], _Found]) -> _Found:
    """Look for faults, and look again where there seem to be some in files that have changed.

    Args:
        files: Lists the files that are looked at.
        look: Returns what is wrong with them; what is false is nothing.

    Raises:
        StoreError: A file cannot be read.
    """
    for attempt in range(1, ATTEMPTS + 1):
        before = state_of(files())
        try:
            found = look()
        except StoreError:
            if attempt == ATTEMPTS or state_of(files()) == before:
                raise
            continue
        if not found or state_of(files()) == before:
            break
    return found


def state_of(files: Iterable[Path]) -> list[FileState]:
    """Return what changes with any of some files, without those that have gone.

    Raises:
        StoreError: One cannot be looked at.
    """
    found: list[FileState] = []
    for path in files:
        with told(f"The shard {path}"), suppress(FileNotFoundError, NotADirectoryError):
            stat = path.stat()
            found.append((path, stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return found
