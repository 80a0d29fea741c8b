"""Every Milvus that vidsim is tested on: Lite in process, Lite over TCP, a genuine server.

The server listens on all interfaces and lets everybody in, so it only starts where there is no
interface but loopback: 'make server-test' runs the tests in a network namespace.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from pymilvus.client.types import LoadState

from vidsim.ingest.milvus.connection import Connection, open_client
from vidsim.ingest.milvus.indexes import described_index
from vidsim.ingest.shards.home import Place
from vidsim.schemas.collections import COLLECTION_PREFIX, Index

TARGETS = [
    "lite",
    pytest.param("lite over TCP", marks=pytest.mark.server),
    pytest.param("server", marks=pytest.mark.server),
]


_IMPATIENT = {
    "common.session.ttl": 5,
    "dataCoord.segment.assignmentExpiration": 200,
    "proxy.timeTickInterval": 50,
    "queryCoord.checkInterval": 50,
    "queryCoord.distPullInterval": 50,
}
"""How often the server looks whether there is something to do (ms), and how long after a kill it
takes itself for still alive (s): tests would wait for little else, and answers stay the same."""


class MilvusServer:
    """The genuine Milvus of the package index, in a folder and on ports of its own."""

    def __init__(self, folder: Path, binaries: Path | None = None, authorization: bool = False):
        """`binaries` are another server's, so that they are unpacked once."""
        from milvus import MilvusServerConfig, _initialize_data_files

        if [name for _, name in socket.if_nameindex()] != ["lo"]:
            pytest.fail("Milvus would listen on every interface; run 'make server-test'.")
        folder.mkdir(parents=True, exist_ok=True)
        self.binaries = folder / "bin"
        if binaries:
            self.binaries.symlink_to(binaries)
        else:
            _initialize_data_files(folder)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        etcd, peer, self._health_port = _free_ports(3)
        config = MilvusServerConfig(data_dir=str(folder), etcd_port=etcd)
        config.set("authorization_enabled", authorization)
        for name, value in _IMPATIENT.items():
            config.set(name, value)
        config.resolve()
        self.uri = f"http://127.0.0.1:{config.get('proxy_port')}"
        # Without this the etcd within listens where that of every other server does, and dies.
        here, there = f"http://127.0.0.1:{etcd}", f"http://127.0.0.1:{peer}"
        (folder / "etcd.yaml").write_text(
            f"listen-client-urls: {here}\nadvertise-client-urls: {here}\n"
            f"listen-peer-urls: {there}\ninitial-advertise-peer-urls: {there}\n"
            f"initial-cluster: default={there}\n"
        )

    def start(self) -> None:
        """Starts it, where it was before, and waits until it is healthy."""
        with (self._folder / "logs" / "output.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binaries / "milvus", "run", "standalone"],
                cwd=self._folder,
                env={
                    **os.environ,
                    "DEPLOY_MODE": "STANDALONE",
                    "ETCD_CONFIG_PATH": str(self._folder / "etcd.yaml"),
                    "LD_LIBRARY_PATH": str(self.binaries),
                    "METRICS_PORT": str(self._health_port),
                    "MILVUS_RUN_DIR": str(self._folder / "run"),
                },
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + 120  # after a kill it first waits for its own lease to end
        while not self._healthy():
            assert self._process.poll() is None, f"Milvus died; see {log.name}"
            assert time.monotonic() < until, f"Milvus is not healthy; see {log.name}"
            time.sleep(0.1)

    def _healthy(self) -> bool:
        with suppress(OSError):
            url = f"http://127.0.0.1:{self._health_port}/healthz"
            with urllib.request.urlopen(url, timeout=5) as answer:
                return b"OK" in answer.read()
        return False

    def kill(self) -> None:
        """Ends it as a power cut would."""
        if self._process:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusServer]:
    server = MilvusServer(tmp_path_factory.mktemp("milvus"))
    often = SimpleNamespace(**vars(time) | {"sleep": lambda s: time.sleep(min(s, 0.05))})
    try:
        server.start()
        with pytest.MonkeyPatch.context() as patch:
            # pymilvus asks every half second whether a flush, an index or a load is done.
            patch.setattr("pymilvus.client.grpc_handler.time", often)
            yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def lite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of Milvus Lite behind a port."""
    (port,) = _free_ports(1)
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


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        free = [stack.enter_context(closing(socket.socket())) for _ in range(number)]
        for each in free:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in free]


def _listens(port: int) -> bool:
    with closing(socket.socket()) as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def empty_place(target: str, home: Path, request: pytest.FixtureRequest) -> Place:
    """A home whose Milvus is of the kind `target` and holds nothing of vidsim's.

    A server's collections stay there, empty: to make one takes two seconds.
    """
    if target == "lite":
        return Place(home)
    if target == "server":
        uri = request.getfixturevalue("milvus_server").uri
    else:
        uri = request.getfixturevalue("lite_server")
    place = Place(home, uri, index="cpu")
    with open_client(place) as milvus:
        for name in _collections(milvus):
            if target == "server" and _is_as_made(milvus, name):
                milvus.client.delete(name, filter='id != ""')
            else:
                milvus.client.drop_collection(name)
    return place


def drop_collections(place: Place) -> None:
    """Leaves nothing of vidsim's in the Milvus of `place`, not even empty collections."""
    if not place.uri:  # a home of its own, in which nothing was made
        return
    with open_client(place) as milvus:
        for name in _collections(milvus):
            milvus.client.drop_collection(name)


def _is_as_made(milvus: Connection, name: str) -> bool:
    loaded = milvus.client.get_load_state(name)["state"] == LoadState.Loaded
    return loaded and described_index(milvus, name) == Index()


def _collections(milvus: Connection) -> list[str]:
    return [n for n in milvus.client.list_collections() if n.startswith(COLLECTION_PREFIX)]


@pytest.fixture(params=TARGETS)
def target_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty Milvus of each kind."""
    return empty_place(request.param, tmp_path / "home", request)
