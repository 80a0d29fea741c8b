"""The steps of a run, and how one is carried out: a process of its own, with a time limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CLOSING_S = 3.0
"""Kept for writing the report."""

_LEAST_S = 5.0
"""A step with less time is not begun: it would not even load."""

_TAIL = 4000
"""Characters kept of what a step printed."""


@dataclass(frozen=True)
class Step:
    """One measurement.

    Attributes:
        name: Of the module that makes it, ``kitlib.step_NAME``.
        limit_s: Seconds it may take on a GPU.
        about: What it is, for a person.
    """

    name: str
    limit_s: float
    about: str


GENERATE = Step("clips", 60, "clips generated, for none were received")

STEPS = (
    Step("machine", 60, "what there is"),
    Step("embeddings", 90, "embeddings against the CPU's"),
    Step("ingest", 90, "clips a second, memory, and what each stage takes"),
    Step("tests", 120, "the tests of tests/gpu"),
    Step("stages", 60, "what each network is bound by, and its operators"),
    Step("decoders", 90, "clips a second by number of decoders"),
    Step("batch", 90, "clips a second by batch size"),
    Step("precision", 90, "clips a second and cosines by precision"),
    Step("nvdec", 90, "large videos decoded by the GPU"),
    Step("kmeans", 60, "dominant colours of many frames at once"),
    Step("search", 90, "exact and IVF search"),
    Step("profile", 60, "where Python spends the time"),
)
"""The cheapest and most important first: what there is no time for is at the end."""

Record = dict[str, Any]
"""``name``, ``about``, ``status`` (ok, failed, stopped, not run), ``seconds``, ``result``, and
where something went wrong ``why`` and ``error``, a traceback."""


def run_steps(
    steps: Sequence[Step],
    command: Callable[[Step, Path], Sequence[str]],
    environment: Mapping[str, str],
    results: Path,
    deadline: float,
    patience: float,
    tell: Callable[[list[Record]], None],
) -> list[Record]:
    """Carries out `steps`, whatever becomes of each.

    Args:
        steps: In their order.
        command: The command line of a step that is to write its result, as JSON, to a file.
        environment: All of its environment variables.
        results: The folder for these files.
        deadline: ``time.monotonic()`` at which all must be over.
        patience: Factor of every step's limit.
        tell: Called with all records so far, after every step.
    """
    records: list[Record] = []
    for step in steps:
        left = deadline - time.monotonic() - _CLOSING_S
        if left < _LEAST_S:
            record: Record = {"status": "not run", "why": "no time left", "seconds": 0.0}
        else:
            result = results / f"{step.name}.json"
            limit_s = min(patience * step.limit_s, left)
            record = run_step(command(step, result), environment, result, limit_s)
        records.append({"name": step.name, "about": step.about, **record})
        tell(records)
    return records


def run_step(
    command: Sequence[str], environment: Mapping[str, str], result: Path, limit_s: float
) -> Record:
    """Runs one command in a process group of its own, which is ended after `limit_s` seconds."""
    result.unlink(missing_ok=True)
    log = result.with_suffix(".log")
    began = time.monotonic()
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return {"status": "failed", "why": str(error), "seconds": 0.0, "result": {}}
        try:
            code: int | None = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    written = _read(result)
    record: Record = {
        "status": "ok" if code == 0 else "stopped" if code is None else "failed",
        "seconds": round(time.monotonic() - began, 2),
        "limit_s": round(limit_s, 1),
        "result": written.get("result", {}),
    }
    if code is None:
        record["why"] = f"stopped after {limit_s:.0f} s; what it had measured is kept"
    elif code:
        record["why"] = written.get("why") or f"ended with code {code}"
        record["error"] = written.get("error", "")
    if code != 0:
        record["output"] = log.read_text(errors="replace")[-_TAIL:]
    return record


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends what is left of its group: a step may have started others."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read(result: Path) -> Record:
    try:
        found: Record = json.loads(result.read_text())
    except (OSError, ValueError):
        return {}
    return found
