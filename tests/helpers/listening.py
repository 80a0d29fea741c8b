"""A server at a port, in a thread of this process, so that its limits can be lowered."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

from vidsim.schemas.serve import ServeOptions
from vidsim.search.library import Library
from vidsim.search.server import run
from vidsim.search.server.app import create_app
from vidsim.search.server.http import sockets
from vidsim.search.server.http.guard import Guard
from vidsim.search.server.routes.serving import Serving


@dataclass(frozen=True)
class Said:
    """What came over a connection.

    Attributes:
        text: All of it.
        closed: Whether the server closed it.
        after_s: When, since it was opened.
    """

    text: str
    closed: bool
    after_s: float

    @property
    def status(self) -> int:
        """Of the first answer; 0 where there was none."""
        return int(self.text.split(" ", 2)[1]) if self.text.startswith("HTTP/") else 0

    @property
    def body(self) -> Any:
        return json.loads(self.text.partition("\r\n\r\n")[2])


@dataclass(frozen=True)
class Listening:
    """A server that listens.

    Attributes:
        serving: What its routes share.
        port: Its port on this machine.
    """

    serving: Serving
    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port))

    def say(self, data: bytes, *, within_s: float = 10.0) -> Said:
        """Sends bytes, and receives until the server closes or has been silent for so long."""
        began = time.monotonic()
        with self.connect() as client:
            client.settimeout(within_s)
            text, closed = b"", False
            try:
                client.sendall(data)
                while piece := client.recv(1 << 16):
                    text += piece
                closed = True
            except ConnectionError:
                closed = True
            except TimeoutError:
                pass
        return Said(text.decode(errors="replace"), closed, time.monotonic() - began)


def request(method: str, path: str, body: bytes = b"", *headers: str, length: int = -1) -> bytes:
    """A request, after which the connection is to be closed."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers]
    lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


@contextmanager
def listening(home: Path, trusted: bool = False, **options: Any) -> Iterator[Listening]:
    """A server of a home."""
    chosen = ServeOptions(**options)
    with (
        Library.open(home, pull=False) as library,
        run.opened(library, chosen, home / "server") as serving,
        sockets.listen("127.0.0.1", 0) as at,
    ):
        app = Guard(
            create_app(serving),
            token=chosen.token,
            trusted=trusted,
            max_upload_mb=chosen.max_upload_mb,
        )
        server = run._Server(run._server(app))
        thread = Thread(target=lambda: asyncio.run(server.serve(sockets=[at])))
        thread.start()
        try:
            yield Listening(serving, at.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
