"""Costs of each stage of an ingest, from clocks read a few times per batch."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from ...schemas.modality import Modality

Item = TypeVar("Item")


class Stage(StrEnum):
    """A stage on the way from a file to its rows."""

    DECODE = "decode"
    COLOR = Modality.COLOR.value
    FRAME = Modality.FRAME.value
    AUDIO = Modality.AUDIO.value
    MOTION = Modality.MOTION.value
    WRITE = "write"


@dataclass(frozen=True)
class Spent:
    """Seconds that a stage took, over all files so far.

    Attributes:
        cpu_s: CPU time over all threads of the process that computes the stage; for a shared
            process it includes concurrent work (the embedded Milvus tidies up).
        busy_s: Time in which it worked, over all of its processes.
        held_s: Time for which the main loop, which every batch passes, waited for it. The sum
            over all stages is the duration of an ingest after its start.
        blocked_s: Time for which it waited because its results were not taken.
    """

    cpu_s: float = 0.0
    busy_s: float = 0.0
    held_s: float = 0.0
    blocked_s: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        """Add both."""
        return Spent(
            self.cpu_s + other.cpu_s,
            self.busy_s + other.busy_s,
            self.held_s + other.held_s,
            self.blocked_s + other.blocked_s,
        )


class Meter:
    """Sums the costs of the stages; thread-safe."""

    def __init__(self) -> None:
        """Start the clock."""
        self._lock = threading.Lock()
        self._spent: dict[Stage, Spent] = {}
        self._began = time.perf_counter()
        self._started = self._began

    @property
    def spent(self) -> dict[Stage, Spent]:
        """Return the costs so far of the stages that ran, in order."""
        with self._lock:
            return {stage: self._spent[stage] for stage in Stage if stage in self._spent}

    @property
    def startup_s(self) -> float:
        """Return the seconds until `start` was called; 0 if it was not."""
        return self._started - self._began

    @property
    def elapsed_s(self) -> float:
        """Return the seconds since the meter was created."""
        return time.perf_counter() - self._began

    def start(self) -> None:
        """Mark the end of loading."""
        self._started = time.perf_counter()

    def add(self, stage: Stage, spent: Spent) -> None:
        """Add costs to a stage."""
        with self._lock:
            self._spent[stage] = self._spent.get(stage, Spent()) + spent

    @contextmanager
    def working(self, stage: Stage) -> Iterator[None]:
        """Count the block as work of `stage` in the main loop itself."""
        began, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            wall_s = time.perf_counter() - began
            self.add(stage, Spent(time.process_time() - cpu, busy_s=wall_s, held_s=wall_s))

    @contextmanager
    def beside(self, stage: Stage) -> Iterator[None]:
        """Count this thread's block as work of `stage`, beside the main loop."""
        began, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            busy_s = time.perf_counter() - began
            self.add(stage, Spent(time.thread_time() - cpu, busy_s=busy_s))

    @contextmanager
    def waiting(self, stage: Stage) -> Iterator[None]:
        """Count the block as the main loop's wait for `stage`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, Spent(held_s=time.perf_counter() - began))

    def waited_for(self, stage: Stage, items: Iterator[Item]) -> Generator[Item]:
        """Yield `items`, and count the wait for each as `waiting` does."""
        while True:
            with self.waiting(stage):
                item = next(items, None)
            if item is None:
                return
            yield item
