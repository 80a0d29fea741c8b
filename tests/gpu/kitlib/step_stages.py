"""What each network is bound by: its pace alone, and what the GPU did meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import torch
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile

from vidsim.ingest.decode.events import SegmentMedia
from vidsim.ingest.extract.scheduler import Extractor

from .common import Bench, attempt
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
    """What one batch does. The time it takes is measured before, for profiling adds to it."""
    on_gpu = bench.device == "cuda"
    wall_ms = _pace(extractor, batch, bench)["ms"]
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiled:
        extractor.embed(batch)
        if on_gpu:
            torch.cuda.synchronize()
    rows = list(profiled.key_averages())
    found: dict[str, Any] = {"segments": len(batch), "wall_ms": wall_ms}
    on_device = [row for row in rows if row.device_type == DeviceType.CUDA]
    found["operators"] = _longest([r for r in rows if r.device_type != DeviceType.CUDA], on_gpu)
    if on_gpu:
        found |= _bound(on_device, wall_ms) | {"kernels": _longest(on_device, on_gpu)}
    return found


def _bound(rows: Sequence[FunctionEventAvg], wall_ms: float) -> dict[str, Any]:
    """What the GPU did in this time: kernels, copies, or nothing."""
    copies = sum(_device_ms(r) for r in rows if str(r.key).startswith(("Memcpy", "Memset")))
    kernels = sum(_device_ms(r) for r in rows) - copies
    if kernels >= _MOST * wall_ms:
        bound = "the GPU's kernels"
    elif copies >= _MOST * wall_ms:
        bound = "copies to the GPU"
    elif kernels + copies >= _MOST * wall_ms:
        bound = "the GPU: kernels and copies"
    else:
        bound = "the CPU: the GPU waits"
    return {"kernels_ms": kernels, "copies_ms": copies, "bound": bound}


def _longest(rows: Sequence[FunctionEventAvg], on_gpu: bool) -> list[dict[str, Any]]:
    def key(row: FunctionEventAvg) -> float:
        return _device_ms(row) if on_gpu else float(row.self_cpu_time_total)

    return [_figures(row, on_gpu) for row in sorted(rows, key=key, reverse=True)[:_OPERATORS]]


def _figures(row: FunctionEventAvg, on_gpu: bool) -> dict[str, Any]:
    name, cpu_ms = str(row.key)[:120], row.self_cpu_time_total / 1000
    found = {"name": name, "calls": row.count, "cpu_ms": cpu_ms}
    return found | ({"gpu_ms": _device_ms(row)} if on_gpu else {})


def _device_ms(row: FunctionEventAvg) -> float:
    return float(row.self_device_time_total) / 1000
