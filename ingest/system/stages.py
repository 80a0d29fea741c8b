"""What each stage of an ingest costs: clocks read a few times a batch."""

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
        cpu_s: Processor time, over all threads of the process that computes the stage; of one
            that shares its process also what happened beside it (the embedded Milvus tidies up).
        busy_s: Time in which it worked, over all of its processes.
        held_s: Time for which the main loop, through which every batch goes, stood still for it.
            Those of all stages together are how long an ingest takes once it has started.
        blocked_s: Time for which it stood still itself because nobody took its results.
    """

    cpu_s: float = 0.0
    busy_s: float = 0.0
    held_s: float = 0.0
    blocked_s: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(
            self.cpu_s + other.cpu_s,
            self.busy_s + other.busy_s,
            self.held_s + other.held_s,
            self.blocked_s + other.blocked_s,
        )


class Meter:
    """Adds up what the stages take; may be used from any thread."""

    def __init__(self) -> None:
        """Starts the clock."""
        self._lock = threading.Lock()
        self._spent: dict[Stage, Spent] = {}
        self._began = time.perf_counter()
        self._started = self._began

    @property
    def spent(self) -> dict[Stage, Spent]:
        """What the stages that ran have taken so far, in their order."""
        with self._lock:
            return {stage: self._spent[stage] for stage in Stage if stage in self._spent}

    @property
    def startup_s(self) -> float:
        """Seconds until `start` was called; 0 if it was not."""
        return self._started - self._began

    @property
    def elapsed_s(self) -> float:
        """Seconds since the meter was made."""
        return time.perf_counter() - self._began

    def start(self) -> None:
        """Says that everything is loaded."""
        self._started = time.perf_counter()

    def add(self, stage: Stage, spent: Spent) -> None:
        """Adds to a stage."""
        with self._lock:
            self._spent[stage] = self._spent.get(stage, Spent()) + spent

    @contextmanager
    def working(self, stage: Stage) -> Iterator[None]:
        """Counts what is done meanwhile as work of `stage` that the main loop does itself."""
        began, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            wall_s = time.perf_counter() - began
            self.add(stage, Spent(time.process_time() - cpu, busy_s=wall_s, held_s=wall_s))

    @contextmanager
    def beside(self, stage: Stage) -> Iterator[None]:
        """Counts what this thread does meanwhile as work of `stage`, beside the main loop."""
        began, cpu = time.perf_counter(), time.thread_time()
        try:
            yield
        finally:
            busy_s = time.perf_counter() - began
            self.add(stage, Spent(time.thread_time() - cpu, busy_s=busy_s))

    @contextmanager
    def waiting(self, stage: Stage) -> Iterator[None]:
        """Counts the time meanwhile as the main loop's waiting for `stage`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, Spent(held_s=time.perf_counter() - began))

    def waited_for(self, stage: Stage, items: Iterator[Item]) -> Generator[Item]:
        """Passes `items` on and counts the waiting for each as `waiting` does."""
        while True:
            with self.waiting(stage):
                item = next(items, None)
            if item is None:
                return
            yield item
