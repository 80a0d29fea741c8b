"""What each network is bound by: its pace alone, and what the GPU did meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import torch
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import EventList, FunctionEventAvg
from torch.profiler import ProfilerActivity, profile

from vidsim.ingest.decode import SegmentMedia
from vidsim.ingest.extraction import Extractor

from .common import Bench
from .ingesting import attempt
from .media import backbones_of, load_extractor, load_media

_MOST = 0.75
"""What takes this part of the time is what a network is bound by."""

_OPERATORS = 12


def measure(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Embeds batches that are decoded already, modality by modality, without anything beside."""
    media = load_media(bench, 2 if bench.small else 64)
    for modality, backbone in backbones_of(bench).items():
        extractor = load_extractor(backbone, bench.device)
        for size in (1, 2) if bench.small else (8, 32, 128):
            batch = list(islice(cycle(media), size))
            pace = attempt(lambda e=extractor, b=batch: _pace(e, b, bench))  # type: ignore[misc]
            yield f"{modality.value}, {size} segments", pace
        # 32 segments are what an ingest takes at a time.
        batch = list(islice(cycle(media), 2 if bench.small else 32))
        profiled = attempt(lambda e=extractor, b=batch: _profile(e, b, bench))  # type: ignore[misc]
        yield f"{modality.value}, profile", profiled


def _pace(extractor: Extractor, batch: Sequence[SegmentMedia], bench: Bench) -> dict[str, Any]:
    """The best of three, for a GPU's clocks have to rise first."""
    on_gpu = bench.device == "cuda"
    extractor.embed(batch)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for _ in range(1 if bench.small else 3):
        began = time.perf_counter()
        extractor.embed(batch)
        seconds.append(time.perf_counter() - began)
    found = {"segments_per_s": len(batch) / min(seconds), "ms": 1000 * min(seconds)}
    if on_gpu:
        found["torch_allocated_mb"] = torch.cuda.max_memory_allocated() / 1e6
    return found


def _profile(extractor: Extractor, batch: Sequence[SegmentMedia], bench: Bench) -> dict[str, Any]:
    on_gpu = bench.device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiled:
        began = time.perf_counter()
        extractor.embed(batch)
        if on_gpu:
            torch.cuda.synchronize()
        wall_ms = 1000 * (time.perf_counter() - began)
    rows = profiled.key_averages()
    found: dict[str, Any] = {"segments": len(batch), "wall_ms": wall_ms}
    if on_gpu:
        found |= _bound(rows, wall_ms)
    found["operators"] = [_operator(row, on_gpu) for row in _longest(rows, on_gpu)]
    return found


def _bound(rows: EventList, wall_ms: float) -> dict[str, Any]:
    """What the GPU did in this time: kernels, copies, or nothing."""
    on_device = [row for row in rows if row.device_type == DeviceType.CUDA]
    copies = sum(_device_ms(r) for r in on_device if r.key.startswith(("Memcpy", "Memset")))
    kernels = sum(_device_ms(r) for r in on_device) - copies
    if kernels >= _MOST * wall_ms:
        bound = "the GPU's kernels"
    elif copies >= _MOST * wall_ms:
        bound = "copies to the GPU"
    elif kernels + copies >= _MOST * wall_ms:
        bound = "the GPU: kernels and copies"
    else:
        bound = "the CPU: the GPU waits"
    return {"kernels_ms": kernels, "copies_ms": copies, "bound": bound}


def _longest(rows: EventList, on_gpu: bool) -> list[FunctionEventAvg]:
    def key(row: FunctionEventAvg) -> float:
        return _device_ms(row) if on_gpu else row.self_cpu_time_total

    return sorted(rows, key=key, reverse=True)[:_OPERATORS]


def _operator(row: FunctionEventAvg, on_gpu: bool) -> dict[str, Any]:
    found = {
        "name": str(row.key)[:120],
        "calls": row.count,
        "cpu_ms": row.self_cpu_time_total / 1000,
    }
    return found | ({"gpu_ms": _device_ms(row)} if on_gpu else {})


def _device_ms(row: FunctionEventAvg) -> float:
    return float(row.self_device_time_total) / 1000
