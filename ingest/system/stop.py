"""Asking work on many files to end after those that are under way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Stop:
    """Asks an ingest to begin no other file, finish those that are under way, and store them.

    Attributes:
        asked: Whether that was asked for.
        may_finish: Whether files are under way, so that there is something to finish.
        begun: Files that were begun, of this folder.
    """

    def __init__(self) -> None:
        """Ask for nothing yet."""
        self.asked = False
        self.may_finish = False
        self.begun = 0

    def ask(self) -> None:
        """Ask for it, from any thread or signal handler."""
        self.asked = True

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Say that files are under way within the block, and count those that are begun anew."""
        self.may_finish, self.begun = True, 0
        try:
            yield
        finally:
            self.may_finish = False
