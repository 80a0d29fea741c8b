"""Exact and IVF search among 106,557 vectors of 2,048 numbers, the capstone's size."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from vidsim.search.bench.vectors import clustered

from .common import Bench, attempt

_ROWS, _DIM = 106_557, 2048
_QUERIES = (1, 10, 100)
_NEIGHBOURS = (10, 100)
_PROBES = 8
_ITERATIONS = 8
"""Lloyd iterations by which lists are made."""

_AT_ONCE = 1 << 31
"""Bytes of vectors that an IVF search gathers at a time."""

Search = Callable[[Tensor, int], Tensor]
"""From queries (nq, dim) and k to numbers of rows (nq, k)."""


def measure(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Times searches of 1, 10 and 100 queries; recall is against the exact one in float32."""
    rows, dim = (4000, 128) if bench.small else (_ROWS, _DIM)
    base, queries = (torch.from_numpy(v) for v in clustered(rows, dim, max(_QUERIES)))
    device = torch.device(bench.device)
    yield "vectors", {"rows": rows, "dim": dim, "mb": base.nbytes / 1e6}
    # Without TF32, whose 10 bits put neighbours in another order.
    torch.backends.cuda.matmul.allow_tf32 = False
    there, asked = base.to(device), queries.to(device)
    truth = {k: exact(there)(asked, k) for k in _NEIGHBOURS}
    yield "exact, float32", _time(exact(there), asked, truth, bench)
    if bench.device == "cuda":
        half = there.to(torch.bfloat16)
        yield "exact, bfloat16", attempt(lambda: _time(exact(half), asked, truth, bench))
        yield "exact, CPU", attempt(lambda: _time(exact(base), queries, truth, bench))
    began = time.perf_counter()
    lists = 2 ** math.floor(math.log2(4 * math.sqrt(rows)))
    index = Lists(there, lists)
    _wait(bench)
    build_s = time.perf_counter() - began
    figures = attempt(lambda: _time(index.search, asked, truth, bench))
    yield "IVF", figures | {"lists": lists, "probes": _PROBES, "build_s": build_s}
    yield "faiss", attempt(lambda: _faiss(bench, base, queries, truth, lists))
    if bench.device == "cuda":
        yield "torch_allocated_mb", torch.cuda.max_memory_allocated() / 1e6


def exact(base: Tensor) -> Search:
    """A search by the products with all rows of `base` (n, dim)."""
    return lambda queries, k: (queries.to(base.dtype) @ base.T).topk(k).indices


class Lists:
    """An inverted file: rows in lists around centers, of which a query looks at the nearest."""

    def __init__(self, base: Tensor, lists: int) -> None:
        """Clusters unit vectors `base` (n, dim) into so many lists, by spherical k-means."""
        generator = torch.Generator().manual_seed(0)
        start = torch.randperm(len(base), generator=generator)[:lists].to(base.device)
        centers = base[start].clone()
        for _ in range(_ITERATIONS):
            nearest = (base @ centers.T).argmax(1)
            sums = torch.zeros_like(centers).index_add_(0, nearest, base)
            filled = torch.bincount(nearest, minlength=lists) > 0
            sums = torch.nn.functional.normalize(sums)
            centers = torch.where(filled[:, None], sums, centers)
        nearest = (base @ centers.T).argmax(1)
        self._base, self._centers = base, centers
        self._order = nearest.argsort(stable=True)
        self._sizes = torch.bincount(nearest, minlength=lists)
        self._starts = self._sizes.cumsum(0) - self._sizes
        self._longest = int(self._sizes.max())

    def search(self, queries: Tensor, k: int) -> Tensor:
        """Numbers of the nearest rows among the lists looked at, (nq, k)."""
        row_bytes = self._base.shape[1] * self._base.element_size()
        step = max(1, _AT_ONCE // (_PROBES * self._longest * row_bytes))
        return torch.cat([self._some(part, k) for part in torch.split(queries, step)])

    def _some(self, queries: Tensor, k: int) -> Tensor:
        probed = (queries @ self._centers.T).topk(_PROBES).indices
        place = torch.arange(self._longest, device=queries.device)
        within = place < self._sizes[probed][..., None]
        at = (self._starts[probed][..., None] + place).clamp_(max=len(self._order) - 1)
        rows = self._order[at].flatten(1)
        scores = torch.bmm(self._base[rows], queries[..., None])[..., 0]
        scores.masked_fill_(~within.flatten(1), -math.inf)
        return rows.gather(1, scores.topk(k).indices)


def recall(found: Tensor, truth: Tensor) -> float:
    """Part of the neighbours `truth` (nq, k) that are among those `found` (nq, k)."""
    hit = (truth[:, :, None] == found[:, None, :]).any(2)
    return float(hit.float().mean())


def _time(
    search: Search, queries: Tensor, truth: dict[int, Tensor], bench: Bench
) -> dict[str, Any]:
    """Median milliseconds by number of queries and of neighbours, and recall."""
    found: dict[str, Any] = {}
    for k, wanted in truth.items():
        for count in _QUERIES:
            asked = queries[:count]
            answer, ms = search(asked, k), []
            for _ in range(3 if bench.small else 7):
                _wait(bench)
                began = time.perf_counter()
                search(asked, k)
                _wait(bench)
                ms.append(1000 * (time.perf_counter() - began))
            part = recall(answer.to(wanted.device), wanted[:count])
            found[f"{count} queries, K {k}"] = {"ms": statistics.median(ms), "recall": part}
    return found


def _wait(bench: Bench) -> None:
    if bench.device == "cuda":
        torch.cuda.synchronize()


def _faiss(
    bench: Bench, base: Tensor, queries: Tensor, truth: dict[int, Tensor], lists: int
) -> dict[str, Any]:
    """faiss on a GPU, where one that can is installed; it says where not."""
    try:
        faiss: Any = import_module("faiss")
    except ImportError as error:
        return {"left out": f"it is not there ({error})"}
    gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    if not gpus:
        return {"left out": f"faiss {faiss.__version__} is there, but not for a GPU"}
    resources = faiss.StandardGpuResources()
    dim = base.shape[1]
    flat = faiss.GpuIndexFlatIP(resources, dim)
    flat.add(base.numpy())
    ivf = faiss.GpuIndexIVFFlat(resources, dim, lists, faiss.METRIC_INNER_PRODUCT)
    ivf.train(base.numpy())
    ivf.add(base.numpy())
    ivf.nprobe = _PROBES

    def by(index: Any) -> Search:
        return lambda asked, k: torch.from_numpy(index.search(asked.numpy(), k)[1])

    on_cpu = {k: wanted.cpu() for k, wanted in truth.items()}
    return {
        "exact": _time(by(flat), queries, on_cpu, bench),
        "IVF": _time(by(ivf), queries, on_cpu, bench),
    }
