"""Bytes at the port of a server: each is answered or hung up on, and the server lives."""

from __future__ import annotations

import logging
import random
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

import uvicorn

from vidsim.schemas.serve import ServeOptions
from vidsim.search.library import Library
from vidsim.search.server import run
from vidsim.search.server.app import create_app
from vidsim.search.server.http import connections, guard

from ..answers import where_raised
from ..colors import home_of_colors
from .mutations import ODD_TEXTS, mutated, mutated_text
from .targets import Feed, Outcome

_ANSWER_S = 10.0
"""Seconds within which an answer begins, or the connection ends."""

_SILENCE_S = 0.3
"""Seconds that the server waits for the rest of a request, here."""

_REQUESTS = (
    b"GET /v1/videos?limit=2 HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n",
    b"GET /page/main.js HTTP/1.0\r\nHost: 127.0.0.1\r\nRange: bytes=0-9\r\n\r\n",
    b"POST /v1/query HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Content-Length: 37\r\n\r\n{"clips": [{"video": "lib/red.mkv"}]}',
    b"POST /v1/compare HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    b'Content-Type: application/json\r\n\r\n4\r\n{"a"\r\n4;x=y\r\n: 1}\r\n0\r\nX: y\r\n\r\n',
    b"POST /v1/uploads?name=a.mkv HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
    b"Content-Length: 9\r\n\r\nabcdefghi",
    b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"HEAD /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
)

_WORDS = ("\r\n", ": ", "HTTP/1.1", "GET ", "Host", "Content-Length: ", "chunked", "\r\n\r\n", "0")


@contextmanager
def started(folder: Path) -> Iterator[Feed]:
    """Feeds requests spoiled as bytes or as texts, whole, in pieces, or broken off."""
    home = home_of_colors(folder)
    chosen = ServeOptions(max_upload_mb=1)
    told = _Told()
    with (
        mock.patch.object(connections, "SILENCE_S", _SILENCE_S),
        mock.patch.object(guard, "_SILENCE_S", _SILENCE_S),
        Library.open(home, pull=False) as library,
        run.opened(library, chosen, home / "server") as serving,
        socket.create_server(("127.0.0.1", 0)) as at,
    ):
        guarded = guard.Guard(create_app(serving), hosts=chosen.hosts, max_upload_mb=1)
        server = uvicorn.Server(run._server(guarded))
        logging.getLogger("vidsim").addHandler(told)
        logging.getLogger("uvicorn.error").addHandler(told)
        logging.getLogger("asyncio").addHandler(told)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [at]}, daemon=True)
        with mock.patch.object(uvicorn.Server, "install_signal_handlers", create=True):
            thread.start()
            place = at.getsockname()

            def feed(chance: random.Random) -> Outcome:
                told.errors.clear()
                data = chance.choice(_REQUESTS)
                kind = chance.random()
                if kind < 0.5:
                    data = mutated(chance, data, _REQUESTS)
                elif kind < 0.7:  # what follows the headers alone
                    head, end, body = data.partition(b"\r\n\r\n")
                    data = head + end + mutated(chance, body, _REQUESTS)
                else:
                    text = mutated_text(chance, data.decode("latin-1"), (*_WORDS, *ODD_TEXTS[:9]))
                    data = text.encode("utf-8", "replace")
                status = _asked(chance, place, data[: 1 << 20])
                assert thread.is_alive()
                assert not told.errors, told.errors[0]
                assert status < 500 or status == 503, f"it answered {status}"
                return Outcome.ACCEPTED if 100 <= status < 400 else Outcome.REFUSED

            try:
                yield feed
            finally:
                server.should_exit = True
                thread.join()


class _Told(logging.Handler):
    """What a server logs as an error."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        why = f": {where_raised(trace)}" if trace else ""
        self.errors.append(f"{record.getMessage()}{why}")


def _asked(chance: random.Random, place: tuple[str, int], data: bytes) -> int:
    """Returns the first status; 0 where the server hung up without one.

    Raises:
        TimeoutError: It did neither.
    """
    with socket.create_connection(place, _ANSWER_S) as asking:
        with suppress(OSError):
            first = chance.randrange(len(data) + 1) if chance.random() < 0.3 else len(data)
            asking.sendall(data[:first])
            if first < len(data):
                time.sleep(0.01)
                asking.sendall(data[first:])
            if chance.random() < 0.2:  # of whom has hung up, a server that does too is right
                asking.shutdown(socket.SHUT_WR)
        found = b""
        with suppress(ConnectionError):
            while len(found) < 12 and (piece := asking.recv(4096)):
                found += piece
    words = found.split(None, 2)
    return int(words[1]) if found.startswith(b"HTTP/") and words[1:] else 0
