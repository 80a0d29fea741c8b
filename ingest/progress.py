"""How long work tells whoever is watching about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


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
