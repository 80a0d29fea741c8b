"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_file(path: Path, sync: bool = False) -> Iterator[Path]:
    """Where to write what shall be at `path` once the block ends, and not before.

    Where the block fails, `path` stays as it was and what was written is removed; only a kill
    leaves it, under a name that ends in ``.partial``.

    Args:
        path: The file to make or replace, in a folder that is there.
        sync: Whether to wait until it is on the disk: it survives a power cut from then on.

    Raises:
        OSError: It cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        if sync:
            _sync(partial)
        os.replace(partial, path)
        if sync:
            _sync(path.parent)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
