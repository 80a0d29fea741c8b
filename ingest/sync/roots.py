"""Where the files of a library lie, and whether they are still there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from ...schemas.results import RootState
from ...schemas.video import Video
from ..shards.home import Home, stored_root
from ..shards.open_shard import read_video_table, reading_shard
from ..shards.settled import settled
from ..shards.shard_files import Shards

_SAMPLE = 100
"""Most stored files that are looked for in each library, evenly spread over its ids."""

_READ = 20_000
"""Videos of which paths are read to choose the sample; at most a second's work."""


@dataclass(frozen=True)
class Root:
    """What there is of a library's folder.

    Attributes:
        state: Of the folder and its files.
        looked_at: Stored files that were looked for.
        missing: Of those, not there.
    """

    state: RootState
    looked_at: int = 0
    missing: int = 0


def look_at_root(home: Home, library: str, first: Video | None) -> Root:
    """Look for the folder of a library, and for a sample of its files.

    Args:
        home: The library's home.
        library: Its name.
        first: One of its videos; None without any.

    Raises:
        StoreError: A shard cannot be read.
    """
    if first is None:
        return Root("unknown")
    folder = stored_root(first)
    if folder is None:
        return Root("no folder")
    if not os.path.isdir(folder):
        return Root("missing")
    shards = home.shards
    paths = settled(lambda: shards.files(library), lambda: _newest_paths(shards, library))
    sample = paths[:: -(-len(paths) // _SAMPLE)] if paths else []
    missing = sum(not os.path.exists(path) for path in sample)
    if missing == len(sample):
        return Root("missing", len(sample), missing)
    return Root("partly missing" if missing else "here", len(sample), missing)


def origin(video: Video) -> str:
    """Return a library's source: its folder, the site of its addresses, or that it was imported."""
    address = urlsplit(video.path)
    site = f"{address.scheme}://{address.netloc}" if address.netloc else "imported files"
    return str(stored_root(video) or site)


def _newest_paths(shards: Shards, library: str) -> list[str]:
    """Return the paths of a library's videos, of a large one those of its newest shards."""
    found: dict[str, str] = {}
    for shard in reversed(shards.files(library)):
        with reading_shard(shard) as file:
            for video in read_video_table(file):
                found.setdefault(video.video_id, video.path)  # what a newer shard has is older here
        if len(found) >= _READ:
            break
    return [found[video_id] for video_id in sorted(found)]
