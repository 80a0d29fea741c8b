"""Stand-ins for the process that runs an ingest job: they ingest nothing, and start quickly."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidsim.ingest.system.channel import Channel

if TYPE_CHECKING:
    from vidsim.search.server.jobs.process import Ended

STEP: dict[str, Any] = {
    **{"stage": "embedding", "done": 1.0, "total": 2.0, "unit": "files", "finished": False},
    **{"note": "", "elapsed_s": 1.0, "said": "1 of 2 files"},
}

_HERE = "vidsim.tests.helpers.ingest_workers"

POLITE = f"{_HERE}:polite"
STUBBORN = f"{_HERE}:stubborn"
PRETENDING = f"{_HERE}:pretending"
CRASHING = f"{_HERE}:crashing"


def run_here(may_end: threading.Event) -> Callable[..., Ended]:
    """What replaces `IngestProcess.run`: the job runs until it is told to end, or may."""
    from vidsim.schemas.results import IngestReport
    from vidsim.search.server.jobs.process import Ended
    from vidsim.search.server.jobs.steps import StageNow

    counted = ("videos", "segments", "embedded", "unchanged", "no_audio", "removed")
    fields: dict[str, Any] = dict.fromkeys(counted, 0) | {"rows": {}, "missing": [], "failed": []}

    def run(process: Any, place: Any, folder: Any, library: str, options: Any, tell: Any) -> Ended:
        assert place.wait, "another process' lock is waited for"
        tell([StageNow(**STEP)], "")
        while not process._ended.wait(0.005):
            if may_end.is_set():
                return Ended("done", report=IngestReport(library=library, **fields))
        return Ended("interrupted")

    return run


def _begin(channel: Channel) -> None:
    channel.receive()
    channel.send("begun")
    channel.send("steps", {"steps": [STEP], "waiting": "process 7 (test) has been writing"})


def polite(channel: Channel) -> None:
    """Works until it is interrupted."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _begin(channel)
        time.sleep(60)
    except KeyboardInterrupt:
        channel.send("stopped")


def stubborn(channel: Channel) -> None:
    """Works on whatever it is told, short of being killed."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    _begin(channel)
    time.sleep(60)


def crashing(channel: Channel) -> None:
    """Dies."""
    _begin(channel)
    os.abort()


def pretending(channel: Channel) -> None:
    """Runs the genuine worker on files that hold text."""
    from vidsim.ingest import pipeline
    from vidsim.search.server.jobs import worker

    from .ingests import pretend

    pipeline.embed_all = pretend
    worker.main(channel)


def submit_and_die(folder: Path) -> None:
    """Is a server that is killed while a job runs; ``said`` names job and process of the job."""
    import psutil

    from vidsim.ingest.shards.home import Place
    from vidsim.search.server.jobs.job import IngestOptions
    from vidsim.search.server.jobs.jobs import Jobs

    jobs = Jobs(folder / "jobs", Place(folder / "home"), POLITE)
    job = jobs.submit(folder, "lib", IngestOptions())
    while not jobs.get(job.job).steps:
        time.sleep(0.05)
    (child,) = psutil.Process().children()
    (folder / "said").write_text(f"{job.job} {child.pid}")
    os.kill(os.getpid(), signal.SIGKILL)
