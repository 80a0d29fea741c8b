"""Checking shards whole: every byte against the library's list, every row against its checksum."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from ...schemas.errors import StoreError
from ..system.progress import Progress
from ..system.unreadable import unwritten
from .layout import entries_in, videos_in
from .manifest import ANOTHER, MANIFEST
from .open_shard import DamagedShardError, ForeignShardError, reading_shard
from .settled import settled
from .shard_files import Shards

ASIDE = "damaged"
"""Folder beside a library's shards where damaged ones are moved."""


@dataclass(frozen=True)
class Wrong:
    """A shard that is not as it was written.

    Attributes:
        path: The shard.
        sentence: What is wrong with it.
        kind: ``changed`` where all of its rows can be read nevertheless, ``another`` where it is
            an intact shard and not the one that was written there, ``foreign`` where it is on no
            list and its rows are not of this library or version.
    """

    path: Path
    sentence: str
    kind: Literal["damaged", "changed", "another", "foreign"]


def check_library(
    shards: Shards, library: str, progress: Progress, only: Collection[Path] | None = None
) -> list[Wrong]:
    """Read shards of a library whole; return those that are not as they were written.

    Args:
        shards: All shards.
        library: The library.
        progress: Receives the progress.
        only: The shards to read; None for all.

    Raises:
        StoreError: The library's list or a shard cannot be read, which is not damage.
    """
    files = [path for path in shards.files(library) if only is None or path in only]
    stage = f"{library} shards"
    found = []
    progress.start(stage, len(files), "shards")
    for path in files:
        looked_at = [path, path.with_name(MANIFEST)]
        if (wrong := settled(partial(iter, looked_at), partial(_check, shards, path))) is not None:
            found.append(wrong)
        progress.advance(stage, 1)
    progress.finish(stage)
    return found


def _check(shards: Shards, path: Path) -> Wrong | None:
    if not path.exists():
        return None  # that one is missing says `Shards.problems`
    try:
        with reading_shard(path) as file:
            wanted = {e.video.video_id: set(e.rows) for e in entries_in(file, path)}
            for _ in videos_in(file, wanted):
                pass
        if shards.is_replaced(path):
            return Wrong(path, ANOTHER.format(path=path, library=path.parent.name), "another")
        if shards.is_changed(path):
            return Wrong(path, f"{path} is not as written, but can be read.", "changed")
    except DamagedShardError as error:
        return Wrong(path, str(error), "damaged")
    except ForeignShardError as error:
        return Wrong(path, str(error), "another" if shards.is_replaced(path) else "foreign")
    return None


def move_aside(shards: Shards, library: str, path: Path) -> str:
    """Move a damaged or wrong shard out of the way, keeping it; return what was done.

    The library's list keeps it, so that it is told as missing until its videos are stored again.

    Raises:
        StoreError: It cannot be moved.
    """
    folder = shards.directory / library / ASIDE
    try:
        folder.mkdir(exist_ok=True)
        there = folder / path.name
        number = 1
        while there.exists():
            number += 1
            there = folder / f"{path.stem}-{number}{path.suffix}"
        path.rename(there)
    except OSError as error:
        raise StoreError(unwritten(f"The shard {path}", error)) from error
    return (
        f"The damaged or wrong shard {path} is now {there}; run 'vidsim ingest' on the folder of "
        f"{library} to embed its videos again."
    )
