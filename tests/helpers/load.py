"""Many clients of ``vidsim serve`` at once while it ingests: how long they wait, and what it takes.

``python -m vidsim.tests.helpers.load SECONDS [CLIENTS]`` serves a home of 1,000 videos in all
modalities (`--home-of`), has 50 clients ask for one stored video after another, and has the server
ingest folder after folder of new clips by colour meanwhile. Nothing but answers may come. Ctrl-C
ends it early, with what was measured so far.
"""

from __future__ import annotations

import argparse
import http.client
import json
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from .command_line import vidsim
from .large_home import BIG, fill, named, write_files
from .soak import Look, look_at, write_clips
from .web import Server

_CLIPS = 400
"""New clips per job: half a minute of work."""


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        took_ms: Of answers with results, in order of time.
        statuses: Of all answers.
        errors: What clients met that was no answer.
        jobs: How ingests ended, and how many clips they stored.
        looks: At the server, once a second; ``done`` is the number of answers.
        after: What ``vidsim verify`` said in the end, "" for nothing wrong.
    """

    took_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)
    jobs: Counter[str] = field(default_factory=Counter)
    looks: list[Look] = field(default_factory=list)
    after: str = ""

    def __str__(self) -> str:
        took = self.took_ms or [0.0]
        p50, p95, p99 = np.percentile(took, [50, 95, 99])
        seconds = self.looks[-1].seconds if self.looks else 0.0
        lines = [
            f"{len(self.took_ms)} answers in {seconds:.0f} s ({len(took) / max(seconds, 1):.1f} a "
            f"second): p50 {p50:.0f}, p95 {p95:.0f}, p99 {p99:.0f}, most {max(took):.0f} ms",
            f"statuses {dict(self.statuses)}, errors {len(self.errors)} {self.errors[:3]}",
            f"ingests: {dict(self.jobs)}; verify afterwards: {self.after or 'nothing wrong'}",
            "| quarter | server MB | open files | threads | children |",
            "|---|---|---|---|---|",
        ]
        for number, part in enumerate(np.array_split(np.arange(len(self.looks)), 4), start=1):
            of = [self.looks[n] for n in part]
            if of:
                names = ("parent_mb", "files", "threads", "children")
                told = [f"{np.median([getattr(each, name) for each in of]):.0f}" for name in names]
                lines.append(f"| {number} | {' | '.join(told)} |")
        return "\n".join(lines)

    @property
    def fine(self) -> bool:
        """Whether all were answered, and all that was stored is right."""
        done = set(self.jobs) <= {"done", "clips"}
        return {*self.statuses} <= {200} and not self.errors and done and not self.after


def load(work: Path, seconds: float, clients: int, videos: int, clips: int = _CLIPS) -> Outcome:
    """Has clients ask for so long while ingests run."""
    home, outcome, over = work / "home", Outcome(), threading.Event()
    write_files(work / BIG, videos)
    fill(home, work / BIG)
    with Server(home) as server:
        began = time.monotonic()
        threads = [
            threading.Thread(target=_ask, args=[server.url, number, clients, videos, outcome, over])
            for number in range(clients)
        ]
        threads.append(
            threading.Thread(target=_ingest, args=[server, work / "new", clips, outcome, over])
        )
        for thread in threads:
            thread.start()
        process = psutil.Process(server.process.pid)
        try:
            while (spent := time.monotonic() - began) < seconds:
                outcome.looks.append(look_at(process, spent, len(outcome.took_ms)))
                over.wait(min(1.0, seconds / 20))
        except KeyboardInterrupt:
            outcome.errors.append("interrupted")
        finally:
            over.set()
            for thread in threads:
                thread.join()
    vidsim(home, "reindex")  # the last ingest was ended before it did
    verified = vidsim(home, "verify")
    outcome.after = verified.stdout if verified.returncode else ""
    return outcome


def _ask(
    url: str, number: int, clients: int, videos: int, outcome: Outcome, over: threading.Event
) -> None:
    """Asks for one stored video after another, on a connection that stays open."""
    address = url.partition("//")[2].partition("/")[0]
    connection = http.client.HTTPConnection(address, timeout=120)
    for turn in count(number, clients):
        if over.is_set():
            break
        body = json.dumps({"clips": [{"video": f"{BIG}/{named(turn % videos)}"}]})
        start = time.perf_counter()
        try:
            connection.request("POST", "/v1/query", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            outcome.errors.append(f"{type(error).__name__}: {error}")
            connection.close()
            continue
        outcome.statuses[answer.status] += 1
        if answer.status == http.client.OK:
            outcome.took_ms.append(1000 * (time.perf_counter() - start))
            if not json.loads(said)["results"]:
                outcome.errors.append("an answer without results")
        elif answer.status == http.client.TOO_MANY_REQUESTS:
            over.wait(1)
    connection.close()


def _ingest(
    server: Server, folder: Path, clips: int, outcome: Outcome, over: threading.Event
) -> None:
    """Has it ingest one folder after another."""
    for turn in count():
        if over.is_set():
            return
        new = write_clips(folder / f"new {turn}" / "clips", clips, first=turn * clips)
        how = {"path": str(new), "name": f"new-{turn}", "modalities": ["color"], "device": "cpu"}
        with server.inside() as inside:
            job: Any = inside.post("/v1/ingest", json=how).json()
            while job.get("state") in ("queued", "running"):
                if over.wait(0.5):
                    inside.post(f"/v1/ingest/{job['job']}/cancel")
                job = inside.get(f"/v1/ingest/{job['job']}").json()
        cancelled = over.is_set() and job.get("state") != "done"
        outcome.jobs["done" if cancelled else str(job.get("state", job))] += 1
        outcome.jobs["clips"] += (job.get("report") or {}).get("embedded", 0)


def main() -> None:
    """Runs `load` for the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=600)
    parser.add_argument("clients", type=int, nargs="?", default=50)
    parser.add_argument("--home-of", type=int, default=1000, metavar="VIDEOS")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = load(Path(folder), given.seconds, given.clients, given.home_of)
    print(outcome)
    raise SystemExit(not outcome.fine)


if __name__ == "__main__":
    main()
