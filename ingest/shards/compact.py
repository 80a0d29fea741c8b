"""Merging small shards: a search opens each one, so many small ones cost more than few large.

A merged shard takes the place of the last one of a run, then the others go: a run that is killed in
between leaves rows twice, of which the newer count, and the next merge takes them away.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...schemas.embedding import EmbeddedVideo, merge
from ...schemas.exports import SHARD_VERSION
from .layout import entries_in, videos_in, weights_in
from .open_shard import reading_shard, version_of
from .shard_files import Shards

MERGED_BYTES = 64 * 2**20
"""Largest merged shard: merging takes some three times as much memory for a moment. UCF101's
13,320 videos (1.0 GB in all modalities) end in some twenty."""

SMALL_SHARDS = 16
"""Adjacent small shards that an ingest lets come together before it merges them: on a slow
processor it writes one of a megabyte every 20 seconds."""


def merge_newest(shards: Shards, library: str) -> bool:
    """Merge the newest shards of a library if many of them are small; return whether they were.

    Raises:
        StoreError: A shard cannot be read or written.
    """
    run: list[Path] = []
    size = 0
    for path in reversed(shards.files(library)):
        size += path.stat().st_size
        if size > MERGED_BYTES:
            break
        run.insert(0, path)
    if len(run) < SMALL_SHARDS:
        return False
    for part in _alike(shards, run):
        if len(part) > 1:
            _merge(shards, library, part)
    return True


def compact(shards: Shards, library: str) -> tuple[int, int]:
    """Merge all small shards of a library, and bring those of older layouts to the newest.

    Returns:
        Number of shards before and after.

    Raises:
        StoreError: A shard cannot be read or written.
    """
    before = shards.files(library)
    for part in _alike(shards, before):
        if len(part) > 1 or version_of(part[0]) < SHARD_VERSION:
            _merge(shards, library, part)
    return len(before), len(shards.files(library))


def _alike(shards: Shards, files: Sequence[Path]) -> list[list[Path]]:
    """Group adjacent shards that fit into one, with the same weights of each backbone."""
    groups: list[list[Path]] = [[]]
    size = 0
    known: dict[str, str] = {}
    for path in files:
        with reading_shard(path) as file:
            weights = weights_in(file)
        size += path.stat().st_size
        differs = any(known.get(name, digest) != digest for name, digest in weights.items())
        if size > MERGED_BYTES or differs:
            groups.append([])
            size, known = path.stat().st_size, {}
        if weights.keys() <= shards.backbones.keys():
            groups[-1].append(path)
            known |= weights
        else:  # it could not be written again, and its neighbours must not pass it
            groups.append([])
            size, known = 0, {}
    return [group for group in groups if group]


def _merge(shards: Shards, library: str, files: Sequence[Path]) -> None:
    """Replace the last of `files` by all of them, and delete the others."""
    videos: dict[str, EmbeddedVideo] = {}
    weights: dict[str, str] = {}
    for path in files:
        with reading_shard(path) as file:
            weights |= weights_in(file)
            wanted = {e.video.video_id: set(e.rows) for e in entries_in(file, path)}
            for video in videos_in(file, wanted):
                video_id = video.video.video_id
                old = videos.get(video_id)
                same = old is not None and old.version == video.version
                videos[video_id] = merge(old, video) if old and same else video
    shards.replace(library, files, list(videos.values()), weights)
