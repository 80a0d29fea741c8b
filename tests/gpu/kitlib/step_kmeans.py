"""Dominant colours of many frames at once, on the device and on the CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from vidsim.ingest.extract.color import dominant_colors
from vidsim.schemas.embedding import ByteArray, FloatArray

from .common import Bench, attempt, cores
from .media import load_media

_A_TASK = 20
"""Frames of a segment, which an ingest on a CPU clusters in one thread."""

Found = tuple[FloatArray, FloatArray]


def measure(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Clusters the frames of real clips, 200x200 pixels each."""
    media = load_media(bench, 2 if bench.small else 64)
    frames = np.concatenate([m.frames["color"] for m in media])
    sizes = (20, 40) if bench.small else (20, 160, 640, 1280)
    for size in sizes:
        some = frames[:size]
        yield f"{len(some)} frames", attempt(lambda f=some: _compare(bench, f))  # type: ignore[misc]


def _compare(bench: Bench, frames: ByteArray) -> dict[str, Any]:
    cpu_s, (cpu_colors, cpu_shares) = _timed(lambda: _on_all_cores(frames), 1)
    found: dict[str, Any] = {"cpu_ms": 1000 * cpu_s, "cpu_frames_per_s": len(frames) / cpu_s}
    if bench.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        seconds, (colors, shares) = _timed(lambda: dominant_colors(frames, "cuda"), 3)
        # A tie may be broken otherwise, and then a frame ends in another optimum.
        alike = np.isclose(shares, cpu_shares, atol=1e-3).all(1)
        alike &= np.isclose(colors, cpu_colors, atol=0.5).all((1, 2))
        found |= {
            "gpu_ms": 1000 * seconds,
            "gpu_frames_per_s": len(frames) / seconds,
            "alike": float(alike.mean()),
            "torch_allocated_mb": torch.cuda.max_memory_allocated() / 1e6,
        }
    return found


def _on_all_cores(frames: ByteArray) -> Found:
    """As an ingest on a CPU does: a task a segment, and a thread a core."""
    tasks = [frames[i : i + _A_TASK] for i in range(0, len(frames), _A_TASK)]
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(cores()) as pool:
        found = list(pool.map(dominant_colors, tasks))
    return np.concatenate([c for c, _ in found]), np.concatenate([s for _, s in found])


def _timed(task: Callable[[], Found], runs: int) -> tuple[float, Found]:
    """Seconds of the fastest of some runs after one that does not count, and what came out."""
    found, seconds = task(), []
    for _ in range(runs):
        began = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - began)
    return min(seconds), found
