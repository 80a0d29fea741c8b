"""Progress reporting: a display of stages, or a callback per step."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from .step import Step as Step
from .stop import Stop

_FINISHING = b"\nStopping: what is begun is finished and stored; Ctrl-C again stops now.\n"


class Progress(Protocol):
    """A display of stages; the CLI's draws bars on stderr."""

    def start(self, stage: str, total: float | None, unit: str) -> None:
        """Begin `stage`; `total` is None if unknown."""
        ...

    def advance(self, stage: str, amount: float) -> None:
        """Add `amount` units to `stage`."""
        ...

    def note(self, stage: str, text: str) -> None:
        """Say what `stage` works on, such as a file."""
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

    def note(self, stage: str, text: str) -> None:
        """Show nothing."""

    def finish(self, stage: str) -> None:
        """Show nothing."""


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

    def note(self, stage: str, text: str) -> None:
        """Report what `stage` works on."""
        self._tell(replace(self._steps[stage], note=text))

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


def repeating(progress: Progress) -> Report:
    """Return a receiver of steps that shows them on a display: those of another process, say."""
    last: dict[str, Step] = {}

    def report(step: Step) -> None:
        before = last.pop(step.stage, None)
        if before is None:
            progress.start(step.stage, step.total, step.unit)
            before = Step(step.stage, 0, step.total, step.unit)
        if step.done != before.done:
            progress.advance(step.stage, step.done - before.done)
        if step.note != before.note:
            progress.note(step.stage, step.note)
        if step.finished:
            progress.finish(step.stage)
        else:
            last[step.stage] = step

    return report


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


class _Display(Protocol):
    """Shows steps to a person."""

    def tell(self, step: Step) -> None: ...

    def close(self) -> None: ...


class Bars:
    """Progress on stderr: bars at a terminal, elsewhere a line per stage every half minute.

    While they are open, Ctrl-C ends the work even where the exception is lost: gRPC swallows it
    while it waits for Milvus. Where files are under way (`stop`), the first Ctrl-C has them
    finished and the second one ends the work.

    Attributes:
        stop: What the first Ctrl-C asks for, of work that heeds it.
    """

    def __init__(self) -> None:
        """Start without a display; the first stage, which many commands lack, loads it."""
        self._display: _Display | None = None
        self._stages = Reporting(self._tell)
        self._interrupted = False
        self.stop = Stop()

    def start(self, stage: str, total: float | None, unit: str) -> None:
        """Begin a stage."""
        self._stages.start(stage, total, unit)

    def advance(self, stage: str, amount: float) -> None:
        """Advance a stage."""
        if self._interrupted:
            raise KeyboardInterrupt
        self._stages.advance(stage, amount)

    def note(self, stage: str, text: str) -> None:
        """Say what a stage works on."""
        self._stages.note(stage, text)

    def finish(self, stage: str) -> None:
        """End a stage."""
        self._stages.finish(stage)

    def _tell(self, step: Step) -> None:
        if self._display is None:
            self._display = _display()
        self._display.tell(step)

    def _interrupt(self, *_: object) -> None:
        if self.stop.may_finish and self.stop.begun and not self.stop.asked:
            self.stop.ask()
            os.write(2, _FINISHING)  # no buffer, which what is interrupted may be writing to
            return
        self._interrupted = True
        raise KeyboardInterrupt

    def __enter__(self) -> Bars:
        """Show nothing until the first stage."""
        self._handler = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave what is shown as it is."""
        signal.signal(signal.SIGINT, self._handler)
        if self._display is not None:
            self._display.close()


def _display() -> _Display:
    if os.isatty(2) and os.environ.get("TERM") != "dumb":
        from .progress_bars import TerminalBars

        return TerminalBars()
    from .progress_lines import Lines

    return Lines()
