"""Commands run in processes of their own: how long they took, and their memory meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from ...schemas.errors import WorkerError

_SAMPLED_S = 0.1
"""Seconds between two looks at the memory; a batch takes longer."""


@dataclass(frozen=True)
class Finished:
    """What a process did.

    Attributes:
        output: What it wrote to stdout.
        seconds: From its start to its end.
        memory_mb: Resident memory of it and its children together, in MB, every `_SAMPLED_S`.
            What they share, such as libraries, counts for each.
    """

    output: str
    seconds: float
    memory_mb: Sequence[float]

    @property
    def peak_mb(self) -> float:
        """The most memory; 0 of a process that ended before it was looked at."""
        return max(self.memory_mb, default=0.0)


def run_python(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    order: str = "",
    advice: str = "'vidsim ingest' on the same folder says more",
) -> Finished:
    """Runs this interpreter, with the same import path, and waits for it.

    Args:
        arguments: What follows ``python``.
        environment: All of its environment variables but the import path.
        order: What it reads from stdin.
        advice: What to do where it fails.

    Raises:
        WorkerError: It ended with another code than 0.
    """
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-P", *arguments],
        env={**environment, "PYTHONPATH": path},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    memory = Memory(process.pid)
    try:
        output, errors = process.communicate(order)
    except BaseException:  # Ctrl-C above all
        process.kill()
        process.wait()
        raise
    finally:
        seconds = time.perf_counter() - began
        memory_mb = memory.stop()
    if process.returncode:
        last = (errors.strip().splitlines() or ["it said nothing"])[-1]
        raise WorkerError(
            f"A measured run ended with code {process.returncode} ({last}); {advice}."
        )
    return Finished(output, seconds, memory_mb)


class Memory:
    """Looks at the memory of a process and of all that it started, in a thread of its own."""

    def __init__(self, pid: int) -> None:
        """Begins to look, until `stop`."""
        self._root = psutil.Process(pid)
        self._samples_mb: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="vidsim-memory", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLED_S):
            resident = 0
            with suppress(psutil.Error):
                for process in [self._root, *self._root.children(recursive=True)]:
                    with suppress(psutil.Error):  # it has ended meanwhile
                        resident += process.memory_info().rss
            self._samples_mb.append(resident / 1e6)

    def stop(self) -> list[float]:
        """Ends the watch; what was seen, in MB."""
        self._ended.set()
        self._thread.join()
        return self._samples_mb
