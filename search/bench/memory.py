"""Memory of an ingest over time, for a folder larger than any at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from ...ingest.discover.videos import find_media
from ...ingest.models.pull import pull
from ...ingest.system.progress import Progress
from ...schemas.backbones import Backbone
from ...schemas.modality import Modality
from .ingest import ingest_in_process
from .machine import describe_machine
from .results import MemoryBench

PARTS = 100
"""Parts of equal length into which a run is cut."""


def bench_memory(
    folder: Path,
    backbones: Mapping[Modality, Backbone],
    preset: str,
    device: str,
    videos: int,
    progress: Progress,
) -> MemoryBench:
    """Ingest `videos` files: those of a folder, repeated under other names.

    It runs as the command line, into an empty home with the embedded Milvus.

    Args:
        folder: Videos and sounds.
        backbones: Backbones by modality, from `preset`.
        preset: Name of the preset.
        device: ``auto``, ``cpu`` or ``cuda``.
        videos: Number of files.
        progress: Receives the progress of the run.

    Raises:
        LibraryError: The folder is missing or has no media.
        WeightsError: Weights are missing and cannot be fetched.
        WorkerError: The run failed.
    """
    files = find_media(folder)
    pull(backbones.values(), progress)
    machine = describe_machine()
    progress.start("ingesting", 1, "runs")
    with TemporaryDirectory(prefix="vidsim-bench-") as scratch:
        many = Path(scratch, "videos")
        many.mkdir()
        for i, file in enumerate(islice(cycle(files), videos)):
            (many / f"{i:07}-{file.name}").symlink_to(file.absolute())
        report, done = ingest_in_process(many, backbones, preset, device, Path(scratch, "home"))
    progress.advance("ingesting", 1)
    progress.finish("ingesting")
    return MemoryBench(
        folder=str(folder),
        files=len(files),
        videos=report.embedded,
        backbones={modality.value: b.name for modality, b in backbones.items()},
        device=device,
        machine=machine,
        seconds=done.seconds,
        peak_mb=done.peak_mb,
        peaks_mb=peaks(done.memory_mb, PARTS),
    )


def peaks(samples: Sequence[float], parts: int) -> list[float]:
    """Return the maximum of each of `parts` equal parts, or of each sample if there are fewer."""
    cut = np.array_split(np.array(samples), min(parts, len(samples))) if samples else []
    return [float(part.max()) for part in cut]
