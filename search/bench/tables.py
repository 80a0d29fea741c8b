"""Benchmarks as Markdown tables, for a terminal or a document."""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.answer import Line, Table
from .memory import peaks
from .results import (
    IngestBench,
    KmeansBench,
    KnnBench,
    MemoryBench,
    QueryBench,
    ScaleBench,
    ServeBench,
)


def kmeans_table(bench: KmeansBench) -> list[Line]:
    """Return lines of a table: a row per k, with time and inertia of each method."""
    found = {(t.method, t.k): t for t in bench.timings}
    methods = list(dict.fromkeys(t.method for t in bench.timings))
    rows = [["k", *(f"{m} {what}" for m in methods for what in ("ms", "inertia"))]]
    for k in dict.fromkeys(t.k for t in bench.timings):
        row = [str(k)]
        for t in (found[m, k] for m in methods):
            row += [
                f"{t.ms:.1f} ({t.time_ratio:.2f}x)",
                f"{t.inertia:.1f} ({t.inertia_ratio:.3f}x)",
            ]
        rows.append(row)
    return [
        _markdown(rows),
        f"{bench.pixels:,} pixels, {bench.threads} threads, medians of {bench.runs} interleaved "
        f"runs; x: against faiss on all pixels, 20 iterations; {bench.faiss}.",
    ]


def knn_table(bench: KnnBench) -> list[Line]:
    """Return lines of a table: a row per number of queries and K, with ms and recall per index."""
    found = {(t.engine, t.index, t.queries, t.k): t for t in bench.timings}
    columns = list(dict.fromkeys((t.engine, t.index) for t in bench.timings))
    rows = [["queries", "K"]]
    for engine, index in columns:
        rows[0] += [f"{engine} {index} ms"] + ["recall"] * _approximate(index)
    for queries, k in dict.fromkeys((t.queries, t.k) for t in bench.timings):
        row = [str(queries), str(k)]
        for engine, index in columns:
            t = found[engine, index, queries, k]
            row += [f"{t.ms:.2f}"] + [f"{t.recall:.3f}"] * _approximate(index)
        rows.append(row)
    built = ", ".join(f"{engine} {seconds:.1f} s" for engine, seconds in bench.build_s.items())
    return [
        _markdown(rows),
        f"{bench.data}: {bench.rows:,} x {bench.dim}; IVF of {bench.lists} lists, "
        f"{bench.probes} searched; {bench.threads} threads; medians of {bench.runs} interleaved "
        f"calls; {bench.faiss}; Milvus {bench.milvus}; vectors taken in and indexed in: {built}.",
    ]


def ingest_table(bench: IngestBench) -> list[Line]:
    """Return lines of two tables: a row per pair of runs, and a row per stage."""
    rows = [["run"]]
    for way in ("vidsim", "capstone"):
        rows[0] += [f"{way} clips/s", "after start", "start s", "peak MB"]
    rows[0] += ["ratio", "after start"]
    for i, (ours, theirs) in enumerate(zip(bench.vidsim, bench.capstone, strict=True), 1):
        row = [str(i)]
        for run in (ours, theirs):
            row += [f"{run.clips_per_s:.2f}", f"{run.working_clips_per_s:.2f}"]
            row += [f"{run.startup_s:.1f}", f"{run.peak_mb:,.0f}"]
        row += [f"{ours.clips_per_s / theirs.clips_per_s:.2f}"]
        row += [f"{ours.working_clips_per_s / theirs.working_clips_per_s:.2f}"]
        rows.append(row)
    stages = [["ms a clip", "vidsim CPU", "busy", "main loop", "cores", "capstone", "bound by"]]
    for stage in bench.stages:
        theirs_ms = bench.capstone_ms.get(stage.stage)
        stages.append(
            [
                stage.stage,
                f"{stage.cpu_ms:.0f}",
                f"{stage.busy_ms:.0f}",
                f"{stage.held_ms:.0f}",
                f"{stage.cores:.1f}",
                "" if theirs_ms is None else f"{theirs_ms:.0f}",
                stage.bound,
            ]
        )
    machine = bench.machine
    versions = ", ".join(f"{name} {found}" for name, found in machine.versions.items())
    ways = ", ".join(f"{name} {path}" for name, path in bench.cpu_paths.items())
    paths = f" (on a CPU: {ways})" if ways else ""
    return [
        f"ratio {bench.ratio:.2f} ({bench.working_ratio:.2f} after the start): vidsim "
        f"{bench.vidsim_clips_per_s:.2f} clips/s, the capstone's way "
        f"{bench.capstone_clips_per_s:.2f}; medians of {len(bench.vidsim)} interleaved runs.",
        "",
        _markdown(rows),
        _markdown(stages),
        f"{bench.vidsim[0].clips} and {bench.capstone[0].clips} clips of {bench.files} files; "
        f"{', '.join(bench.backbones.values())}; device {bench.device}{paths}; "
        f"{machine.cpu}, {machine.cores} cores ({' '.join(machine.features)}), load "
        f"{machine.load:.1f} before; {versions}. The capstone's modalities decode for themselves, "
        "and see pictures of the size that was published with the networks.",
    ]


def memory_table(bench: MemoryBench) -> list[Line]:
    """Return lines of a table: a row per tenth of the run, or fewer if it was short."""
    tenths = peaks(bench.peaks_mb, 10)
    rows = [["part of the run", "peak MB"]]
    rows += [[f"{i} of {len(tenths)}", f"{mb:,.0f}"] for i, mb in enumerate(tenths, 1)]
    return [
        _markdown(rows),
        f"{bench.videos:,} videos ({bench.files} files under other names again and again) in "
        f"{bench.seconds:,.0f} s, {bench.peak_mb:,.0f} MB at most; "
        f"{', '.join(bench.backbones.values())}; device {bench.device}; {bench.machine.cpu}, "
        f"{bench.machine.cores} cores.",
    ]


def query_table(bench: QueryBench) -> list[Line]:
    """Return lines of a table: a row each for the query, its parts, and the yardsticks."""
    rows = [["what", "p50 ms", "p95 ms"]]
    rows += [[t.what, f"{t.p50_ms:.1f}", f"{t.p95_ms:.1f}"] for t in bench.timings]
    held = ", ".join(f"{name} {rows:,}" for name, rows in bench.rows.items())
    filled = f"filled in {bench.fill_s:.0f} s" if bench.fill_s is not None else "kept"
    return [
        _markdown(rows),
        f"{bench.videos:,} synthetic videos ({held} rows), {filled}; {bench.queries} stored ids; "
        f"recall@10 {bench.recall:.3f}; {bench.threads} threads; searched: {bench.milvus}.",
        *([f"The first new clip took {bench.first_clip_s:.1f} s."] if bench.first_clip_s else []),
        *bench.notes,
    ]


def serve_table(bench: ServeBench) -> list[Line]:
    """Return lines of a table: a row per way to ask; then what many clients got."""
    rows = [["what", "p50 ms", "p95 ms"]]
    rows += [[t.what, f"{t.p50_ms:.1f}", f"{t.p95_ms:.1f}"] for t in bench.timings]
    load = bench.load
    rows += [
        [f"{load.clients} clients at once", f"{load.p50_ms:,.0f}", f"{load.p95_ms:,.0f}"]
        for _ in range(load.p50_ms is not None)
    ]
    answers = ", ".join(f"{number:,} of {status}" for status, number in load.statuses.items())
    memory = ", ".join(f"{mb:,.0f}" for mb in load.memory_mb)
    return [
        _markdown(rows),
        f"{bench.videos:,} synthetic videos; {bench.queries} stored ids in turn by each way. "
        f"{load.clients} clients for {load.seconds:.0f} s: {answers}, p99 "
        f"{_known(load.p99_ms)} ms; the server's memory by quarters {memory} MB, its open files "
        f"{load.files[0]} at first, {load.files[1]} at most, {load.files[2]} at last.",
    ]


def scale_table(bench: ScaleBench) -> list[Line]:
    """Return lines of two tables, a row per size and a row per fitted line, then the limits."""
    rows = [["videos", "rows", "fill s", "ms a video", "fill peak MB", "build s", "open s"]]
    rows[0] += ["p50 ms", "p95 ms", "recall@10", "query peak MB", "shards MB", "Milvus MB"]
    before = 0
    for step in bench.steps:
        rows.append(
            [
                f"{step.videos:,}",
                f"{sum(step.rows.values()):,}",
                f"{step.fill_s:,.1f}",
                f"{1000 * step.fill_s / (step.videos - before):.1f}",
                _known(step.fill_peak_mb),
                _known(step.build_s, 1),
                f"{step.open_s:.2f}",
                f"{step.p50_ms:,.0f}",
                f"{step.p95_ms:,.0f}",
                f"{step.recall:.3f}",
                _known(step.query_peak_mb),
                f"{step.shards_mb:,.0f}",
                _known(step.milvus_mb),
            ]
        )
        before = step.videos
    fits = [["what", "fixed", "1,000 videos", "1,000,000 videos", "largest miss"]]
    for line in bench.fits:
        fits.append(
            [
                line.what,
                f"{line.fixed:,.2f}",
                f"{line.per_1000_videos:,.3f}",
                f"{line.fixed + 1000 * line.per_1000_videos:,.0f}",
                f"{line.miss:.0%}",
            ]
        )
    machine = bench.machine
    held = ", ".join(f"{name} {count:,}" for name, count in bench.steps[-1].rows.items())
    return [
        _markdown(rows),
        f"{held} rows at the last; {bench.queries} stored ids; Milvus {bench.milvus}; "
        f"{machine.cpu}, {machine.cores} cores, load {machine.load:.1f} before.",
        "",
        _markdown(fits),
        *scale_advice(bench),
        *bench.notes,
    ]


def scale_advice(bench: ScaleBench) -> list[str]:
    """Return lines that say how far a library can grow, and what to use beyond that."""
    last = bench.steps[-1]
    a_video = sum(last.rows.values()) / last.videos
    lines = []
    for limit in bench.limits:
        if limit.videos is None:
            lines.append(f"{limit.what}: not reached by growing.")
            continue
        seen = "" if limit.videos <= last.videos else ", beyond what was measured"
        rows = f"{limit.videos * a_video:,.0f} rows"
        lines.append(f"{limit.what}: at {limit.videos:,} videos ({rows}){seen}.")
    known = [(limit.videos, limit.what) for limit in bench.limits if limit.videos is not None]
    if known:
        videos, why = min(known)
        what = "the embedded Milvus" if bench.embedded else "this server"
        then = "a server" if bench.embedded else "a cluster"
        lines.append(
            f"On a machine of {bench.memory_gb:,.0f} GB {what} does for {videos:,} videos ({why}); "
            f"take {then} for more."
        )
    return lines


def _known(value: float | None, digits: int = 0) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


def _approximate(index: str) -> bool:
    return index != "FLAT"


def _markdown(rows: Sequence[Sequence[str]]) -> Table:
    """Return rows of cells, header first, for a document."""
    return Table(rows[0], rows[1:], markdown=True)
