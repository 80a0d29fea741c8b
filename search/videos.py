"""Videos as groups of rows, and the similarity of two videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..schemas.backbones import Backbone
from ..schemas.embedding import EmbeddedVideo, FloatArray, segment_means, unit

if TYPE_CHECKING:  # evaluation compares exported videos without Milvus
    from ..schemas.rows import StoredRow


@dataclass(frozen=True)
class VideoVectors:
    """One modality of one video: its rows, and their mean per segment.

    Attributes:
        rows: (n, dim) float32, L2-normalised for cosine backbones.
        start_s: (n,) start of the stretch that each row describes, seconds.
        end_s: (n,) its end.
        edges: (segments + 1,) int: rows ``edges[i]:edges[i + 1]`` are those of segment i.
        means: (segments, dim) float32: the mean of each segment's rows, L2-normalised for
            cosine backbones.
    """

    rows: FloatArray
    start_s: npt.NDArray[np.float64]
    end_s: npt.NDArray[np.float64]
    edges: npt.NDArray[np.int64]
    means: FloatArray


@dataclass(frozen=True)
class Alignment:
    """The most similar stretches of a query and a video, in seconds."""

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
) -> VideoVectors:
    """Group the rows of one video by segment.

    Args:
        backbone: Decides how vectors are compared, and so whether they are normalised.
        segments: Segment number of each row, ascending.
        vectors: (n, dim) float32 rows.
        start_s: Start of each row, seconds.
        end_s: End of each row, seconds.
    """
    (video,) = _summarize_all(backbone, [""] * len(segments), segments, vectors, start_s, end_s)
    return video[1]


def _summarize_all(
    backbone: Backbone,
    video_ids: Sequence[str],
    segments: Sequence[int],
    vectors: FloatArray,
    start_s: Sequence[float],
    end_s: Sequence[float],
) -> Iterator[tuple[str, VideoVectors]]:
    """Yield each video's id and vectors, as `summarize` does, from rows grouped by video."""
    first_of_video = np.flatnonzero([True, *(a != b for a, b in pairwise(video_ids))])
    changes = np.diff(np.asarray(segments), prepend=-1) != 0
    changes[first_of_video] = True
    first = np.flatnonzero(changes)
    means = segment_means(backbone, vectors, first)
    rows = unit(vectors) if backbone.similarity == "cosine" else vectors
    starts, ends = np.asarray(start_s, np.float64), np.asarray(end_s, np.float64)
    edges = np.append(first, len(segments))
    bounds = np.append(first_of_video, len(segments)).tolist()
    places = np.searchsorted(edges, bounds).tolist()
    for (begin, end), (i, j) in zip(pairwise(bounds), pairwise(places)):
        yield (
            video_ids[begin],
            VideoVectors(
                rows=rows[begin:end],
                start_s=starts[begin:end],
                end_s=ends[begin:end],
                edges=edges[i : j + 1] - begin,
                means=means[i:j],
            ),
        )


def from_embedded(backbone: Backbone, video: EmbeddedVideo) -> VideoVectors | None:
    """Return the vectors of a freshly embedded video; None where it has no such rows."""
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
) -> dict[str, VideoVectors]:
    """Return vectors by video id, from rows ordered by video and segment."""
    if not rows:
        return {}
    return dict(
        _summarize_all(
            backbone,
            [r.video_id for r in rows],
            [r.segment for r in rows],
            vectors,
            [r.start_s for r in rows],
            [r.end_s for r in rows],
        )
    )


def within(
    backbone: Backbone, video: VideoVectors, start_s: float, end_s: float
) -> VideoVectors | None:
    """Return the rows whose middle lies in a part of a video.

    Where there is none, as in a few seconds of a segment that has one row, it is the row that
    covers most of the part; None where no row touches it.
    """
    middle = (video.start_s + video.end_s) / 2
    chosen = np.flatnonzero((middle >= start_s) & (middle < end_s))
    if not len(chosen):
        covered = np.minimum(video.end_s, end_s) - np.maximum(video.start_s, start_s)
        chosen = np.array([covered.argmax()])
        if covered[chosen] <= 0:
            return None
    segments = np.searchsorted(video.edges, chosen, side="right")
    rows, starts, ends = video.rows[chosen], video.start_s[chosen], video.end_s[chosen]
    return summarize(backbone, segments.tolist(), rows, starts.tolist(), ends.tolist())


def similarity(backbone: Backbone, query: VideoVectors, video: VideoVectors) -> float:
    """Return the similarity of two videos in one modality.

    It is the mean, over the query's segments, of the similarity to the video's nearest
    segment: a clip cut from a long video is as similar to it as the whole is.
    """
    return float(similarities(backbone, query.means, video.means).max(axis=1).mean())


def by_video(
    pairs: FloatArray, query_edges: npt.NDArray[np.int64], edges: npt.NDArray[np.int64]
) -> FloatArray:
    """Compute the `similarity` of many videos at once, from those of their segments.

    Args:
        pairs: (query segments, segments) similarities.
        query_edges: (queries + 1,): segments ``query_edges[i]:query_edges[i + 1]`` are those
            of query i.
        edges: (videos + 1,) the same for the videos.

    Returns:
        (queries, videos).
    """
    nearest = np.maximum.reduceat(pairs, edges[:-1], axis=1)
    sums = np.add.reduceat(nearest, query_edges[:-1], axis=0)
    return np.asarray(sums / np.diff(query_edges)[:, None], np.float32)


def align(backbone: Backbone, query: VideoVectors, video: VideoVectors) -> Alignment:
    """Find where two videos are most similar.

    The best pair of segments gives the rough place. The query's segment then slides over the
    video's and its neighbours, at every offset that brings two rows together; the offset with
    the largest total similarity wins, so that one frame that looks like many does not decide.
    """
    pairs = similarities(backbone, query.means, video.means)
    i, j = (int(n) for n in np.unravel_index(int(pairs.argmax()), pairs.shape))
    ours = slice(int(query.edges[i]), int(query.edges[i + 1]))
    last = min(j + 2, len(video.edges) - 1)
    theirs = slice(int(video.edges[max(j - 1, 0)]), int(video.edges[last]))
    rows = similarities(backbone, query.rows[ours], video.rows[theirs])
    start, end = video.start_s[theirs], video.end_s[theirs]
    middle = (query.start_s[ours] + query.end_s[ours]) / 2
    offsets = ((start + end) / 2 - middle[:, None]).reshape(-1)
    moments = middle + offsets[:, None]
    under = np.clip(np.searchsorted(start, moments, side="right") - 1, 0, None)
    meets = (start[under] <= moments) & (moments <= end[under])
    # Rows that meet nothing count as average, so that an overlap of one row has no advantage.
    gain = np.where(meets, rows[np.arange(len(middle)), under] - rows.mean(), 0).sum(axis=1)
    best = int(gain.argmax())
    met = np.flatnonzero(meets[best])
    return Alignment(
        query_start_s=float(query.start_s[ours][met].min()),
        query_end_s=float(query.end_s[ours][met].max()),
        start_s=float(start[under[best, met]].min()),
        end_s=float(end[under[best, met]].max()),
    )


def similarities(backbone: Backbone, a: FloatArray, b: FloatArray) -> FloatArray:
    """Compare all pairs of means or rows: (len(a), len(b)).

    The values are cosines, or negative mean squared differences for L2 backbones.
    """
    products: FloatArray = a @ b.T
    if backbone.similarity == "cosine":
        return products
    return from_products(backbone, products - 0.5 * (b**2).sum(1), a)


def row_by_row(backbone: Backbone, a: FloatArray, b: FloatArray) -> FloatArray:
    """Compare each row of (n, dim) with its counterpart: (n,), as `similarities` does."""
    if backbone.similarity == "cosine":
        return np.asarray(np.einsum("nd,nd->n", a, b))
    return np.asarray(-((a - b) ** 2).mean(axis=1))


def from_products(backbone: Backbone, products: FloatArray, queries: FloatArray) -> FloatArray:
    """Convert the inner products that Milvus computes to similarities.

    Args:
        backbone: Decides how vectors are compared.
        products: (nq, n) of `schemas.embedding.to_query` and `to_index`.
        queries: (nq, dim) means or rows.
    """
    if backbone.similarity == "cosine":
        return products
    squares = (queries**2).sum(1)[:, None]
    return np.asarray(-np.maximum(squares - 2 * products, 0) / backbone.dim, np.float32)
