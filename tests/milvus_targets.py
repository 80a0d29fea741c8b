"""Every Milvus that vidsim is tested on: Lite in process, Lite over TCP, a genuine server.

The server listens on all interfaces and lets everybody in, so it only starts where there is no
interface but loopback: 'make server-test' runs the tests in a network namespace.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from vidsim.ingest.connection import open_client
from vidsim.ingest.home import Place
from vidsim.schemas.collections import COLLECTION_PREFIX

TARGETS = [
    "lite",
    pytest.param("lite over TCP", marks=pytest.mark.server),
    pytest.param("server", marks=pytest.mark.server),
]


class MilvusServer:
    """The genuine Milvus of the package index, in a folder of its own."""

    def __init__(self, folder: Path, binaries: Path | None = None, authorization: bool = False):
        """`binaries` are another server's, so that they are unpacked once."""
        from milvus import MilvusServer as Server
        from milvus import MilvusServerConfig

        if [name for _, name in socket.if_nameindex()] != ["lo"]:
            pytest.fail("Milvus would listen on every interface; run 'make server-test'.")
        folder.mkdir(parents=True, exist_ok=True)
        if binaries:
            (folder / "bin").symlink_to(binaries)
        self.binaries = folder / "bin"
        config = MilvusServerConfig(data_dir=str(folder))
        config.set("authorization_enabled", authorization)
        self._server: Any = Server(config)

    def start(self) -> None:
        """Starts it and waits until it is healthy."""
        self._server.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self._server.listen_port}"

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._server.server_proc.kill()
        self._server.server_proc.wait()

    def stop(self) -> None:
        self._server.stop()


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    server = MilvusServer(tmp_path_factory.mktemp("milvus"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def lite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of Milvus Lite behind a port."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("lite")
    where = ["--data-dir", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "milvus_lite", "server", *where],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + 60
        while not _listens(port):
            assert process.poll() is None, "Milvus Lite does not start"
            assert time.monotonic() < until, "Milvus Lite does not listen"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def empty_place(target: str, home: Path, request: pytest.FixtureRequest) -> Place:
    """A home whose Milvus is of the kind `target` and holds nothing of vidsim's."""
    if target == "lite":
        return Place(home)
    if target == "server":
        uri = request.getfixturevalue("milvus_server").uri
    else:
        uri = request.getfixturevalue("lite_server")
    place = Place(home, uri, index="cpu")
    with open_client(place) as milvus:
        for name in milvus.client.list_collections():
            if name.startswith(COLLECTION_PREFIX):
                milvus.client.drop_collection(name)
    return place


@pytest.fixture(params=TARGETS)
def target_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty Milvus of each kind."""
    return empty_place(request.param, tmp_path / "home", request)
