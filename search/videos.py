"""Rows become videos: one vector a segment, and how alike two videos are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..ingest.store import StoredRow
from ..schemas.embedding import EmbeddedVideo, FloatArray, unit
from ..schemas.modality import Backbone


@dataclass(frozen=True)
class SegmentVectors:
    """One modality of one video, a vector a segment.

    Attributes:
        vectors: (n, dim) float32: the mean of the segment's rows, L2-normalised for cosine
            backbones.
        start_s: (n,) start of what the rows of each segment describe, seconds.
        end_s: (n,) its end.
    """

    vectors: FloatArray
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Match:
    """How alike a query and a video are in one modality, and where.

    Attributes:
        similarity: See `compare`.
        query_start_s: Start of the query's best matching segment; then its end.
        start_s: Start of the video's best matching segment; then its end.
    """

    similarity: float
    query_start_s: float
    query_end_s: float
    start_s: float
    end_s: float


def summarize(
    backbone: Backbone,
    segments: Sequence[int],
    vectors: FloatArray,
    start_s: Sequence[float],
    end_s: Sequence[float],
) -> SegmentVectors:
    """Means of the rows of each segment.

    Args:
        backbone: Decides how vectors are compared, so whether they are normalised.
        segments: Segment number of each row, ascending.
        vectors: (n, dim) float32 rows.
        start_s: Start of each row, seconds.
        end_s: End of each row, seconds.
    """
    if backbone.similarity == "cosine":
        vectors = unit(vectors)
    first = np.flatnonzero(np.diff(np.asarray(segments), prepend=-1))
    counts = np.diff(np.append(first, len(segments)))
    sums = np.add.reduceat(vectors, first, axis=0)
    means: FloatArray = (sums / counts[:, None]).astype(np.float32)
    return SegmentVectors(
        vectors=unit(means) if backbone.similarity == "cosine" else means,
        start_s=np.minimum.reduceat(np.asarray(start_s, np.float64), first),
        end_s=np.maximum.reduceat(np.asarray(end_s, np.float64), first),
    )


def from_embedded(backbone: Backbone, video: EmbeddedVideo) -> SegmentVectors | None:
    """Segment vectors of a freshly embedded video; None where it has no such rows."""
    numbers, rows = [], []
    for segment, embedding in zip(video.segments, video.embeddings, strict=True):
        found = embedding.rows.get(backbone.name)
        if found is not None and len(found.vectors):
            numbers += [segment.index] * len(found.vectors)
            rows.append(found)
    if not rows:
        return None
    return summarize(
        backbone,
        numbers,
        np.concatenate([r.vectors for r in rows]),
        np.concatenate([r.start_s for r in rows]).tolist(),
        np.concatenate([r.end_s for r in rows]).tolist(),
    )


def from_stored(
    backbone: Backbone, rows: Sequence[StoredRow], vectors: FloatArray
) -> dict[str, SegmentVectors]:
    """Segment vectors by video id, from rows ordered by video and segment."""
    videos = {}
    for video_id, first, last in _runs(rows):
        part = rows[first:last]
        videos[video_id] = summarize(
            backbone,
            [r.segment for r in part],
            vectors[first:last],
            [r.start_s for r in part],
            [r.end_s for r in part],
        )
    return videos


def _runs(rows: Sequence[StoredRow]) -> Iterable[tuple[str, int, int]]:
    first = 0
    for i in range(1, len(rows) + 1):
        if i == len(rows) or rows[i].video_id != rows[first].video_id:
            yield rows[first].video_id, first, i
            first = i


def compare(backbone: Backbone, query: SegmentVectors, video: SegmentVectors) -> Match:
    """The likeness of two videos in one modality: that of their best pair of segments.

    For cosine backbones it is the cosine of the two segments' mean vectors, in [-1, 1]; for
    L2 backbones the negative mean squared difference, at most 0.
    """
    if backbone.similarity == "cosine":
        pairs = query.vectors @ video.vectors.T
    else:
        squares = (query.vectors**2).sum(1)[:, None] + (video.vectors**2).sum(1)
        pairs = -np.maximum(squares - 2 * query.vectors @ video.vectors.T, 0) / backbone.dim
    i, j = np.unravel_index(int(pairs.argmax()), pairs.shape)
    return Match(
        similarity=float(pairs[i, j]),
        query_start_s=float(query.start_s[i]),
        query_end_s=float(query.end_s[i]),
        start_s=float(video.start_s[j]),
        end_s=float(video.end_s[j]),
    )
