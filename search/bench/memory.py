"""What memory an ingest takes while it goes on: of a folder larger than anybody has at hand."""

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
    """Ingests `videos` files, which are those of a folder again and again under other names.

    By the command that a person types, into an empty home with the embedded Milvus.

    Args:
        folder: Videos and sounds.
        backbones: What to embed them with, out of `preset`.
        preset: Name of the preset.
        device: ``auto``, ``cpu`` or ``cuda``.
        videos: How many.
        progress: Told about the run.

    Raises:
        LibraryError: No such folder, or nothing in it.
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
    """The largest of each of some parts of equal length, at most as many as there are samples."""
    cut = np.array_split(np.array(samples), min(parts, len(samples))) if samples else []
    return [float(part.max()) for part in cut]
