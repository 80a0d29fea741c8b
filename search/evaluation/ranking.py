"""Rank and judge exported videos under a protocol, one block of queries at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from ...ingest.system.progress import Progress
from ...schemas.embedding import FloatArray, IntArray
from ...schemas.modality import Modality
from ..faiss_device import search_rows
from ..fusion import Scores
from ..likeness import Yardstick, average
from ..videos import by_video, similarities
from .color_metrics import COLOR_METRICS, Pairs
from .exported import Exported, ExportedRows
from .measures import FloatVector, judge, vote
from .protocols import Protocol, row_split

BLOCK = 128
"""Queries ranked at a time: 13,320 videos and four modalities take 225 MB beside the vectors."""


_ROWS_PER_SEARCH = 2048
"""Query rows per step under a leaky protocol: some seconds per step at 106,560 rows."""

_SPARE = 8
"""Rows retrieved beyond k (a choice)."""


@dataclass(frozen=True)
class Single:
    """One way to compare videos: a modality, or a colour metric.

    Attributes:
        name: Name in the report.
        videos: (m,) indexes of the videos that have it, ascending.
        means: (segments, dim) segment means of these videos, one after another.
        edges: (m + 1,): segments ``edges[i]:edges[i + 1]`` are those of the i-th video.
        pairs: Similarity of all pairs of segments.
    """

    name: str
    videos: IntArray
    means: FloatArray
    edges: IntArray
    pairs: Pairs


@dataclass(frozen=True)
class Predictions:
    """Predictions of one configuration for every query under one protocol.

    Attributes:
        protocol: Its name.
        configuration: The name of the `Single`, or of a fusion.
        queries: Ids of the query videos, or ``video_id#row`` under a leaky protocol.
        videos: (queries,) indexes of those videos.
        predicted: (queries,) class by the vote of k, -1 for none.
        nearest: Ids of the nearest videos, "" for none.
        first_hit: (queries,) rank of the first of the query's class, 0 for none; None under
            a leaky protocol.
        precision: (queries,) average precision; None under a leaky protocol.
    """

    protocol: str
    configuration: str
    queries: tuple[str, ...]
    videos: IntArray
    predicted: IntArray
    nearest: tuple[str, ...]
    first_hit: IntArray | None
    precision: FloatVector | None


@dataclass(frozen=True)
class Classes:
    """Class names, and the class number of each video (-1 for an unlabelled one)."""

    names: tuple[str, ...]
    numbers: IntArray


def classes_of(labels: Sequence[str]) -> Classes:
    """Number the classes by name."""
    names = tuple(sorted(set(labels) - {""}))
    numbers = {name: i for i, name in enumerate(names)}
    return Classes(names, np.array([numbers.get(label, -1) for label in labels], np.int64))


def single(name: str, rows: ExportedRows, ids: Sequence[str], metric: str | None = None) -> Single:
    """Set up a comparison of videos by one backbone, or by a colour metric on the strips."""
    index = {video_id: i for i, video_id in enumerate(ids)}
    found = list(rows.videos.values())
    return Single(
        name=name,
        videos=np.array([index[i] for i in rows.videos], np.int64),
        means=np.concatenate([v.means for v in found]),
        edges=np.cumsum([0, *(len(v.means) for v in found)]),
        pairs=COLOR_METRICS[metric] if metric else partial(similarities, rows.backbone),
    )


def compare(one: Single, queries: IntArray, videos: int) -> Scores:
    """Return (queries, videos) similarities; NaN where either has no such vectors."""
    scores = np.full((len(queries), videos), np.nan)
    there = np.flatnonzero(np.isin(queries, one.videos))
    at = np.searchsorted(one.videos, queries[there])
    if len(there):
        segments = [np.arange(one.edges[i], one.edges[i + 1]) for i in at]
        edges = np.cumsum([0, *map(len, segments)])
        pairs = one.pairs(one.means[np.concatenate(segments)], one.means)
        scores[np.ix_(there, one.videos)] = by_video(pairs, edges, one.edges)
    return scores


def blocks(
    singles: Sequence[Single], protocol: Protocol, queries: IntArray
) -> Iterator[tuple[IntArray, dict[str, Scores]]]:
    """Yield a block of queries at a time, with their similarities to the allowed neighbours."""
    for start in range(0, len(queries), BLOCK):
        block = queries[start : start + BLOCK]
        allowed = protocol.allowed(block)
        yield (
            block,
            {
                one.name: np.where(allowed, compare(one, block, len(protocol.gallery)), np.nan)
                for one in singles
            },
        )


def rank_all(
    exported: Exported,
    classes: Classes,
    protocol: Protocol,
    singles: Sequence[Single],
    fusions: Mapping[str, Mapping[Modality, float]],
    yardsticks: Mapping[Modality, Yardstick],
    k: int,
) -> Iterator[tuple[str, IntArray, Predictions]]:
    """Yield the predictions of every configuration, one block of queries at a time.

    An unlabelled video is never used as a query. Nor is one whose gallery has no other video
    of its class; for a `Single`, only videos that have its vectors count.

    Args:
        exported: The videos.
        classes: Their classes.
        protocol: A clean one.
        singles: Comparisons; those of modalities bear the modalities' names.
        fusions: Weights by name of the configuration; none for no fusion.
        yardsticks: Of every fused modality.
        k: Nearest videos that vote.

    Yields:
        The configuration, the queries of the block that count, and their predictions.
    """
    queries = np.flatnonzero(protocol.queries & (classes.numbers >= 0))
    for block, scores in blocks(singles, protocol, queries):
        allowed = protocol.allowed(block)
        parts = {m: of.log_odds(scores[m.value]) for m, of in yardsticks.items()} if fusions else {}
        fused = {name: average(parts, weights) for name, weights in fusions.items()}
        for name, found in (scores | fused).items():
            there = allowed if name in fused else ~np.isnan(found)
            own = classes.numbers[block]
            relevant = (there & (classes.numbers == own[:, None])).sum(axis=1)
            asks = relevant > 0
            judged = judge(found[asks], classes.numbers, own[asks], relevant[asks], k)
            yield (
                name,
                block[asks],
                Predictions(
                    protocol=protocol.name,
                    configuration=name,
                    queries=tuple(exported.ids[i] for i in block[asks]),
                    videos=block[asks],
                    predicted=judged.predicted,
                    nearest=tuple(exported.ids[i] if i >= 0 else "" for i in judged.nearest),
                    first_hit=judged.first_hit,
                    precision=judged.precision,
                ),
            )


def join(parts: Sequence[Predictions]) -> Predictions:
    """Join the predictions of several blocks of one configuration, in order."""
    hits = [p.first_hit for p in parts if p.first_hit is not None]
    precisions = [p.precision for p in parts if p.precision is not None]
    return Predictions(
        protocol=parts[0].protocol,
        configuration=parts[0].configuration,
        queries=tuple(q for p in parts for q in p.queries),
        videos=np.concatenate([p.videos for p in parts]),
        predicted=np.concatenate([p.predicted for p in parts]),
        nearest=tuple(n for p in parts for n in p.nearest),
        first_hit=np.concatenate(hits) if hits else None,
        precision=np.concatenate(precisions) if precisions else None,
    )


def rank_rows(
    name: str,
    rows: ExportedRows,
    exported: Exported,
    classes: Classes,
    protocol: str,
    k: int,
    seed: int,
    progress: Progress,
) -> Predictions | None:
    """Reproduce the capstone's leaky vote of the k rows nearest to every row.

    Under ``capstone-all`` a row is its own nearest neighbour; under ``capstone-split`` rows of
    the query's own video are among the training rows. The result is None for too few rows.
    """
    index = {video_id: i for i, video_id in enumerate(exported.ids)}
    owners = np.concatenate([[index[i]] * len(v.rows) for i, v in rows.videos.items()])
    numbers = np.concatenate([np.arange(len(v.rows)) for v in rows.videos.values()])
    everything = np.ones(len(owners), bool)
    train = everything if protocol == "capstone-all" else row_split(len(owners), seed)
    asks = everything if protocol == "capstone-all" else ~train
    asks = asks & (classes.numbers[owners] >= 0)
    if train.sum() < k or not asks.any():
        return None
    vectors = np.concatenate([v.rows for v in rows.videos.values()])
    stage = f"{protocol}, {name}"
    progress.start(stage, int(asks.sum()), "rows")
    found = nearest_rows(vectors, asks, train, k, partial(progress.advance, stage))
    progress.finish(stage)
    neighbours = owners[found]
    return Predictions(
        protocol=protocol,
        configuration=name,
        queries=tuple(f"{exported.ids[owners[i]]}#{numbers[i]}" for i in np.flatnonzero(asks)),
        videos=owners[asks],
        predicted=vote(classes.numbers[neighbours]),
        nearest=tuple(exported.ids[i] for i in neighbours[:, 0]),
        first_hit=None,
        precision=None,
    )


def nearest_rows(
    vectors: FloatArray,
    asks: npt.NDArray[np.bool_],
    train: npt.NDArray[np.bool_],
    k: int,
    advance: Callable[[int], None],
) -> IntArray:
    """Find the k training rows nearest to every query row (L2).

    faiss finds a few more than k in float32, where nearly equal rows (frames of a still scene,
    a row and itself) come in any order; distances in float64 then decide.

    Args:
        vectors: (rows, dim). Where they are normalised, L2 ranks them as the cosine does.
        asks: (rows,) whether it is a query.
        train: (rows,) whether it may be found.
        k: Number of neighbours, at most the number of training rows.
        advance: Called with the number of rows answered.

    Returns:
        (query rows, k) row numbers, nearest first.
    """
    queries, known = np.flatnonzero(asks), np.flatnonzero(train)
    among = vectors if train.all() else vectors[known]
    count = min(k + _SPARE, len(among))
    search = search_rows(among)
    found = np.empty((len(queries), k), np.int64)
    for start in range(0, len(queries), _ROWS_PER_SEARCH):
        asked = vectors[queries[start : start + _ROWS_PER_SEARCH]]
        candidates = search(asked, count)
        for i, (row, near) in enumerate(zip(asked.astype(np.float64), candidates), start):
            near.sort()  # so that equally distant rows come in order
            apart = row - among[near]
            closest = np.argsort(np.einsum("nd,nd->n", apart, apart), kind="stable")[:k]
            found[i] = known[near[closest]]
        advance(len(asked))
    return found
