"""faiss on the CPU, or on a GPU where it sees one: the same answers, sooner.

faiss-cpu and faiss-gpu provide the same module, ``faiss``; an environment holds one of them
(docs/install.md). This module imports it on first use.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from ..schemas.embedding import ByteArray, FloatArray, IntArray

MOST_ON_GPU = 2048
"""Most neighbours of one query that faiss finds on a GPU (its wiki, "Faiss on the GPU")."""

_MATCHES = 256
"""Neighbours per binary code that a GPU returns; the CPU answers codes with more matches."""

_log = logging.getLogger(__name__)

SearchRows = Callable[[FloatArray, int], IntArray]
"""(n, dim) rows and k -> (n, k) numbers of the nearest rows, nearest first."""

Matches = tuple[IntArray, IntArray, IntArray]
"""limits (n + 1,), distances and numbers (limits[-1],): those of code i at limits[i:i + 2]."""

SearchCodes = Callable[[ByteArray, int], Matches]
"""(n, bytes) codes and a distance in bits -> the codes nearer than it, by number."""


def gpus() -> int:
    """Count the GPUs that faiss can use; 0 where it was built for the CPU."""
    import faiss

    return int(faiss.get_num_gpus()) if hasattr(faiss, "StandardGpuResources") else 0


def describe() -> str:
    """Name the loaded faiss and its device, such as ``faiss-cpu 1.15.1 on the CPU``."""
    import faiss

    for_gpus = hasattr(faiss, "StandardGpuResources")
    found = f"faiss-{'gpu' if for_gpus else 'cpu'} {faiss.__version__} on "
    if count := gpus():
        return found + f"the CPU and {count} GPU{'s' if count > 1 else ''}"
    if not for_gpus and _is_installed("faiss-gpu"):
        return found + (
            "the CPU (faiss-cpu was written over faiss-gpu: 'pip install --force-reinstall "
            "--no-deps faiss-gpu' brings it back)"
        )
    return found + ("the CPU (it sees no GPU)" if for_gpus else "the CPU")


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


def to_gpu(index: Any) -> Any:
    """Copy an index to the first GPU.

    Raises:
        RuntimeError: faiss cannot, for example for lack of memory.
    """
    import faiss

    copy: Any = faiss.index_cpu_to_gpus_list(index, gpus=[0])
    if isinstance(index, faiss.IndexIVF):
        copy.nprobe = index.nprobe
    return copy


def search_rows(among: FloatArray) -> SearchRows:
    """Return an exact L2 search over rows (rows, dim)."""
    import faiss

    def on_cpu(asked: FloatArray, k: int) -> IntArray:
        return np.asarray(faiss.knn(asked, among, k)[1], np.int64)

    if not gpus():
        return on_cpu
    try:
        index = to_gpu(faiss.IndexFlatL2(among.shape[1]))
        index.add(among)
    except RuntimeError as error:
        _log.warning("The CPU searches among %d rows, since faiss says: %s", len(among), error)
        return on_cpu

    def on_gpu(asked: FloatArray, k: int) -> IntArray:
        if k > MOST_ON_GPU:
            return on_cpu(asked, k)
        try:
            return np.asarray(index.search(asked, k)[1], np.int64)
        except RuntimeError as error:
            _log.warning("The CPU searches for %d rows, since faiss says: %s", len(asked), error)
            return on_cpu(asked, k)

    return on_gpu


def search_codes(among: ByteArray) -> SearchCodes:
    """Return a Hamming range search over codes (codes, bytes)."""
    import faiss

    index = faiss.IndexBinaryFlat(8 * among.shape[1])
    index.add(among)

    def on_cpu(asked: ByteArray, radius: int) -> Matches:
        limits, distances, found = index.range_search(asked, radius)
        return limits.astype(np.int64), distances.astype(np.int64), found

    if not gpus():
        return on_cpu
    try:
        copy = to_gpu(index)
    except RuntimeError as error:
        _log.warning("The CPU searches among %d codes, since faiss says: %s", len(among), error)
        return on_cpu

    def on_gpu(asked: ByteArray, radius: int) -> Matches:
        try:
            return _by_neighbours(copy, on_cpu, asked, radius)
        except RuntimeError as error:
            _log.warning("The CPU searches for %d codes, since faiss says: %s", len(asked), error)
            return on_cpu(asked, radius)

    return on_gpu


def _by_neighbours(index: Any, on_cpu: SearchCodes, asked: ByteArray, radius: int) -> Matches:
    """Answer as `on_cpu` does from the nearest codes in `index`: a GPU has no range search."""
    count = min(_MATCHES, index.ntotal)
    distances, found = index.search(asked, count)
    inside = distances < radius
    more = inside.all(axis=1) & (count < index.ntotal)
    inside[more] = False
    code, place = np.nonzero(inside)
    parts = [(code, distances[code, place].astype(np.int64), found[code, place])]
    if more.any():
        limits, far, numbers = on_cpu(asked[more], radius)
        parts.append((np.repeat(np.flatnonzero(more), np.diff(limits)), far, numbers))
    code, bits, numbers = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((numbers, code))
    counts = np.bincount(code, minlength=len(asked))
    limits = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return limits, bits[order], numbers[order]
