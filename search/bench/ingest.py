"""Ingest against the capstone's pipeline, interleaved: clips per second, stage times, memory."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ...ingest.discover.videos import find_media
from ...ingest.models.pull import pull
from ...ingest.system.progress import Progress
from ...schemas.backbones import Backbone
from ...schemas.errors import LibraryError
from ...schemas.modality import Modality
from ...schemas.results import IngestReport, StageTime
from ...schemas.settings import settings
from ..demo import write_generated
from .machine import cpu_paths, describe_machine
from .processes import Finished, run_python
from .results import IngestBench, IngestRun, StageCost

_PACKAGE = __package__.partition(".")[0]

_ALL_CORES = 0.75
"""A stage that keeps this fraction of the cores busy is bound by them."""


@dataclass(frozen=True)
class _Run:
    """One run of either pipeline: `stages` of vidsim, `modalities` (seconds) of the capstone."""

    figures: IngestRun
    stages: Mapping[str, StageTime]
    modalities: Mapping[str, float]


def bench_ingest(
    folder: Path,
    backbones: Mapping[Modality, Backbone],
    preset: str,
    device: str,
    runs: int,
    progress: Progress,
) -> IngestBench:
    """Ingest a folder by vidsim and by the capstone's pipeline, in turn, in new processes.

    vidsim runs as the command line, into an empty home with the embedded Milvus; the capstone's
    pipeline is `capstone.embed_folder`. Times are of whole processes.

    Args:
        folder: Videos and sounds.
        backbones: Backbones by modality, from `preset`.
        preset: Name of the preset.
        device: ``auto``, ``cpu`` or ``cuda``.
        runs: Measured runs of each pipeline.
        progress: Receives the progress of the runs.

    Raises:
        LibraryError: The folder is missing, or has no media that the capstone's pipeline can read.
        WeightsError: Weights are missing and cannot be fetched.
        WorkerError: A run failed, or vidsim's could read nothing.
    """
    files = find_media(folder)
    pull(backbones.values(), progress)
    machine = describe_machine()
    ours: list[_Run] = []
    theirs: list[_Run] = []
    progress.start("measuring", 2 * runs, "runs")
    for _ in range(runs):
        with TemporaryDirectory(prefix="vidsim-bench-") as target:
            ours.append(_run_vidsim(folder, backbones, preset, device, Path(target)))
        progress.advance("measuring", 1)
        with TemporaryDirectory(prefix="vidsim-bench-") as target:
            theirs.append(_run_capstone(files, backbones, device, Path(target)))
        progress.advance("measuring", 1)
    progress.finish("measuring")
    return IngestBench(
        folder=str(folder),
        files=len(files),
        backbones={modality.value: b.name for modality, b in backbones.items()},
        device=device,
        machine=machine,
        cpu_paths=cpu_paths(backbones.values()),
        vidsim=[run.figures for run in ours],
        capstone=[run.figures for run in theirs],
        vidsim_clips_per_s=_median([run.figures.clips_per_s for run in ours]),
        capstone_clips_per_s=_median([run.figures.clips_per_s for run in theirs]),
        ratio=_median(
            [a.figures.clips_per_s / b.figures.clips_per_s for a, b in zip(ours, theirs)]
        ),
        working_ratio=_median(
            [
                a.figures.working_clips_per_s / b.figures.working_clips_per_s
                for a, b in zip(ours, theirs)
            ]
        ),
        stages=[
            stage_cost(stage, [(r.stages[stage], r.figures.clips) for r in ours], machine.cores)
            for stage in ours[0].stages
        ],
        capstone_ms={
            m: _median([1000 * r.modalities[m] / r.figures.clips for r in theirs])
            for m in theirs[0].modalities
        },
    )


@contextmanager
def smoke_clips() -> Iterator[Path]:
    """Provide a temporary folder of a few generated clips."""
    with TemporaryDirectory(prefix="vidsim-smoke-") as folder:
        write_generated(Path(folder))
        yield Path(folder)


def stage_cost(stage: str, runs: Sequence[tuple[StageTime, int]], cores: int) -> StageCost:
    """Compute a stage's cost per clip, and its bottleneck.

    Args:
        stage: Its name.
        runs: Times of the stage and number of clips, per run.
        cores: Cores of the machine.
    """

    def ms(name: str) -> float:
        return _median([1000 * float(getattr(time, name)) / clips for time, clips in runs])

    cpu_ms, busy_ms, blocked_ms = ms("cpu_s"), ms("busy_s"), ms("blocked_s")
    used = cpu_ms / busy_ms if busy_ms else 0.0
    if blocked_ms > busy_ms:
        bound = "the networks, which take its segments more slowly"
    elif used >= _ALL_CORES * cores:
        bound = "all cores"
    elif used >= _ALL_CORES:
        bound = "one core" if round(used) == 1 else f"{used:.1f} cores"
    else:
        bound = "waiting, for the disk or other processes"
    return StageCost(
        stage=stage,
        cpu_ms=cpu_ms,
        busy_ms=busy_ms,
        held_ms=ms("held_s"),
        blocked_ms=blocked_ms,
        cores=used,
        bound=bound,
    )


def ingest_in_process(
    folder: Path, backbones: Mapping[Modality, Backbone], preset: str, device: str, home: Path
) -> tuple[IngestReport, Finished]:
    """Run ``vidsim ingest`` with the embedded Milvus in its own process.

    Raises:
        WorkerError: It failed.
    """
    arguments = ["ingest", str(folder.absolute()), "--json", "--library", "bench"]
    arguments += ["--modalities", ",".join(backbones), "--preset", preset, "--device", device]
    done = run_python(
        ["-c", f"from {_PACKAGE}.cli import main; main()", *arguments], _environment(home)
    )
    return IngestReport.model_validate_json(done.output), done


def _run_vidsim(
    folder: Path, backbones: Mapping[Modality, Backbone], preset: str, device: str, home: Path
) -> _Run:
    report, done = ingest_in_process(folder, backbones, preset, device, home)
    assert report.timing is not None
    working_s = report.timing.seconds - report.timing.startup_s
    return _Run(
        _figures(report.embedded, done.seconds, working_s, done.peak_mb),
        report.timing.stages,
        {},
    )


def _run_capstone(
    files: Sequence[Path], backbones: Mapping[Modality, Backbone], device: str, target: Path
) -> _Run:
    order = {
        "files": [str(file.absolute()) for file in files],
        "backbones": [b.name for b in backbones.values()],
        "device": device,
        "target": str(target),
    }
    done = run_python(
        ["-m", f"{__package__}.capstone"], _environment(target / "home"), json.dumps(order)
    )
    found = json.loads(done.output)
    return _Run(
        _figures(found["clips"], done.seconds, sum(found["seconds"].values()), done.peak_mb),
        {},
        found["seconds"],
    )


def _figures(clips: int, seconds: float, working_s: float, peak_mb: float) -> IngestRun:
    if not clips:
        raise LibraryError("No clip of the folder could be embedded; give videos or sounds.")
    return IngestRun(
        clips=clips,
        seconds=seconds,
        startup_s=seconds - working_s,
        clips_per_s=clips / seconds,
        working_clips_per_s=clips / working_s,
        peak_mb=peak_mb,
    )


def _environment(home: Path) -> dict[str, str]:
    """Return this process's environment, with an empty home and the embedded Milvus."""
    chosen = {"VIDSIM_HOME": str(home), "VIDSIM_CACHE": str(settings().cache)}
    return {k: v for k, v in os.environ.items() if k != "VIDSIM_URI"} | chosen


def _median(values: Sequence[float]) -> float:
    return float(statistics.median(values))
