"""Neighbours: which videos each modality proposes, and their vectors."""

from __future__ import annotations

from collections.abc import Collection

from ..schemas.backbones import Backbone
from ..schemas.embedding import to_query
from ..schemas.rows import StoredRow
from .search_index import SearchIndex
from .videos import VideoVectors, from_products, from_stored

_SEGMENTS_PER_VIDEO = 2
"""Segments requested per video wanted, so that one video's segments seldom crowd out the others."""


def propose(
    index: SearchIndex,
    backbone: Backbone,
    query: VideoVectors,
    count: int,
    expression: str = "",
    hidden: Collection[str] = (),
) -> list[str]:
    """Return ids of the videos whose segments are nearest to any of the query's, best first.

    Searches return segments; larger requests follow until they cover `count` videos or no segments
    are left.

    Args:
        index: What is searched.
        backbone: Backbone whose collection to search.
        query: The query's vectors.
        count: Number of videos.
        expression: Milvus filter.
        hidden: Ids of videos to leave out: the examples' own, for each of which as many segments
            are requested on top as the query has. A filter would do, but costs Lite and servers
            more than the search.
    """
    queries = to_query(backbone, query.means)
    most = index.max_top_k(backbone)
    limit = max(count, count * _SEGMENTS_PER_VIDEO // len(queries))
    limit += len(queries) * len(hidden)
    held = index.held(backbone)
    if held <= 4 * limit:  # few enough to request all of them at once
        limit = held + 1
    limit = min(limit, most)
    while True:
        best: dict[str, float] = {}
        answers = index.search(backbone, queries, limit, expression)
        for hits in answers:
            for _, video_id, score in hits:
                if video_id not in hidden:
                    best[video_id] = max(score, best.get(video_id, score))
        exhausted = all(len(hits) < limit for hits in answers)
        if len(best) >= count or exhausted or limit >= most:
            return sorted(best, key=lambda video_id: (-best[video_id], video_id))[:count]
        limit = min(4 * limit, most)


def similarity_to_each(
    index: SearchIndex, backbone: Backbone, query: VideoVectors, video_ids: Collection[str]
) -> dict[str, float]:
    """Return the `videos.similarity` of a query to each of `video_ids` that has the modality."""
    queries = to_query(backbone, query.means)
    found, products = index.largest_products(backbone, queries, video_ids)
    likeness = from_products(backbone, products, query.means).mean(axis=0)
    return dict(zip(found, likeness.tolist()))


def fetch_videos(
    index: SearchIndex, backbone: Backbone, video_ids: Collection[str]
) -> tuple[dict[str, VideoVectors], dict[str, StoredRow]]:
    """Fetch the vectors of videos, and one row of each for its path and label.

    The result omits videos without rows of this backbone.
    """
    vectors: dict[str, VideoVectors] = {}
    samples: dict[str, StoredRow] = {}
    for rows, found in index.fetch_videos(backbone, video_ids):
        vectors.update(from_stored(backbone, rows, found))
        samples.update({row.video_id: row for row in rows})
    return vectors, samples
