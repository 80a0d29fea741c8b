"""Progress reporting: a display of stages, or a callback per step."""

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
        """Begin `stage`; `total` is None if unknown."""
        ...

    def advance(self, stage: str, amount: float) -> None:
        """Add `amount` units to `stage`."""
        ...

    def finish(self, stage: str) -> None:
        """End `stage`."""
        ...


class Silent:
    """Shows nothing."""

    def start(self, stage: str, total: float | None, unit: str) -> None:
        """Show nothing."""

    def advance(self, stage: str, amount: float) -> None:
        """Show nothing."""

    def finish(self, stage: str) -> None:
        """Show nothing."""


@dataclass(frozen=True)
class Step:
    """The progress of a stage.

    Attributes:
        stage: Name of the stage, such as ``embedding``.
        done: Finished units.
        total: All units, None if unknown.
        unit: Name of the units: ``videos``, ``files``, ``bytes``, ...
        finished: Whether the stage has ended.
    """

    stage: str
    done: float
    total: float | None
    unit: str
    finished: bool = False


Report = Callable[[Step], object]
"""Called with each step; an exception that it raises ends the call."""


class Reporting:
    """Reports every step to a function."""

    def __init__(self, report: Report) -> None:
        """Report to `report`, from whichever thread works."""
        self._report = report
        self._steps: dict[str, Step] = {}

    def start(self, stage: str, total: float | None, unit: str) -> None:
        """Report the start of `stage`."""
        self._tell(Step(stage, 0, total, unit))

    def advance(self, stage: str, amount: float) -> None:
        """Report the progress of `stage`."""
        self._tell(replace(self._steps[stage], done=self._steps[stage].done + amount))

    def finish(self, stage: str) -> None:
        """Report the end of `stage`."""
        self._tell(replace(self._steps[stage], finished=True))

    def _tell(self, step: Step) -> None:
        self._steps[step.stage] = step
        self._report(step)


def listening(watcher: Progress | Report | None) -> Progress:
    """Wrap a receiver of progress: a display as it is, a function, or None."""
    if watcher is None:
        return Silent()
    return Reporting(watcher) if callable(watcher) else watcher


@contextmanager
def shown(progress: Progress, stage: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show a download as a stage; yield a callback that takes (bytes done, bytes in all)."""
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
    """Progress bars on stderr, one line per stage; none if stderr is not a terminal.

    While they are open, Ctrl-C ends the work even where the exception is lost: gRPC swallows it
    while it waits for Milvus.
    """

    def __init__(self) -> None:
        """Start without bars; the first stage, which many commands lack, loads rich."""
        self._tasks: dict[str, Any] = {}
        self._progress: Any = None
        self._interrupted = False

    def start(self, stage: str, total: float | None, unit: str) -> None:
        """Begin a line."""
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
        """Advance a line."""
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
        """End a line."""
        self._progress.stop_task(self._tasks[stage])

    def _interrupt(self, *_: object) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def __enter__(self) -> Bars:
        """Show nothing until the first stage."""
        self._handler = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the bars as they are."""
        signal.signal(signal.SIGINT, self._handler)
        if self._progress is not None:
            self._progress.stop()
