"""A Milvus server is lost in every phase of what vidsim does with it, and comes back.

It is killed, or cut off from vidsim alone, as the first call of a kind goes out: what follows may
be refused in one sentence or go on; the same command once more ends well, and Milvus holds what the
shards hold, row by row and vector by vector. Run by ``make server-acceptance``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vidsim.ingest import pipeline
from vidsim.ingest.milvus.connection import open_client
from vidsim.ingest.milvus.indexes import described_index
from vidsim.ingest.shards.home import Place
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.collections import Index, collection_name

from .helpers.answers import Answer, alike, evidence
from .helpers.cut_off import MODALITIES, Client
from .helpers.ingests import in_step, ingest, pretend, write_files
from .helpers.milvus_targets import MilvusServer, drop_collections

pytestmark = [pytest.mark.server, pytest.mark.acceptance]

AWAY_S = 5.0
"""How long the client is cut off: longer than a query waits, shorter than an ingest does."""

PHASES = [
    ("ingest", "create_collection"),
    ("ingest", "create_index"),
    ("ingest", "load_collection"),
    ("ingest", "upsert"),
    ("ingest", "flush"),
    ("change", "delete"),
    ("change", "upsert"),
    ("change", "flush"),
    ("reindex", "drop_collection"),
    ("reindex", "upsert"),
    ("rebuild", "release_collection"),
    ("rebuild", "drop_index"),
    ("rebuild", "create_index"),
    ("rebuild", "load_collection"),
    ("query", "query"),
    ("query", "search"),
]
"""A task, and the first call of which kind is struck."""


class Milvus:
    """A server, and a client in another network namespace.

    Attributes:
        server: The server.
        client: The client.
    """

    def __init__(self, folder: Path) -> None:
        """Starts both."""
        self.server = MilvusServer(folder / "server")
        self.server.start()
        self.client = Client(folder / "client", self.server.uri)

    @property
    def ways(self) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
        """By name how it is lost, and how it comes back."""
        return {
            "killed": (self.server.kill, self.server.start),
            "cut off": (self.client.cut_off, self._joined),
        }

    def _joined(self) -> None:
        time.sleep(AWAY_S)
        self.client.join()

    def close(self) -> None:
        """Ends both."""
        self.client.close()
        self.server.kill()


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Milvus]:
    made = Milvus(tmp_path_factory.mktemp("phases"))
    yield made
    made.close()


@pytest.fixture
def pretending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "embed_all", pretend)


def written(folder: Path) -> Path:
    return write_files(folder, {f"snow/{i:02}.mp4": f"text {i}" for i in range(20)})


def changed(folder: Path) -> None:
    write_files(folder, {f"snow/{i:02}.mp4": f"other {i}" for i in range(8, 14)})
    write_files(folder, {"snow/new.mp4": "new"})
    (folder / "snow" / "19.mp4").unlink()


def needed(found: Answer) -> Answer:
    assert "result" in found, found
    return found["result"]["found"]


@pytest.mark.usefixtures("pretending")
@pytest.mark.parametrize("within", [False, True], ids=["before", "within"])
@pytest.mark.parametrize("how", ["killed", "cut off"])
@pytest.mark.parametrize(("task", "call"), PHASES)
def test_what_was_written_is_whole_after_a_server_was_lost(
    milvus: Milvus, tmp_path: Path, task: str, call: str, how: str, within: bool
) -> None:
    here = Place(tmp_path / "home", milvus.server.uri, index="cpu")
    drop_collections(here)
    folder, client = written(tmp_path / "lib"), milvus.client
    does = "ingest" if task == "change" else task
    if task != "ingest":
        needed(client.do("ingest", here.home, folder))
    expected = needed(client.do("query", here.home, folder)) if task == "query" else {}
    if task == "change":
        changed(folder)
    found = client.do(does, here.home, folder, call, within, *milvus.ways[how])
    assert found["struck"], f"{call} was not called: {found}"
    assert "result" in found or "refused" in found, found
    print(f"\n{task}, {how} {'within' if within else 'before'} {call}: {summary(found)}")

    again = needed(client.do(does, here.home, folder))
    if task == "query":
        assert alike(evidence(again), evidence(expected))
    undisturbed = Place(tmp_path / "undisturbed")
    ingest(folder, undisturbed, *MODALITIES)
    assert in_step(here) == in_step(undisturbed)
    if task == "rebuild":
        with open_client(here) as connection:
            name = collection_name(BACKBONES["labhist"])
            assert described_index(connection, name) == Index("IVF_FLAT", 2)


def summary(found: Answer) -> str:
    if "refused" in found:
        return f"refused: {found['refused']}"
    notes = (found["result"]["found"] or {}).get("notes", [])
    return f"noted: {notes[0]}" if notes else "it went on"
