"""How far long work is, stage by stage, for those who ask now and then."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock

from pydantic import Field

from ....ingest.system.step import Step, counted
from ....schemas.results import Result


class StageNow(Result):
    """How far one stage is."""

    stage: str = Field(examples=["embedding"])
    done: float = Field(description="finished units")
    total: float | None = Field(description="all units; null where that is unknown")
    unit: str = Field(examples=["bytes of video"])
    finished: bool
    note: str = Field(description="what it works on; empty where it does not say")
    elapsed_s: float = Field(description="since the stage began, or for how long it took")
    said: str = Field(
        description="all this in words", examples=["12 of 530 MB of video, about 0:07:11 left"]
    )


@dataclass(frozen=True)
class _Taken:
    """The newest step of a stage, when the stage began, and when the step was taken."""

    step: Step
    began: float
    at: float


class Stages:
    """The newest step of each stage; any thread may call."""

    def __init__(self) -> None:
        """Begin without any."""
        self._lock = Lock()
        self._taken: dict[str, _Taken] = {}

    def __len__(self) -> int:
        """Return how many stages have begun."""
        return len(self._taken)

    def take(self, step: Step) -> None:
        """Note a step."""
        now = time.monotonic()
        with self._lock:
            before = self._taken.get(step.stage)
            began = before.began if before and not before.step.finished else now
            self._taken[step.stage] = _Taken(step, began, now)

    def now(self) -> list[StageNow]:
        """Return how far the stages are, in the order in which they began."""
        with self._lock:
            return [_described(each) for each in self._taken.values()]


def _described(taken: _Taken) -> StageNow:
    step = taken.step
    elapsed_s = (taken.at if step.finished else time.monotonic()) - taken.began
    return StageNow(
        stage=step.stage,
        done=step.done,
        total=step.total,
        unit=step.unit,
        finished=step.finished,
        note=step.note.encode(errors="backslashreplace").decode(),
        elapsed_s=round(elapsed_s, 1),
        said=counted(step, elapsed_s),
    )
