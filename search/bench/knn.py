"""Nearest neighbours: faiss and Milvus side by side, exact and through an IVF index."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt

from ...ingest.shards.home import Place
from ...ingest.system.progress import Progress
from ...schemas.collections import Index
from ...schemas.embedding import FloatArray
from ..faiss_device import describe, gpus, to_gpu
from .milvus import open_searcher
from .results import KnnBench, KnnTiming
from .timing import interleave, use_threads
from .vectors import clustered, exported

QUERIES = (1, 10, 100)
NEIGHBOURS = (3, 10, 100, 200)
"""Numbers of queries and of neighbours in the capstone's table (CoderHam/VideoSimilarity)."""

PROBES = 8
"""IVF lists searched per query."""

_INDEX_TYPES = ("FLAT", "IVF_FLAT")
_Numbers = npt.NDArray[np.int64]


def bench_knn(
    export: Path | None,
    rows: int,
    dim: int,
    runs: int,
    place: Place,
    progress: Progress,
    neighbours: Sequence[int] = NEIGHBOURS,
) -> KnnBench:
    """Time searches, one call each, on the same vectors in the same run.

    Where faiss sees a GPU it searches there too. Milvus uses temporary collections: Lite's in a
    temporary directory, a server's beside those of the libraries, dropped afterwards. All IVF
    indexes have the same number of lists.

    Args:
        export: An HDF5 file of ``vidsim export``; None for synthetic vectors.
        rows: Synthetic vectors to search among.
        dim: Their dimension.
        runs: Measured calls per cell, of which the median counts.
        place: Place of Milvus; the embedded one is measured in a temporary folder.
        progress: Receives the progress of the stages.
        neighbours: Numbers of neighbours to request.

    Raises:
        StoreError: The export cannot be used, or Milvus fails.
    """
    vectors = exported(export, max(QUERIES)) if export else clustered(rows, dim, max(QUERIES))
    base, queries = vectors
    lists = _lists(len(base))
    threads = use_threads()
    build_s: dict[str, float] = {}
    progress.start("building indexes", 2 * len(_INDEX_TYPES), "indexes")
    with open_searcher(place) as milvus:
        began = time.perf_counter()
        indexes = {kind: _faiss_index(kind, base, lists) for kind in _INDEX_TYPES}
        build_s["faiss"] = time.perf_counter() - began
        engines = {"faiss": indexes}
        if gpus():
            began = time.perf_counter()
            engines["faiss gpu"] = {kind: to_gpu(index) for kind, index in indexes.items()}
            build_s["faiss gpu"] = time.perf_counter() - began
        progress.advance("building indexes", len(_INDEX_TYPES))
        began = time.perf_counter()
        for kind in _INDEX_TYPES:
            milvus.build(Index(kind, lists if kind == "IVF_FLAT" else 0), base)
            progress.advance("building indexes", 1)
        build_s["milvus"] = time.perf_counter() - began
        progress.finish("building indexes")
        tasks: dict[tuple[str, str, int, int], Callable[[], _Numbers]] = {}
        for kind in _INDEX_TYPES:
            for count in QUERIES:
                for k in neighbours:
                    asked = queries[:count]
                    for engine, built in engines.items():
                        task = partial(_search_faiss, built[kind], asked, k)
                        tasks[engine, kind, count, k] = task
                    tasks["milvus", kind, count, k] = partial(milvus.search, kind, asked, k, PROBES)
        ms, answers = interleave(tasks, runs, progress)
        about = milvus.about
    return KnnBench(
        data=str(export) if export else "synthetic clusters",
        rows=len(base),
        dim=base.shape[1],
        lists=lists,
        probes=min(PROBES, lists),
        milvus=about,
        faiss=describe(),
        runs=runs,
        threads=threads,
        build_s=build_s,
        timings=[
            KnnTiming(
                engine=engine,
                index=kind,
                queries=count,
                k=k,
                ms=ms[engine, kind, count, k],
                recall=recall(answers[engine, kind, count, k], answers["faiss", "FLAT", count, k]),
            )
            for engine, kind, count, k in tasks
        ],
    )


def recall(found: _Numbers, exact: _Numbers) -> float:
    """Return the fraction of the `exact` neighbours (nq, k) among those `found` (nq, k).

    -1 marks a missing neighbour, which does not count.
    """
    wanted = exact >= 0
    hit = (exact[:, :, None] == found[:, None, :]).any(axis=2) & wanted
    return float(hit.sum() / max(1, wanted.sum()))


def _lists(rows: int) -> int:
    """Return the power of two below 4 sqrt(rows), faiss' rule of thumb: 1,024 at 106,557 rows."""
    return int(2 ** math.floor(math.log2(max(1.0, 4 * math.sqrt(rows)))))


def _faiss_index(kind: str, base: FloatArray, lists: int) -> Any:
    flat = faiss.IndexFlatIP(base.shape[1])
    if kind == "FLAT":
        flat.add(base)
        return flat
    index = faiss.IndexIVFFlat(flat, base.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    index.train(base)
    index.add(base)
    index.nprobe = PROBES
    return index


def _search_faiss(index: Any, queries: FloatArray, k: int) -> _Numbers:
    return np.asarray(index.search(queries, k)[1], np.int64)
