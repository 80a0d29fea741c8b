"""The HTTP server of a home, in this process or in one of its own."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from starlette.testclient import TestClient

from vidsim.schemas.serve import ServeOptions
from vidsim.search.library import Library
from vidsim.search.server.app import create_app
from vidsim.search.server.http.guard import Guard
from vidsim.search.server.http.sockets import short_path
from vidsim.search.server.run import opened

from .command_line import command, environment


@contextmanager
def client_of(home: Path, trusted: bool = False, **options: Any) -> Iterator[TestClient]:
    """A client of a home's app, guarded as on its port, or as on its own socket."""
    chosen = ServeOptions(**options)
    with Library.open(home, pull=False) as library, opened(library, chosen, home / "server") as it:
        app = Guard(
            create_app(it),
            hosts=chosen.hosts,
            token=chosen.token,
            trusted=trusted,
            max_upload_mb=chosen.max_upload_mb,
        )
        with TestClient(app, base_url="http://localhost", raise_server_exceptions=True) as client:
            yield client


class Server:
    """A server in a process of its own."""

    def __init__(self, home: Path, *words: str, **changes: str) -> None:
        """Starts ``vidsim serve`` on a home, at a free port, and waits until it answers."""
        self.home = home
        self.process = subprocess.Popen(
            command("serve", "--port", "0", *words),
            env=environment(home, **changes),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        self.said = self.process.stderr.readline()
        self.url = next((w for w in self.said.split() if w.startswith("http")), "")

    def client(self) -> httpx2.Client:
        """A client at the port."""
        return httpx2.Client(base_url=self.url.partition("/#")[0], timeout=60)

    @contextmanager
    def inside(self) -> Iterator[httpx2.Client]:
        """A client at the home's own socket."""
        with short_path(self.home / "server") as path:
            transport = httpx2.HTTPTransport(uds=path)
            with httpx2.Client(transport=transport, base_url="http://home") as client:
                yield client

    def note(self) -> Any:
        """What it says of itself in the home."""
        return json.loads((self.home / "server" / "serving.json").read_text())

    def kill(self) -> None:
        """Ends it as a crash does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it as a person does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(120)  # networks that are being loaded are waited for
        assert self.process.stderr is not None
        self.process.stderr.close()


def copied(home: Path, to: Path) -> Path:
    """A copy of a home, to be changed."""
    shutil.copytree(home, to, ignore=shutil.ignore_patterns("server"))
    return to


def until(found: Any, within_s: float = 120.0) -> Any:
    """Calls `found` until it gives something, and returns that."""
    end = time.monotonic() + within_s
    while not (result := found()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return result
