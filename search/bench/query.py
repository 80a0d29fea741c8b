"""Queries on a library of UCF101's size: vidsim against faiss, with an exact ground truth."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from ...ingest.shards.home import Place
from ...ingest.system.progress import Progress, Silent
from ...schemas.backbones import Backbone
from ...schemas.results import QueryResult
from ..background import yardsticks
from ..library import Library
from ..query import QueryOptions, answer
from ..search_index import SearchIndex, open_index
from .exact import BEST, Everything, recall
from .library import open_library
from .results import QueryBench, QueryTiming
from .synthetic import LIBRARY
from .timing import use_threads

_WARM = 5
"""Warm-up queries before the measured ones."""

_CLIP_RUNS = 10
"""Queries for a new clip, after the one that loads the networks."""

BEYOND_S = 86_400.0
"""An end beyond any clip's: asked for up to another one, it is embedded anew and not remembered."""

_PARTS = {
    "search": "search",
    "compare": "largest_products",
    "fetch": "fetch_videos",
    "check": "begin_check",
}
"""Methods of `SearchIndex` that a query spends its time in, by their names in the table."""


def bench_query(
    videos: int,
    queries: int,
    backbones: Sequence[Backbone],
    place: Place,
    kept: Path | None,
    progress: Progress,
    clip: Path | None = None,
) -> QueryBench:
    """Time queries for stored ids on an open index, and judge the answers by exhaustive search.

    Args:
        videos: Videos of the synthetic library.
        queries: Stored videos with sound to query, each once (fewer if there are fewer).
        backbones: One per modality.
        place: Place of Milvus; on a server the benchmark creates and drops a database.
        kept: A home to keep the library in, as in `open_library`.
        progress: Receives the progress of the stages.
        clip: A file to query too, by a `Library`.

    Raises:
        MediaError: `clip` cannot be read.
        StoreError: `kept` holds something else, or Milvus cannot be used.
    """
    threads = use_threads()
    with open_library(videos, backbones, place, kept, progress) as (own, fill_s):
        everything = Everything(backbones, ("rows", "segments"))
        everything.grow(videos, progress)
        asked = everything.sample(_WARM + queries)
        where = _described(own)
        with open_index(own) as index:
            spent, answers = _ask(index, own, everything, asked, progress)
        clip_ms = _ask_for(clip, own, progress) if clip else []
        measured = yardsticks(own.home, [LIBRARY], {b.modality: b for b in backbones})
    scores = everything.scores(asked, measured)
    found = [recall(result, row, everything.ids) for result, row in zip(answers, scores)]
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


def _described(place: Place) -> str:
    if place.uri is None:
        return "the shards, mapped into memory"
    from ...ingest.milvus.connection import open_client
    from .milvus import about

    with open_client(place) as milvus:
        return about(milvus)


class _Watched:
    """An index that records when its methods run, possibly several at a time."""

    def __init__(self, index: SearchIndex) -> None:
        self._index = index
        self.spans: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)

    def __getattr__(self, name: str) -> Any:
        """Return the index's attribute, timed if it is a method."""
        found = getattr(self._index, name)

        def timed(*args: object, **options: object) -> object:
            began = time.perf_counter()
            try:
                return found(*args, **options)
            finally:
                self.spans[name].append((began, time.perf_counter()))

        return timed if callable(found) else found


def covered_ms(spans: Iterable[tuple[float, float]]) -> float:
    """Return the milliseconds covered by at least one of `spans`, which are in seconds."""
    total, reached = 0.0, -math.inf
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, reached))
        reached = max(reached, ended)
    return 1000 * total


def _ask(
    index: SearchIndex,
    place: Place,
    everything: Everything,
    asked: Sequence[int],
    progress: Progress,
) -> tuple[Mapping[str, list[float]], list[QueryResult]]:
    """Return milliseconds of every query and its parts, then of faiss, and the answers."""
    spent: defaultdict[str, list[float]] = defaultdict(list)
    answers = []
    rows = [flat for (_, level), flat in everything.flats.items() if level == "rows"]
    exact = {"faiss segments": list(everything.searched.values()), "faiss rows": rows}
    options = QueryOptions(k=BEST)
    progress.start("asking", len(asked), "queries")
    for number in asked:
        watched = _Watched(index)
        began = time.perf_counter()
        result = answer(
            everything.ids[number], cast(SearchIndex, watched), place, options, Silent()
        )
        took = 1000 * (time.perf_counter() - began)
        answers.append(result)
        spent["query"].append(took)
        for part, method in _PARTS.items():
            spent[part].append(covered_ms(watched.spans[method]))
        calls = (span for method in _PARTS.values() for span in watched.spans[method])
        spent["rest"].append(took - covered_ms(calls))
        progress.advance("asking", 1)
    # Afterwards: they would evict the caches that consecutive queries find warm.
    for number in asked:
        for name, flats in exact.items():
            began = time.perf_counter()
            for flat in flats:
                flat.search(number)
            spent[name].append(1000 * (time.perf_counter() - began))
    progress.finish("asking")
    return spent, answers


def _ask_for(clip: Path, place: Place, progress: Progress) -> list[float]:
    """Return milliseconds of queries for one new clip in one process; the first loads networks."""
    took = []
    progress.start("asking for a new clip", 1 + _CLIP_RUNS, "queries")
    with Library(place) as library:
        for number in range(1 + _CLIP_RUNS):
            began = time.perf_counter()
            library.query(clip, k=BEST, end=BEYOND_S + number)
            took.append(1000 * (time.perf_counter() - began))
            progress.advance("asking for a new clip", 1)
    progress.finish("asking for a new clip")
    return took


def _timing(what: str, ms: Sequence[float]) -> QueryTiming:
    p50, p95 = np.percentile(ms, [50, 95]).tolist()
    return QueryTiming(what=what, p50_ms=p50, p95_ms=p95)
