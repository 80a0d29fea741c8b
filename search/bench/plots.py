"""Plots of the benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...ingest.system.atomic_file import whole_file
from ...schemas.errors import StoreError
from .results import IngestBench, KmeansBench, KnnBench, MemoryBench

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_kmeans(bench: KmeansBench, path: Path) -> None:
    """Draw time and inertia over k as a PNG.

    Raises:
        StoreError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    times, inertias = figure.subplots(1, 2)
    for method in dict.fromkeys(t.method for t in bench.timings):
        of_method = [t for t in bench.timings if t.method == method]
        k = [t.k for t in of_method]
        times.plot(k, [t.ms for t in of_method], marker="o", label=method)
        inertias.plot(k, [t.inertia for t in of_method], marker="o", label=method)
    measured = sorted({t.k for t in bench.timings})
    _name(times, "k", "ms", "time", measured)
    _name(inertias, "k", "sum of squared distances", "inertia", measured)
    times.legend()
    _save(figure, path)


def plot_knn(bench: KnnBench, path: Path) -> None:
    """Draw time over K, one panel per number of queries, as a PNG.

    Raises:
        StoreError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    counts = list(dict.fromkeys(t.queries for t in bench.timings))
    figure = Figure(figsize=(4 * len(counts), 4), layout="constrained")
    panels = figure.subplots(1, len(counts), squeeze=False)[0]
    for panel, count in zip(panels, counts, strict=True):
        for engine, index in dict.fromkeys((t.engine, t.index) for t in bench.timings):
            line = [
                t for t in bench.timings if (t.engine, t.index, t.queries) == (engine, index, count)
            ]
            panel.plot(
                [t.k for t in line], [t.ms for t in line], marker="o", label=f"{engine} {index}"
            )
        _name(panel, "K", "ms", f"queries: {count}", sorted({t.k for t in bench.timings}))
    panels[0].legend()
    figure.suptitle(f"{bench.rows:,} x {bench.dim}")
    _save(figure, path)


def plot_ingest(bench: IngestBench, path: Path) -> None:
    """Draw the time per clip, by stage and by modality, as a PNG.

    Raises:
        StoreError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    parts = {
        "vidsim": {stage.stage: stage.held_ms for stage in bench.stages},
        "capstone": bench.capstone_ms,
    }
    colors = {name: f"C{i}" for i, name in enumerate(parts["vidsim"])}
    named: set[str] = set()
    for way, taken in parts.items():
        left = 0.0
        for name, ms in taken.items():
            label = None if name in named else name
            axes.barh(way, ms, left=left, color=colors.get(name), label=label)
            named.add(name)
            left += ms
    axes.invert_yaxis()
    axes.set(
        xlabel="ms a clip, after the start",
        title=f"{bench.working_ratio:.2f} times the clips/s, {bench.ratio:.2f} with the start",
    )
    figure.legend(loc="outside right upper")
    _save(figure, path)


def plot_memory(bench: MemoryBench, path: Path) -> None:
    """Draw the memory of an ingest over time as a PNG.

    Raises:
        StoreError: The file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots()
    step_s = bench.seconds / len(bench.peaks_mb)
    axes.plot([step_s * (i + 0.5) for i in range(len(bench.peaks_mb))], bench.peaks_mb)
    axes.set(xlabel="s", ylabel="MB", title=f"{bench.videos:,} videos", ylim=(0, None))
    axes.grid(visible=True, alpha=0.3)
    _save(figure, path)


def _name(axes: Axes, x: str, y: str, title: str, measured: Sequence[int]) -> None:
    axes.set(xlabel=x, ylabel=y, title=title, xscale="log", yscale="log")
    axes.set_xticks(measured, [str(count) for count in measured])
    axes.minorticks_off()
    axes.grid(visible=True, which="both", alpha=0.3)


def _save(figure: Figure, path: Path) -> None:
    try:
        with whole_file(path) as partial:
            figure.savefig(partial, format="png", dpi=150)
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error}); name another file.") from error
