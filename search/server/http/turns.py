"""Turns: blocking work in threads, a few at a time, with a bound on what waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request

from .refusals import BusyError

T = TypeVar("T")

_WEIGHT = 0.1
"""Of the newest time in the mean that tells how long others will wait."""


class Turns:
    """Runs blocking functions in threads of its own, so that pictures and pages never wait.

    Attributes:
        inside: How many run or wait now.
    """

    def __init__(self, running: int, most: int) -> None:
        """Prepare.

        Args:
            running: How many run at once.
            most: How many may run or wait; the next is refused.
        """
        self._limiter = CapacityLimiter(running)
        self._threads = CapacityLimiter(running)
        self._running = running
        self._most = most
        self._mean_s = 0.1
        self.inside = 0

    @property
    def running(self) -> int:
        """How many run now; the others inside wait."""
        return self._limiter.borrowed_tokens

    async def run(self, work: Callable[[], T], request: Request | None = None) -> T:
        """Return what `work` does, in its turn.

        Args:
            work: What to do.
            request: Who asks for it, whose body has been read: it is not done for one who has gone
                before its turn, as the page does where a slider is moved.

        Raises:
            BusyError: Too many wait.
            ClientDisconnect: Nobody waits for it any more.
        """
        if self.inside >= self._most:
            raise BusyError(self._mean_s * self.inside / self._running)
        self.inside += 1
        try:
            async with self._limiter:
                if request is not None and await request.is_disconnected():
                    raise ClientDisconnect
                return await to_thread.run_sync(lambda: self._timed(work), limiter=self._threads)
        finally:
            self.inside -= 1

    def _timed(self, work: Callable[[], T]) -> T:
        began = time.monotonic()
        try:
            return work()
        finally:
            self._mean_s += _WEIGHT * (time.monotonic() - began - self._mean_s)
