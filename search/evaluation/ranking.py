"""Ranks and judges exported videos under a protocol, one block of queries at a time."""

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
from ..fusion import Background, Scores, attend, combine
from ..videos import by_video, similarities
from .color_metrics import COLOR_METRICS, Pairs
from .exported import Exported, ExportedRows
from .measures import FloatVector, judge, vote
from .protocols import Protocol, row_split

BLOCK = 128
"""Queries ranked at a time: 13,320 videos and four modalities take 225 MB beside the vectors."""


_ROWS_PER_SEARCH = 2048
"""Rows that ask at a time under a leaky protocol: some seconds a step at 106,560 rows."""

_SPARE = 8
"""Rows that are looked at beyond k (a choice)."""


@dataclass(frozen=True)
class Single:
    """One way to compare videos: a modality, or a colour metric.

    Attributes:
        name: As reported.
        videos: (m,) indexes of the videos that have it, ascending.
        means: (segments, dim) of these videos, one after another.
        edges: (m + 1,): segments ``edges[i]:edges[i + 1]`` are those of the i-th video.
        pairs: How segments are compared.
    """

    name: str
    videos: IntArray
    means: FloatArray
    edges: IntArray
    pairs: Pairs


@dataclass(frozen=True)
class Predictions:
    """What one configuration said of every query under one protocol.

    Attributes:
        protocol: Its name.
        configuration: The name of the `Single`, or of a fusion.
        queries: Ids of the videos that asked, or ``video_id#row`` under a leaky protocol.
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
    """The classes of videos: names, and the number of each video's (-1 without a class)."""

    names: tuple[str, ...]
    numbers: IntArray


def classes_of(labels: Sequence[str]) -> Classes:
    """Numbers the classes by name."""
    names = tuple(sorted(set(labels) - {""}))
    numbers = {name: i for i, name in enumerate(names)}
    return Classes(names, np.array([numbers.get(label, -1) for label in labels], np.int64))


def single(name: str, rows: ExportedRows, ids: Sequence[str], metric: str | None = None) -> Single:
    """How videos are compared by one backbone, or by a colour metric on the strips."""
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
    """(queries, videos) similarities; NaN where the query or the video has no such vectors."""
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
    """Similarities of some queries at a time to the videos they may have for neighbours."""
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
    background: Mapping[Modality, Background],
    k: int,
) -> Iterator[tuple[str, IntArray, Predictions]]:
    """Predictions of every configuration, block by block of queries.

    A video without a class is nobody's query. Nor is one for which nothing of its class is
    there to be found; for a `Single` only videos that have its vectors are.

    Args:
        exported: The videos.
        classes: Their classes.
        protocol: A clean one.
        singles: Ways to compare, those of the modalities under the modalities' names.
        fusions: Weights by name of the configuration; none for no fusion.
        background: Of every modality that is fused.
        k: How many nearest videos vote.

    Yields:
        Configuration, the queries of the block that count, and what was said of them.
    """
    queries = np.flatnonzero(protocol.queries & (classes.numbers >= 0))
    for block, scores in blocks(singles, protocol, queries):
        allowed = protocol.allowed(block)
        parts = attend({m: scores[m.value] for m in background}, background) if fusions else {}
        fused = {name: combine(parts, weights) for name, weights in fusions.items()}
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
    """The predictions of several blocks of one configuration, in their order."""
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
    """The capstone's own figures, which leak: the vote of the k rows nearest to every row.

    Under ``capstone-all`` a row is its own nearest neighbour; under ``capstone-split`` rows of
    the query's own video are among the training rows. None where there are too few rows.
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
    """The k training rows nearest to every row that asks (L2).

    faiss finds a few more than k in float32, where rows that are all but equal (frames of a
    still scene, a row and itself) come in any order; their distances in float64 decide.

    Args:
        vectors: (rows, dim). Where they are normalised, L2 ranks them as the cosine does.
        asks: (rows,) whether it asks.
        train: (rows,) whether it may be found.
        k: How many; no more than there are training rows.
        advance: Told how many rows were answered.

    Returns:
        (rows that ask, k) row numbers, nearest first.
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
            near.sort()  # so that rows just as far come in their order
            apart = row - among[near]
            closest = np.argsort(np.einsum("nd,nd->n", apart, apart), kind="stable")[:k]
            found[i] = known[near[closest]]
        advance(len(asked))
    return found
