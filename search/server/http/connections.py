"""Connections of clients: how many there may be, and how long one may be silent."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST = 400
"""Connections that are open at once. Each may have a file open that is sent, and systems allow a
process 1,024 by default (``RLIMIT_NOFILE``)."""

SILENCE_S = 15.0
"""Seconds within which a connection has to say what it wants, from its first byte to the last of
its headers; uvicorn's own time for this begins after the first answer alone."""


class Connection(H11Protocol):
    """A connection that is closed where it takes too long to ask for anything."""

    _closing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; one too many is closed at once."""
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.abort()
        else:
            self._wait()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request; the time goes on until its headers are complete."""
        super().data_received(data)
        if not self._asks():
            self._wait()
        elif self._closing is not None:
            self._closing.cancel()
            self._closing = None

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; hang up where no answer with words can follow."""
        cycle: Any = self.cycle
        wordless = cycle is not None and cycle.scope["method"] == "HEAD"
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not wordless:
            super().send_400_response(msg)
        else:
            self.transport.close()
        if cycle is not None:  # what the app still answers goes nowhere
            cycle.disconnected = True
            cycle.message_event.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        if self._closing is not None:
            self._closing.cancel()
        super().connection_lost(exc)

    def _asks(self) -> bool:
        """Return whether a request is being answered."""
        cycle: Any = self.cycle  # None before the first
        return cycle is not None and not cycle.response_complete

    def _wait(self) -> None:
        if self._closing is None:
            self._closing = self.loop.call_later(SILENCE_S, self._close)

    def _close(self) -> None:
        self._closing = None
        if not self._asks():
            self.transport.close()
