"""Progress reporting: a display of stages, or a function that is told of steps."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol


class Progress(Protocol):
    """A display of stages; the CLI's draws bars on stderr."""

    def start(self, stage: str, total: float | None, unit: str) -> None:
        """Begins `stage`; `total` None where it is unknown."""
        ...

    def advance(self, stage: str, amount: float) -> None:
        """Adds `amount` units to `stage`."""
        ...

    def finish(self, stage: str) -> None:
        """Ends `stage`."""
        ...


class Silent:
    """Shows nothing."""

    def start(self, stage: str, total: float | None, unit: str) -> None:
        """Shows nothing."""

    def advance(self, stage: str, amount: float) -> None:
        """Shows nothing."""

    def finish(self, stage: str) -> None:
        """Shows nothing."""


@dataclass(frozen=True)
class Step:
    """How far a stage of a call is.

    Attributes:
        stage: What is done, such as ``embedding``.
        done: Units that are finished.
        total: Units in all, None where that is unknown.
        unit: What is counted: ``videos``, ``files``, ``bytes``, ...
        finished: Whether the stage has ended.
    """

    stage: str
    done: float
    total: float | None
    unit: str
    finished: bool = False


Report = Callable[[Step], object]
"""Is told of each step; what it raises ends the call."""


class Reporting:
    """Tells a function of every step."""

    def __init__(self, report: Report) -> None:
        """Tells `report`, from whichever thread works."""
        self._report = report
        self._steps: dict[str, Step] = {}

    def start(self, stage: str, total: float | None, unit: str) -> None:
        """Tells that `stage` begins."""
        self._tell(Step(stage, 0, total, unit))

    def advance(self, stage: str, amount: float) -> None:
        """Tells how far `stage` is."""
        self._tell(replace(self._steps[stage], done=self._steps[stage].done + amount))

    def finish(self, stage: str) -> None:
        """Tells that `stage` has ended."""
        self._tell(replace(self._steps[stage], finished=True))

    def _tell(self, step: Step) -> None:
        self._steps[step.stage] = step
        self._report(step)


def listening(watcher: Progress | Report | None) -> Progress:
    """A display for whoever wants to know: one as it is, a function, or nobody."""
    if watcher is None:
        return Silent()
    return Reporting(watcher) if callable(watcher) else watcher


@contextmanager
def shown(progress: Progress, stage: str) -> Iterator[Callable[[int, int | None], None]]:
    """Shows a download as a stage; gives the function to tell (bytes done, bytes in all)."""
    before = 0

    def advance(done: int, total: int | None) -> None:
        nonlocal before
        if not before:
            progress.start(stage, total, "bytes")
        progress.advance(stage, done - before)
        before = done

    yield advance
    if before:
        progress.finish(stage)


class Bars:
    """Progress bars on stderr, one line a stage; nothing where stderr is no terminal.

    While they are open, Ctrl-C ends the work even where the exception is lost on its way: gRPC
    swallows it while it waits for Milvus.
    """

    def __init__(self) -> None:
        """Shows nothing yet; rich is loaded with the first stage, which many commands lack."""
        self._tasks: dict[str, Any] = {}
        self._progress: Any = None
        self._interrupted = False

    def start(self, stage: str, total: float | None, unit: str) -> None:
        """Begins a line."""
        if self._progress is None:
            from rich import progress
            from rich.console import Console

            self._progress = progress.Progress(
                progress.TextColumn("{task.description:<28}"),
                progress.BarColumn(),
                progress.TextColumn("{task.fields[amount]}"),
                progress.TimeElapsedColumn(),
                progress.TimeRemainingColumn(),
                console=Console(stderr=True),
                disable=not os.isatty(2),
            )
            self._progress.start()
        self._tasks[stage] = self._progress.add_task(stage, total=total, amount="", unit=unit)

    def advance(self, stage: str, amount: float) -> None:
        """Moves a line on."""
        if self._interrupted:
            raise KeyboardInterrupt
        task = self._tasks[stage]
        self._progress.advance(task, amount)
        state = self._progress.tasks[self._progress.task_ids.index(task)]
        scale, unit = (1e-6, "MB") if state.fields["unit"] == "bytes" else (1, state.fields["unit"])
        total = "?" if state.total is None else f"{state.total * scale:.0f}"
        rate = state.completed / state.elapsed if state.elapsed else 0
        text = f"{state.completed * scale:.0f}/{total} {unit}, {rate * scale:.1f}/s"
        self._progress.update(task, amount=text)

    def finish(self, stage: str) -> None:
        """Ends a line."""
        self._progress.stop_task(self._tasks[stage])

    def _interrupt(self, *_: object) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def __enter__(self) -> Bars:
        """Shows nothing before there is something to show."""
        self._handler = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        """Leaves them as they are."""
        signal.signal(signal.SIGINT, self._handler)
        if self._progress is not None:
            self._progress.stop()
