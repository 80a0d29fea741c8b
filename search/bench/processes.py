"""Run commands in their own processes, and measure their time and memory."""

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
"""Seconds between two samples of the memory; a batch takes longer."""


@dataclass(frozen=True)
class Finished:
    """Result of a finished process.

    Attributes:
        output: Its stdout.
        seconds: Wall time from start to end.
        memory_mb: Resident memory of it and its children together, in MB, every `_SAMPLED_S`.
            Shared memory, such as libraries, counts for each.
    """

    output: str
    seconds: float
    memory_mb: Sequence[float]

    @property
    def peak_mb(self) -> float:
        """Peak memory; 0 for a process that ended before the first sample."""
        return max(self.memory_mb, default=0.0)


def run_python(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    order: str = "",
    advice: str = "'vidsim ingest' on the same folder says more",
) -> Finished:
    """Run this interpreter, with the same import path, and wait for it.

    Args:
        arguments: What follows ``python``.
        environment: All of its environment variables except the import path.
        order: Its stdin.
        advice: What to do if it fails, for the error message.

    Raises:
        WorkerError: It ended with a non-zero exit code.
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
    """Samples the memory of a process and its descendants, in a separate thread."""

    def __init__(self, pid: int) -> None:
        """Start sampling, until `stop`."""
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
                    with suppress(psutil.Error):  # it has ended in the meantime
                        resident += process.memory_info().rss
            self._samples_mb.append(resident / 1e6)

    def stop(self) -> list[float]:
        """Stop sampling and return the samples, in MB."""
        self._ended.set()
        self._thread.join()
        return self._samples_mb
