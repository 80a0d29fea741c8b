"""Cost of a library by its size, on the embedded Milvus or on a server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import numpy as np
import psutil

from ...ingest.milvus.connection import open_client
from ...ingest.shards.home import Place, read_notes
from ...ingest.system.progress import Progress
from ...schemas.backbones import Backbone
from ...schemas.errors import WorkerError
from ..background import yardsticks
from .exact import Everything, recall
from .machine import describe_machine
from .milvus import about, own_database
from .processes import Finished, Memory, run_python
from .results import ScaleBench, ScaleStep
from .scale_fit import find_limits, fit
from .scale_step import ASKED, FILLED, ORDER, Order
from .synthetic import LIBRARY

_WARM = 5
"""Warm-up queries before the measured ones."""

_STEPS = 5
_FEWEST = 20
"""Measured sizes, each about three times the previous one, and the smallest size of all."""


_FEWEST_STEPS = 2
"""Fewest sizes that a line can be fitted to."""


def bench_scale(
    videos: int,
    queries: int,
    backbones: Sequence[Backbone],
    place: Place,
    memory_gb: float | None,
    progress: Progress,
) -> ScaleBench:
    """Grow a synthetic library step by step, and measure it at every size.

    Filling and querying each run in a new process, as 'vidsim ingest' and 'vidsim query' do, so
    that their memory is measured separately.

    Args:
        videos: Videos of the largest library.
        queries: Stored videos to query at each size, each once (fewer if there are fewer).
        backbones: One per modality.
        place: Place of Milvus; on a server the benchmark creates and drops a database.
        memory_gb: Memory of the machine to compute limits for, 10^9 bytes; None for this one.
        progress: Receives the progress of the stages.

    Raises:
        StoreError: Milvus cannot be used.
        WorkerError: A measured process failed before two sizes were measured. After a later
            failure, for example out of memory, the report covers the sizes until then.
    """
    machine = describe_machine()
    everything = Everything(backbones, kept=())
    steps: list[ScaleStep] = []
    notes: set[str] = set()
    with TemporaryDirectory(prefix="vidsim-bench-") as folder, own_database(place) as database:
        own = replace(database, home=Path(folder))
        with open_client(own) as milvus:
            where = about(milvus)
        sizes = choose_sizes(videos)
        progress.start("growing", len(sizes), "sizes")
        for size in sizes:
            everything.grow(size, progress)
            try:
                step, said = _measure(own, everything, queries, backbones)
            except WorkerError as error:
                if len(steps) < _FEWEST_STEPS:
                    raise
                notes.add(f"It was not measured beyond {steps[-1].videos:,} videos: {error}")
                break
            steps.append(step)
            notes |= said
            progress.advance("growing", 1)
        progress.finish("growing")
    fits = fit(steps)
    memory_gb = memory_gb or psutil.virtual_memory().total / 1e9
    return ScaleBench(
        milvus=where,
        embedded=own.uri is None,
        backbones=[b.name for b in backbones],
        queries=queries,
        machine=machine,
        memory_gb=memory_gb,
        steps=steps,
        fits=fits,
        limits=find_limits(fits, memory_gb),
        notes=sorted(notes),
    )


def choose_sizes(videos: int) -> list[int]:
    """Choose up to five sizes: the last is `videos`, each about 3.2 times the previous one."""
    sizes = {round(videos / 10 ** (i / 2)) for i in range(_STEPS)}
    return sorted({max(_FEWEST, size) for size in sizes})


def _measure(
    place: Place, everything: Everything, queries: int, backbones: Sequence[Backbone]
) -> tuple[ScaleStep, set[str]]:
    """Grow the library to the size of `everything`; return the costs, and the queries' notes."""
    names = tuple(b.name for b in backbones)
    videos = len(everything.ids)
    numbers = everything.sample(_WARM + queries)
    asked_for = tuple(everything.ids[i] for i in numbers)
    done, fill_peak_mb = _run(Order("fill", place, names, videos))
    filled = FILLED.validate_json(done.output)
    done, query_peak_mb = _run(Order("ask", place, names, videos, asked_for))
    asked = ASKED.validate_json(done.output)
    measured = yardsticks(place.home, [LIBRARY], {b.modality: b for b in backbones})
    scores = everything.scores(numbers, measured)
    found = [recall(a, row, everything.ids) for a, row in zip(asked.answers, scores, strict=True)]
    ms = asked.ms[_WARM:]
    step = ScaleStep(
        videos=videos,
        rows=_rows(place.home),
        fill_s=filled.fill_s,
        fill_peak_mb=fill_peak_mb,
        build_s=filled.build_s,
        open_s=asked.open_s,
        p50_ms=float(np.percentile(ms, 50)),
        p95_ms=float(np.percentile(ms, 95)),
        recall=float(np.mean(found)),
        query_peak_mb=query_peak_mb,
        shards_mb=_megabytes(place.home / "shards"),
        milvus_mb=None if place.uri else _megabytes(place.home / "milvus.db"),
    )
    return step, {note for a in asked.answers for note in a.notes}


def _run(order: Order) -> tuple[Finished, float | None]:
    """Run a step; return its result and the peak memory of Milvus' process, None if unknown."""
    server = _find_server(order.place.uri) if order.place.uri else None
    memory = Memory(server) if server else None
    try:
        done = run_python(
            ["-m", f"{__package__}.scale_step"],
            os.environ,
            ORDER.dump_json(order).decode(),
            "free some memory or disk, or measure fewer --videos",
        )
    finally:
        server_mb = max(memory.stop(), default=0.0) if memory else None
    return done, server_mb if order.place.uri else done.peak_mb


def _find_server(uri: str) -> int | None:
    """Return the id of a Milvus process on this machine; None if elsewhere or in a container."""
    address = urlsplit(uri)
    if address.hostname not in {"localhost", "127.0.0.1", "::1"}:
        return None
    try:
        for connection in psutil.net_connections("tcp"):
            port = connection.laddr.port if connection.laddr else None
            listens = connection.status == psutil.CONN_LISTEN and port == address.port
            # A container's port belongs to a proxy.
            if listens and connection.pid and psutil.Process(connection.pid).name() == "milvus":
                return int(connection.pid)
    except psutil.Error:
        pass
    return None


def _rows(home: Path) -> dict[str, int]:
    counts = read_notes(home)[LIBRARY].counts
    return {name: held["rows"] for name, held in counts.items()}


def _megabytes(folder: Path) -> float:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
