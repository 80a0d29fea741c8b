"""Queries of a library of UCF101's size: vidsim, faiss, and an exact answer to judge by."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import faiss
import numpy as np
import numpy.typing as npt

from ...ingest.connection import open_client
from ...ingest.home import Place
from ...ingest.progress import Progress, Silent
from ...ingest.records import records_of
from ...ingest.store import Store, open_store
from ...schemas.collections import Level, levels
from ...schemas.embedding import EmbeddedVideo, FloatArray, from_index, index_dim, to_query
from ...schemas.modality import Backbone, Modality
from ...schemas.results import QueryBench, QueryResult, QueryTiming
from ..background import background
from ..fusion import TOP, Background, Scores, attend, combine, parse_weights
from ..query import QueryOptions, answer
from ..searcher import Searcher
from ..videos import similarities
from .library import open_library
from .milvus import about
from .synthetic import LIBRARY, make_videos
from .timing import use_threads

_K = 10
"""Results a query."""

_WARM = 5
"""Queries before those that are measured."""

_CLIP_RUNS = 10
"""Queries for a new clip, after the one that loads the networks."""

_TIE = 1e-6
"""A result whose score is this close to the tenth best is as good."""

_PARTS = {"search": "search", "fetch": "fetch_videos", "count": "count"}
"""Methods of `Store` that a query spends its time in, by what they are called in the table."""


def bench_query(
    videos: int,
    queries: int,
    backbones: Sequence[Backbone],
    place: Place,
    kept: Path | None,
    progress: Progress,
    clip: Path | None = None,
) -> QueryBench:
    """Asks an open store for stored ids, and judges the answers by comparing with every video.

    Args:
        videos: Videos of the synthetic library.
        queries: Stored videos with sound to ask for, each once (fewer where there are fewer).
        backbones: One a modality.
        place: Where Milvus is; on a server the benchmark makes, and drops, a database.
        kept: A home to keep the library in, as `open_library` has it.
        progress: Told about the stages.
        clip: A file to ask for as well, from a `Searcher`.

    Raises:
        MediaError: `clip` cannot be read.
        StoreError: `kept` holds something else, or Milvus cannot be used.
    """
    threads = use_threads()
    with open_library(videos, backbones, place, kept, progress) as (own, fill_s):
        everything = _gather(videos, backbones, progress)
        asked = everything.sample(_WARM + queries)
        with open_client(own) as milvus:
            where = about(milvus)
        with open_store(own) as store:
            spent, answers = _ask(store, own, everything, asked, progress)
        clip_ms = _ask_for(clip, own, progress) if clip else []
        chance = background(own.home, [LIBRARY], backbones)
    scores = everything.scores(asked, {b.modality: chance[b.name] for b in backbones})
    found = [_recall(result, row, everything.ids) for result, row in zip(answers, scores)]
    return QueryBench(
        videos=videos,
        rows={b.name: len(everything.flats[b.modality, "rows"].owners) for b in backbones},
        milvus=where,
        queries=len(asked) - _WARM,
        threads=threads,
        fill_s=fill_s,
        recall=float(np.mean(found)),
        timings=[_timing(what, ms[_WARM:]) for what, ms in spent.items()]
        + ([_timing("new clip", clip_ms[1:])] if clip_ms else []),
        first_clip_s=clip_ms[0] / 1000 if clip_ms else None,
        notes=sorted({note for result in answers for note in result.notes}),
    )


@dataclass(frozen=True)
class _Flat:
    """What one collection holds, in an exact index of faiss.

    Attributes:
        backbone: Whose vectors they are.
        index: A ``faiss.IndexFlatIP``.
        owners: (n,) number of each vector's video, ascending.
    """

    backbone: Backbone
    index: Any
    owners: npt.NDArray[np.int64]

    def vectors(self, video: int) -> FloatArray:
        """(n, dim) of one video, n 0 where it has none."""
        first, last = np.searchsorted(self.owners, [video, video + 1]).tolist()
        return from_index(self.backbone, self.index.reconstruct_n(first, last - first))

    def search(self, video: int) -> None:
        """Searches for all that a video has, as many neighbours as a query looks at."""
        self.index.search(to_query(self.backbone, self.vectors(video)), TOP)


@dataclass(frozen=True)
class _Everything:
    """The whole library in memory.

    Attributes:
        ids: Ids of the videos, by number.
        flats: What Milvus holds, by modality and level.
    """

    ids: list[str]
    flats: dict[tuple[Modality, Level], _Flat]

    @property
    def searched(self) -> dict[Modality, _Flat]:
        """One vector for each video that has the modality."""
        return {m: f for (m, level), f in self.flats.items() if level == levels(f.backbone)[-1]}

    def sample(self, count: int) -> list[int]:
        """Numbers of up to `count` videos that have every modality, at random."""
        having = np.bincount(np.concatenate([f.owners for f in self.searched.values()]))
        whole = np.flatnonzero(having == len(self.searched))
        return [int(i) for i in np.random.default_rng(0).permutation(whole)[:count]]

    def scores(self, asked: Sequence[int], chance: Mapping[Modality, Background]) -> Scores:
        """(queries, videos) fused scores of all videos; NaN for the query's own."""
        found = {}
        for modality, flat in self.searched.items():
            means = flat.index.reconstruct_n(0, len(flat.owners))
            means = from_index(flat.backbone, means)
            own = means[np.searchsorted(flat.owners, asked)]
            found[modality] = np.full((len(asked), len(self.ids)), np.nan)
            found[modality][:, flat.owners] = similarities(flat.backbone, own, means)
            found[modality][np.arange(len(asked)), asked] = np.nan
        return combine(attend(found, chance), parse_weights(None, "calibrated"))


def _gather(videos: int, backbones: Sequence[Backbone], progress: Progress) -> _Everything:
    ids = []
    kept = [(b, level) for b in backbones for level in levels(b)]
    indexes = [faiss.IndexFlatIP(index_dim(b)) for b, _ in kept]
    owners: list[list[int]] = [[] for _ in kept]
    progress.start("gathering", videos, "videos")
    for number, video in enumerate(make_videos(videos, backbones)):
        ids.append(video.video.video_id)
        for (backbone, level), index, own in zip(kept, indexes, owners):
            vectors = _held(backbone, video, level)
            if len(vectors):
                index.add(vectors)
                own += [number] * len(vectors)
        progress.advance("gathering", 1)
    progress.finish("gathering")
    return _Everything(
        ids,
        {
            (b.modality, level): _Flat(b, index, np.array(own, np.int64))
            for (b, level), index, own in zip(kept, indexes, owners)
        },
    )


def _held(backbone: Backbone, video: EmbeddedVideo, level: Level) -> FloatArray:
    """The vectors that Milvus holds of a video, (n, index_dim)."""
    records = records_of(backbone, video, level)
    return np.array([r["vector"] for r in records], np.float32).reshape(-1, index_dim(backbone))


class _Watched:
    """A store that adds up the milliseconds that each of its methods takes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.spent: defaultdict[str, float] = defaultdict(float)

    def __getattr__(self, name: str) -> Any:
        """The store's own, timed where it is a method."""
        found = getattr(self._store, name)

        def timed(*args: object, **options: object) -> object:
            began = time.perf_counter()
            try:
                return found(*args, **options)
            finally:
                self.spent[name] += 1000 * (time.perf_counter() - began)

        return timed if callable(found) else found


def _ask(
    store: Store, place: Place, everything: _Everything, asked: Sequence[int], progress: Progress
) -> tuple[Mapping[str, list[float]], list[QueryResult]]:
    """Milliseconds of every query and its parts and of faiss, in turn, and the answers."""
    spent: defaultdict[str, list[float]] = defaultdict(list)
    answers = []
    rows = [flat for (_, level), flat in everything.flats.items() if level == "rows"]
    yardsticks = {"faiss segments": list(everything.searched.values()), "faiss rows": rows}
    options = QueryOptions(k=_K)
    progress.start("asking", len(asked), "queries")
    for number in asked:
        watched = _Watched(store)
        began = time.perf_counter()
        result = answer(everything.ids[number], cast(Store, watched), place, options, Silent())
        took = 1000 * (time.perf_counter() - began)
        answers.append(result)
        spent["query"].append(took)
        for part, method in _PARTS.items():
            spent[part].append(watched.spent[method])
        spent["rest"].append(took - sum(watched.spent[method] for method in _PARTS.values()))
        for name, flats in yardsticks.items():
            began = time.perf_counter()
            for flat in flats:
                flat.search(number)
            spent[name].append(1000 * (time.perf_counter() - began))
        progress.advance("asking", 1)
    progress.finish("asking")
    return spent, answers


def _ask_for(clip: Path, place: Place, progress: Progress) -> list[float]:
    """Milliseconds of queries for the same new clip in one process; the first loads networks."""
    took = []
    progress.start("asking for a new clip", 1 + _CLIP_RUNS, "queries")
    with Searcher(place) as searcher:
        for _ in range(1 + _CLIP_RUNS):
            began = time.perf_counter()
            searcher.query(str(clip), QueryOptions(k=_K))
            took.append(1000 * (time.perf_counter() - began))
            progress.advance("asking for a new clip", 1)
    progress.finish("asking for a new clip")
    return took


def _timing(what: str, ms: Sequence[float]) -> QueryTiming:
    p50, p95 = np.percentile(ms, [50, 95]).tolist()
    return QueryTiming(what=what, p50_ms=p50, p95_ms=p95)


def _recall(result: QueryResult, scores: npt.NDArray[np.float64], ids: Sequence[str]) -> float:
    """Part of the best videos by `scores` (videos,) that a result holds, ties aside."""
    by_id = dict(zip(ids, np.nan_to_num(scores, nan=-np.inf).tolist()))
    wanted = sorted(by_id.values(), reverse=True)[:_K]
    good = sum(by_id[match.video_id] >= wanted[-1] - _TIE for match in result.results)
    return float(good / len(wanted))
