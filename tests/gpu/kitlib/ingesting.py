"""One ingest, measured: clips a second, what each stage takes, memory, how busy the GPU is."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from vidsim.ingest.discover.videos import find_media
from vidsim.ingest.extract.embed import EmbedOptions, default_workers
from vidsim.ingest.pipeline import ingest
from vidsim.ingest.shards.home import Place
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.modality import Modality
from vidsim.schemas.results import IngestReport
from vidsim.search.bench.ingest import stage_cost
from vidsim.search.bench.processes import Memory

from .common import Bench, cores
from .media import backbones_of, link_clips

_LOOK_S = 0.2

_NETWORKS = (Modality.COLOR.value, Modality.FRAME.value, Modality.MOTION.value)


def many_decoders() -> int:
    """As many decoders as leave a quarter of the cores to everything else, so that they are not
    what a run is bound by."""
    return max(default_workers(), 3 * cores() // 4)


def clips_again(bench: Bench, times: int) -> Path:
    """A folder with the clips so many times; on a CPU with two of them.

    The folder is kept for the steps that follow.
    """
    files = find_media(bench.clips)
    count = 2 * times if bench.small else times * len(files)
    folder = bench.work / f"clips-{count}"
    return folder if folder.is_dir() else link_clips(files, count, folder)


def measure_ingest(
    bench: Bench, folder: Path, workers: int | None = None, **options: Any
) -> dict[str, Any]:
    """Ingests `folder` into an empty home, in this process, and says what it took.

    Args:
        bench: Device and modalities.
        folder: Clips.
        workers: Decoders; None for vidsim's own number.
        options: Further ones of `EmbedOptions`.
    """
    home = bench.work / "home-measured"
    shutil.rmtree(home, ignore_errors=True)
    chosen = EmbedOptions(backbones_of(bench), device=bench.device, workers=workers, **options)
    on_gpu = bench.device == "cuda"
    started = on_gpu and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    if started:  # otherwise its start belongs to the ingest's
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    memory = Memory(os.getpid())
    try:
        with watching_gpu(on_gpu) as gpu:
            report = ingest(folder, Place(home), chosen, Silent(), library="kit")
    finally:
        memory_mb = memory.stop()
    figures = _figures(report)
    figures |= {
        "workers": workers or default_workers(),
        "processes_peak_mb": max(memory_mb, default=0.0),
        # Of this process alone, since it began.
        "process_peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000,
        **gpu,
    }
    if on_gpu:
        figures["torch_allocated_mb"] = torch.cuda.max_memory_allocated() / 1e6
        figures["torch_reserved_mb"] = torch.cuda.max_memory_reserved() / 1e6
    shutil.rmtree(home, ignore_errors=True)
    return figures


def _figures(report: IngestReport) -> dict[str, Any]:
    timing = report.timing
    assert timing is not None
    assert report.embedded, f"nothing was embedded: {report.failed[:3]}"
    costs = [stage_cost(s, [(t, report.embedded)], cores()) for s, t in timing.stages.items()]
    working_s = timing.seconds - timing.startup_s
    return {
        "clips": report.embedded,
        "failed": [f"{file.path}: {file.reason}" for file in report.failed],
        "notes": report.notes,
        "seconds": timing.seconds,
        "startup_s": timing.startup_s,
        "clips_per_s": report.embedded / working_s,
        "stages": {cost.stage: cost.model_dump(exclude={"stage"}) for cost in costs},
    }


def slowest_stage(figures: Mapping[str, Any]) -> str:
    """The stage for which the main loop of an ingest stood still the longest."""
    stages: dict[str, Any] = figures["stages"]
    return max(stages, key=lambda stage: stages[stage]["held_ms"])


def slowest_network(figures: Mapping[str, Any]) -> str:
    """Of the networks and the colours the one that takes the longest."""
    stages: dict[str, Any] = {
        name: cost for name, cost in figures["stages"].items() if name in _NETWORKS
    }
    return max(stages, key=lambda stage: stages[stage]["busy_ms"])


@contextlib.contextmanager
def watching_gpu(wanted: bool) -> Iterator[dict[str, Any]]:
    """Fills in, at the end, how busy the GPU was meanwhile; nothing where that cannot be told.

    ``gpu_busy_percent`` is the part of the time in which any kernel ran, however small.
    """
    figures: dict[str, Any] = {}
    seen: list[tuple[float, float]] = []
    ended = threading.Event()

    def watch() -> None:
        with contextlib.suppress(Exception):
            while not ended.wait(_LOOK_S):
                seen.append(_look())

    watcher = threading.Thread(target=watch, name="gpu-watcher", daemon=True)
    if wanted:
        watcher.start()
    try:
        yield figures
    finally:
        ended.set()
        if wanted:
            watcher.join()
        if seen:
            busy, memory_mb = zip(*seen)
            figures["gpu_busy_percent"] = statistics.mean(busy)
            figures["gpu_memory_mb"] = max(memory_mb)


def _look() -> tuple[float, float]:
    """Percent busy and MB of memory: by NVML, or by nvidia-smi where Python cannot reach it."""
    try:  # by number, for without one torch would start CUDA here
        return torch.cuda.utilization(0), torch.cuda.device_memory_used(0) / 1e6
    except Exception:
        query = "--query-gpu=utilization.gpu,memory.used"
        command = ["nvidia-smi", "-i", "0", query, "--format=csv,noheader,nounits"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        busy, memory_mb = (float(word) for word in done.stdout.split(","))
        return busy, memory_mb
