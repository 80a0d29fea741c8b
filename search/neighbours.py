"""Neighbours: which videos each modality proposes, and their vectors."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ..ingest.store import Store, StoredRow, fetch_limit, is_in
from ..schemas.collections import Level, levels
from ..schemas.embedding import FloatArray, to_query
from ..schemas.modality import Backbone
from .videos import VideoVectors, from_stored

_SEGMENTS_PER_VIDEO = 2
"""Segments asked for per video wanted, so that one video's seldom crowd out the others."""

_IDS_PER_FETCH = 100
_SEGMENTS_PER_FETCH = 512


def propose(
    store: Store, backbone: Backbone, query: VideoVectors, count: int, expression: str
) -> list[str]:
    """Ids of the videos with the segments nearest to any of the query's, best first.

    Milvus returns segments; more of them are asked for until they make up `count` videos or
    there are no more.

    Args:
        store: Where to search.
        backbone: Whose collection.
        query: The query's vectors.
        count: Videos wanted.
        expression: Milvus filter.
    """
    queries = to_query(backbone, query.means)
    most = store.max_top_k(backbone)
    limit = max(count, count * _SEGMENTS_PER_VIDEO // len(queries))
    held = store.count(backbone, "", levels(backbone)[-1])
    if held <= 4 * limit:  # few enough to ask for all of them at once
        limit = max(1, held)
    limit = min(limit, most)
    while True:
        best: dict[str, float] = {}
        answers = store.search(backbone, queries, limit, expression)
        for hits in answers:
            for _, video_id, score in hits:
                best[video_id] = max(score, best.get(video_id, score))
        exhausted = all(len(hits) < limit for hits in answers)
        if len(best) >= count or exhausted or limit >= most:
            return sorted(best, key=lambda video_id: (-best[video_id], video_id))[:count]
        limit = min(4 * limit, most)


def fetch_videos(
    store: Store, backbone: Backbone, video_ids: Collection[str], level: Level = "rows"
) -> tuple[dict[str, VideoVectors], dict[str, StoredRow]]:
    """Vectors of videos, and one row of each for its path and label.

    Videos without rows of this backbone are left out. At the level of segments, the mean of
    each segment stands for its rows.
    """
    vectors: dict[str, VideoVectors] = {}
    samples: dict[str, StoredRow] = {}
    ids = sorted(video_ids)
    for start in range(0, len(ids), _IDS_PER_FETCH):
        for rows, found in _fetch_pages(
            store, backbone, ids[start : start + _IDS_PER_FETCH], level
        ):
            vectors.update(from_stored(backbone, rows, found))
            samples.update({row.video_id: row for row in rows})
    return vectors, samples


def _fetch_pages(
    store: Store, backbone: Backbone, ids: Sequence[str], level: Level
) -> list[tuple[list[StoredRow], FloatArray]]:
    """All rows of `ids`, in pages that hold whole videos; Milvus caps what one call returns."""
    rows, vectors = store.fetch(backbone, is_in("video_id", ids), level)
    if len(rows) < fetch_limit(backbone):
        return [(rows, vectors)]
    if len(ids) > 1:
        half = len(ids) // 2
        return [
            page
            for part in (ids[:half], ids[half:])
            for page in _fetch_pages(store, backbone, part, level)
        ]
    return [_fetch_long(store, backbone, ids[0], level)]


def _fetch_long(
    store: Store, backbone: Backbone, video_id: str, level: Level
) -> tuple[list[StoredRow], FloatArray]:
    """All rows of one video of many hours, some hundred segments at a time."""
    rows: list[StoredRow] = []
    parts: list[FloatArray] = []
    first = 0
    while True:
        last = first + _SEGMENTS_PER_FETCH
        part, vectors = store.fetch(
            backbone,
            f"{is_in('video_id', [video_id])} and segment >= {first} and segment < {last}",
            level,
        )
        if not part and first > 0:
            return rows, np.concatenate(parts)
        rows += part
        parts.append(vectors)
        first = last
