"""Index tuning: the index each collection needs, and how many lists a search must probe."""

from __future__ import annotations

import time
from statistics import median

import numpy as np

from ...schemas.backbones import Backbone
from ...schemas.collections import Level, choose_index, collection_name
from ...schemas.embedding import FloatArray, index_dim, to_query
from ...schemas.errors import LibraryError
from ...schemas.results import IndexTuning, TunedIndex
from ...schemas.rows import Hit
from ..shards.home import Place, open_shards
from ..shards.lock import writing
from ..system.progress import Progress
from .filters import is_in
from .lite import NO_INDEX
from .store import Store, open_store

NEIGHBOURS = 10
"""Neighbours that recall is measured over: as many as the results of a query."""

_SAMPLE = 100
"""Stored vectors used as queries; the standard error of a recall of 0.99 is then under 0.01, even
if a vector finds all its neighbours or loses several."""

_AT_ONCE = 10
"""Queries per call, so that a call stays within its time limit."""

_TIMED = 20
"""Queries that are timed one by one."""

_TIE = 1e-6
"""A neighbour this close to the last exact one counts as equal to it."""


def tune(place: Place, recall: float, progress: Progress) -> IndexTuning:
    """Give every searched collection the index that fits it, and measure what searches need.

    Args:
        place: Place of the collections.
        recall: Fraction of the exact neighbours to find.
        progress: Receives the progress of the collections.

    Raises:
        LibraryError: Nothing is stored.
        StoreError: Milvus cannot be read, or cannot build an index.
    """
    videos = _sample_videos(place)
    with writing(place.home, "index tuning", place.wait), open_store(place, writing=True) as store:
        if store.embedded:
            return IndexTuning(
                target=store.target.name, recall=recall, collections=[], notes=[NO_INDEX]
            )
        found = [(b, store.levels(b)[-1]) for b in store.backbones()]  # the others are looked up
        progress.start("tuning", len(found), "collections")
        tuned = []
        for backbone, level in found:
            rows = store.count(backbone, "", level)
            if rows:
                tuned.append(_tune_one(store, backbone, level, rows, videos, recall))
            progress.advance("tuning", 1)
        progress.finish("tuning")
        return IndexTuning(
            target=store.target.name, recall=recall, collections=tuned, notes=store.notes
        )


def _sample_videos(place: Place) -> list[str]:
    """Draw ids of stored videos at random.

    Raises:
        LibraryError: Nothing is stored.
    """
    shards = open_shards(place.home)
    ids = [i for library in shards.libraries() for i in sorted(shards.catalog(library))]
    if not ids:
        raise LibraryError("Nothing is stored yet; run 'vidsim ingest FOLDER' first.")
    random = np.random.default_rng(0)
    return [ids[i] for i in random.permutation(len(ids))[:_SAMPLE]]


def _tune_one(
    store: Store, backbone: Backbone, level: Level, rows: int, videos: list[str], recall: float
) -> TunedIndex:
    store.flush(backbone)  # unflushed rows are searched without the index
    _, vectors = store.fetch(backbone, is_in("video_id", videos), level)
    picked = np.random.default_rng(0).permutation(len(vectors))[:_SAMPLE]
    queries = to_query(backbone, vectors[picked])
    before = _milliseconds(store, backbone, level, queries, None)
    index = choose_index(rows, index_dim(backbone), store.target)
    if store.index(backbone, level) != index:
        store.keep_probes(backbone, level, 0)
        store.rebuild(backbone, level, index)
    probes, reached = 0, 1.0
    if not index.exact and len(queries):
        probes, reached = _fewest_probes(store, backbone, level, queries, index.lists, recall)
    store.keep_probes(backbone, level, probes)
    return TunedIndex(
        collection=collection_name(backbone, level),
        rows=rows,
        index_type=index.index_type,
        lists=index.lists,
        probes=probes,
        recall=reached,
        ms_before=before,
        ms_after=_milliseconds(store, backbone, level, queries, probes or None),
    )


def _fewest_probes(
    store: Store,
    backbone: Backbone,
    level: Level,
    queries: FloatArray,
    lists: int,
    recall: float,
) -> tuple[int, float]:
    """Find the smallest power of two of lists that reaches `recall`, and the recall reached.

    Probing all lists is an exact search, which serves as the reference.
    """

    def search(probes: int) -> list[list[Hit]]:
        parts = range(0, len(queries), _AT_ONCE)
        return [
            hits
            for start in parts
            for hits in store.search(
                backbone, queries[start : start + _AT_ONCE], NEIGHBOURS, level=level, probes=probes
            )
        ]

    exact = search(lists)
    probes = 1
    while probes < lists:
        reached = recall_of(search(probes), exact)
        if reached >= recall:
            return probes, reached
        probes *= 2
    return lists, 1.0


def recall_of(found: list[list[Hit]], exact: list[list[Hit]]) -> float:
    """Return the fraction of the exact neighbours that a search found; equal scores count."""
    parts = []
    for some, all_ in zip(found, exact, strict=True):
        ids = {hit.id for hit in all_}
        right = sum(hit.id in ids or hit.score >= all_[-1].score - _TIE for hit in some)
        parts.append(min(right, len(all_)) / max(1, len(all_)))
    return float(np.mean(parts)) if parts else 1.0


def _milliseconds(
    store: Store, backbone: Backbone, level: Level, queries: FloatArray, probes: int | None
) -> float:
    """Return the median time of a search for one vector, in milliseconds."""
    times: list[float] = []
    for query in queries[:_TIMED]:
        began = time.perf_counter()
        store.search(backbone, query[None], NEIGHBOURS, level=level, probes=probes)
        times.append(1000 * (time.perf_counter() - began))
    return median(times) if times else 0.0
