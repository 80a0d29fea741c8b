"""A client of a Milvus server that loses it in the middle of a call: killed, or cut off.

The client is a process in a network namespace of its own, joined to this one by a pair of virtual
interfaces, one of which is taken down. What it ingests are files that hold text (ingests.py).
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit

from vidsim.ingest import pipeline
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards.home import Place
from vidsim.ingest.sync import writer
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.collections import Index
from vidsim.search.library import Library

from .answers import Answer, Question, query
from .forked import forked
from .ingests import ingest, pretend
from .served import Served, serve

MODALITIES = ("color", "audio")

_SERVER, _NEAR_END, _FAR_END = "10.77.0.1", "10.77.0.2", "10.77.0.3"
"""The server's address is one of the loopback interface, which stays: its parts talk by it."""

_NEAR, _FAR = "vidsim-near", "vidsim-far"
_LIMIT_S = 300.0
_SEGMENTS_PER_SHARD = 8


class Client:
    """A process beside the server's namespace that works with Milvus as told."""

    def __init__(self, folder: Path, uri: str) -> None:
        """`folder` is for messages; `uri` is the server's here."""
        folder.mkdir(parents=True)
        self._folder = folder
        self._turns = count()
        self.uri = f"http://{_SERVER}:{urlsplit(uri).port}"
        environment = {k: v for k, v in os.environ.items() if k[:7] != "VIDSIM_"}
        before = ["unshare", "--net"]
        self._served = Served("vidsim.tests.helpers.cut_off", environment, before)
        pid = str(self._served.ask({"task": "tell"}, 60)["result"])
        inside = ["nsenter", "-t", pid, "-n"]
        _ip("link", "add", "name", _NEAR, "type", "veth", "peer", "name", _FAR, "netns", pid)
        _ip("addr", "replace", f"{_SERVER}/32", "dev", "lo")
        _ip("addr", "add", f"{_NEAR_END}/24", "dev", _NEAR)
        _ip("link", "set", _NEAR, "up")
        _ip("addr", "add", f"{_FAR_END}/24", "dev", _FAR, before=inside)
        _ip("link", "set", _FAR, "up", before=inside)
        _ip("link", "set", "lo", "up", before=inside)

    def cut_off(self) -> None:
        """Has nothing pass between client and server; neither is told."""
        _ip("link", "set", _NEAR, "down")

    def join(self) -> None:
        """Ends that."""
        _ip("link", "set", _NEAR, "up")

    def do(
        self,
        task: str,
        home: Path,
        folder: Path,
        call: str = "",
        within: bool = False,
        lose: Callable[[], object] = lambda: None,
        back: Callable[[], object] = lambda: None,
    ) -> Answer:
        """Does a task of `TASKS`.

        Args:
            task: Which.
            home: The home.
            folder: What is ingested.
            call: A method of pymilvus' client: at its first call the server is lost.
            within: Whether the call goes out at the same time, instead of after that.
            lose: Has it lost.
            back: Has it come back, meanwhile.

        Returns:
            As `forked`; ``calls`` names the methods that were called, ``struck`` whether it was.
        """
        reached = self._folder / f"reached {next(self._turns)}"
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.002):
                if reached.exists():
                    lose()
                    reached.rename(reached.with_suffix(".go"))
                    back()
                    return

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            request = {"task": task, "home": str(home), "folder": str(folder), "uri": self.uri}
            request |= {"call": call, "within": within, "reached": str(reached)}
            found: Answer = self._served.ask(request, _LIMIT_S + 10)
        finally:
            over.set()
            thread.join()
        return found | {"struck": reached.with_suffix(".go").exists()}

    def close(self) -> None:
        """Ends the process, and with its namespace the interfaces."""
        self._served.close()


def _ip(*words: str, before: Sequence[str] = ()) -> None:
    subprocess.run([*before, "ip", *words], check=True)


def _ingest(place: Place, folder: Path) -> Any:
    with mock.patch.object(writer, "_FLUSH_SEGMENTS", _SEGMENTS_PER_SHARD):
        return ingest(folder, place, *MODALITIES, prune=True).model_dump(mode="json")


def _query(place: Place, folder: Path) -> Any:
    question = Question(f"{folder.name}/snow/02.mp4")
    with Library.open(place.home, uri=place.uri) as library:
        return query(library, question)


def _reindex(place: Place, _: Path) -> Any:
    with Library.open(place.home, uri=place.uri) as library:
        return library.reindex(fresh=True).model_dump(mode="json")


def _rebuild(place: Place, _: Path) -> Any:
    with open_store(place, writing=True) as store:
        for name in ("labhist", "yamnet"):
            backbone = BACKBONES[name]
            for level in store.levels(backbone):
                if level == "segments" or name == "labhist":
                    store.rebuild(backbone, level, Index("IVF_FLAT", 2))


TASKS: dict[str, Callable[[Place, Path], Any]] = {
    "ingest": _ingest,
    "query": _query,
    "reindex": _reindex,
    "rebuild": _rebuild,
}


@contextmanager
def _struck(name: str, within: bool, reached: Path, calls: list[str]) -> Any:
    """Notes calls of pymilvus' client, and has the first one of a name wait for its strike."""
    from pymilvus import MilvusClient

    def wrapped(method: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            first = method == name and method not in calls
            calls.append(method)
            if first:
                reached.touch()
                until = time.monotonic() + 60
                while not within and reached.exists() and time.monotonic() < until:
                    time.sleep(0.002)
            return plain(*words, **more)

        return call

    with mock.patch.multiple(
        MilvusClient,
        **{n: wrapped(n, f) for n, f in vars(MilvusClient).items() if _is_call(n, f)},
    ):
        yield


def _is_call(name: str, value: Any) -> bool:
    return callable(value) and not name.startswith("_") and name != "close"


def _answer(request: dict[str, Any]) -> Answer:
    if request["task"] == "tell":
        return {"result": os.getpid()}

    def task() -> Any:
        place = Place(Path(request["home"]), request["uri"], index="cpu")
        calls: list[str] = []
        pipeline.embed_all = pretend
        # pymilvus asks every half second whether a flush, an index or a load is done.
        with _struck(request["call"], request["within"], Path(request["reached"]), calls):
            found = TASKS[request["task"]](place, Path(request["folder"]))
        return {"found": found, "calls": calls}

    return forked(task, _LIMIT_S)


def main() -> None:
    """Serves a `Client`; forks before any connection is made."""
    serve(_answer)
