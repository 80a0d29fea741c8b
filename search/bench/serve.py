"""A server beside a `Library`: what a query costs over HTTP, and what many clients at once get."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil

from ...ingest.shards.home import Place
from ...ingest.system.progress import Progress
from ...schemas.backbones import Backbone
from ...schemas.errors import WorkerError
from ..library import Library
from .library import open_library
from .query import BEYOND_S
from .results import QueryTiming, ServeBench, ServeLoad

_WARM = 5
"""Queries before the measured ones, of each way."""

_CLIP_RUNS = 10
"""New clips, of each way."""

_BOUNDARY = "vidsim-bench"


def bench_serve(
    videos: int,
    queries: int,
    backbones: Sequence[Backbone],
    kept: Path | None,
    progress: Progress,
    clip: Path | None,
    clients: int,
    seconds: float,
) -> ServeBench:
    """Time queries by a `Library` and over HTTP in turn, then let many clients ask at once.

    Args:
        videos: Videos of the synthetic library, which is embedded.
        queries: Stored ids to ask for.
        backbones: One per modality.
        kept: A home to keep the library in, as in `open_library`.
        progress: Receives the progress of the stages.
        clip: A file to ask by too, as if it was new each time.
        clients: How many ask at once, each for one stored id after another.
        seconds: For how long.

    Raises:
        MediaError: `clip` cannot be read.
        StoreError: `kept` holds something else, or a folder cannot be written.
        WorkerError: The server does not start.
    """
    timings = []
    with (
        open_library(videos, backbones, Place(Path()), kept, progress) as (own, _),
        Library(own) as library,
        _server(own.home) as (process, port),
    ):
        ids = [video.video_id for video in library.videos()]
        asked = ids[:: max(1, len(ids) // (queries + _WARM))][: queries + _WARM]
        connection = http.client.HTTPConnection("127.0.0.1", port)
        timings += _in_turn(
            "stored id",
            [lambda name=name: library.query(name) for name in asked],
            [lambda name=name: _ask(connection, {"clips": [{"video": name}]}) for name in asked],
            progress,
        )
        if clip is not None:
            ends_s = [BEYOND_S + n for n in range(_CLIP_RUNS + _WARM)]
            timings += _in_turn(
                "new clip",
                [lambda end_s=end_s: library.query(clip, end=end_s) for end_s in ends_s],
                [lambda end_s=end_s: _send(connection, clip, end_s) for end_s in ends_s],
                progress,
            )
        connection.close()
        load = _load(psutil.Process(process.pid), port, ids, clients, seconds, progress)
    return ServeBench(videos=videos, queries=queries, timings=timings, load=load)


@contextmanager
def _server(home: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Start ``vidsim serve`` on a home; yield it and its port once it answers."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "vidsim", "serve", "--port", "0"],
        env={**os.environ, "VIDSIM_HOME": str(home), "VIDSIM_SERVE_TOKEN": "", "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = process.stderr.readline()
        url = next((word for word in said.split() if word.startswith("http://")), None)
        if url is None:
            raise WorkerError(f"The server does not start ({said.strip()}).")
        yield process, urlsplit(url).port or 0
    finally:
        process.terminate()
        process.wait()


def _in_turn(
    what: str, alone: Sequence[Any], served: Sequence[Any], progress: Progress
) -> list[QueryTiming]:
    """Time two ways to ask the same, one after the other: a slow moment then slows both."""
    spent: dict[str, list[float]] = {f"{what}, Library": [], f"{what}, HTTP": []}
    progress.start(f"asking by {what}", len(alone), "queries")
    for number, ways in enumerate(zip(alone, served)):
        for name, ask in zip(spent, ways):
            began = time.perf_counter()
            ask()
            if number >= _WARM:
                spent[name].append(1000 * (time.perf_counter() - began))
        progress.advance(f"asking by {what}", 1)
    progress.finish(f"asking by {what}")
    return [
        QueryTiming(what=name, p50_ms=statistics.median(ms), p95_ms=float(np.percentile(ms, 95)))
        for name, ms in spent.items()
    ]


def _ask(connection: http.client.HTTPConnection, asked: dict[str, Any]) -> int:
    """Return the status of an answer that was read whole."""
    body, kind = json.dumps(asked).encode(), {"Content-Type": "application/json"}
    connection.request("POST", "/v1/query", body, kind)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def _send(connection: http.client.HTTPConnection, clip: Path, end_s: float) -> None:
    begin = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; name="
    options = f'{begin}"options"\r\n\r\n{json.dumps({"end_s": end_s})}\r\n'
    file = f'{begin}"clip"; filename="clip{clip.suffix}"\r\n\r\n'
    body = f"{options}{file}".encode() + clip.read_bytes() + f"\r\n--{_BOUNDARY}--\r\n".encode()
    kind = {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"}
    connection.close()  # the server has closed it, if what came between took long
    connection.request("POST", "/v1/query", body, kind)
    answer = connection.getresponse()
    if answer.status != http.client.OK:
        raise WorkerError(f"The server answered {answer.status}: {answer.read()[:500]!r}.")
    answer.read()


def _load(
    process: psutil.Process,
    port: int,
    ids: Sequence[str],
    clients: int,
    seconds: float,
    progress: Progress,
) -> ServeLoad:
    stage = f"{clients} clients"
    progress.start(stage, seconds, "seconds")
    statuses: Counter[int] = Counter()
    took: list[float] = []
    began = time.monotonic()

    def client(number: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        asked = number
        while time.monotonic() < began + seconds:
            start = time.perf_counter()
            status = _ask(connection, {"clips": [{"video": ids[asked % len(ids)]}]})
            statuses[status] += 1
            if status == http.client.OK:
                took.append(1000 * (time.perf_counter() - start))
            elif status == http.client.TOO_MANY_REQUESTS:
                time.sleep(1)
            asked += clients
        connection.close()

    threads = [Thread(target=client, args=[number]) for number in range(clients)]
    for thread in threads:
        thread.start()
    held = []
    while any(thread.is_alive() for thread in threads):
        time.sleep(min(1.0, seconds / 10))
        held.append((process.memory_info().rss / 1e6, process.num_fds()))
        progress.advance(stage, min(1.0, seconds / 10))
    for thread in threads:
        thread.join()
    progress.finish(stage)
    quarter = -(-len(held) // 4)
    parts = [held[n : n + quarter] for n in range(0, len(held), quarter)]
    return ServeLoad(
        clients=clients,
        seconds=time.monotonic() - began,
        statuses={str(status): number for status, number in sorted(statuses.items())},
        p50_ms=float(np.percentile(took, 50)) if took else None,
        p95_ms=float(np.percentile(took, 95)) if took else None,
        p99_ms=float(np.percentile(took, 99)) if took else None,
        memory_mb=[statistics.median(mb for mb, _ in part) for part in parts],
        files=[held[0][1], max(fds for _, fds in held), held[-1][1]],
    )
