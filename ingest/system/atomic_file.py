"""Atomic files: written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path


@contextmanager
def whole_file(path: Path, sync: bool = False) -> Iterator[Path]:
    """Provide a temporary path whose file replaces `path` when the block ends.

    If the block fails, `path` stays as it was and the temporary file is removed; only a kill
    leaves it, under a name that ends in ``.partial``, until the next attempt.

    Args:
        path: The file to create or replace, in an existing folder.
        sync: Whether to wait until it is on the disk: it survives a power cut from then on.

    Raises:
        OSError: It cannot be written.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    _sweep_before(path)
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


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, where they are missing; they survive a power cut.

    Raises:
        OSError: It cannot be created.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        _sync(path.parent)


def sweep(folder: Path) -> None:
    """Remove what processes that are gone have left below a folder."""
    for left in folder.rglob("*.partial"):
        _remove_left(left)


def _sweep_before(path: Path) -> None:
    for left in path.parent.glob(f"{escape(path.name)}.*.partial"):
        _remove_left(left)


def _remove_left(path: Path) -> None:
    pid = path.name.split(".")[-2]
    if pid.isdecimal() and not _runs(int(pid)):
        with suppress(OSError):
            path.unlink()


def _runs(pid: int) -> bool:
    import psutil  # only where something was left

    return bool(psutil.pid_exists(pid))


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
