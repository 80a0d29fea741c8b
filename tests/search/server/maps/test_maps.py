"""Maps: a quick one at once, a better one afterwards, and none twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from vidsim.ingest.shards.home import open_shards
from vidsim.schemas.errors import StoreError
from vidsim.search.server.http.refusals import BusyError
from vidsim.search.server.maps import maps as maps_module
from vidsim.search.server.maps.maps import Map, Maps

from ....helpers.embedded_videos import embedded
from ....helpers.web import client_of, until

pytestmark = pytest.mark.acceptance  # its processes load scikit-learn

QUICK = """
import time
import numpy as np

def main(channel):
    message = channel.receive()
    if message.kind == "better":
        time.sleep(0.2)
        channel.send("map", {}, {"xy": 2 * message.arrays["components"][:, :2]})
        return
    if message.fields["libraries"] == ["broken"]:
        channel.send("failed", {"reason": "A shard is damaged."})
        return
    with open(message.fields["home"] + "/asked", "a") as file:
        file.write(" ".join(message.fields["modalities"]) + "\\n")
    channel.send("map", {}, {
        "ids": np.frombuffer("lib/a.avi\\0lib/\u00e4 b.avi".encode(), np.uint8),
        "components": np.eye(2, 3, dtype=np.float32),
        "clusters": np.array([1, 0]),
        "xy": np.zeros((2, 2), np.float32),
    })
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "quick_map.py").write_text(QUICK)
    monkeypatch.syspath_prepend(str(tmp_path))
    return "quick_map:main"


def better(maps: Maps, shown: str, stamp: str) -> Map:
    found: Map = until(lambda: (m := maps.get(shown, (), stamp)).refining is False and m)
    return found


def test_a_quick_map_then_a_better_one_each_made_once(tmp_path: Path, worker: str) -> None:
    asked = tmp_path / "asked"
    maps = Maps(tmp_path, tmp_path / "cache", worker)
    quick = maps.get("fused", (), "now")
    assert (quick.method, quick.refining, quick.ids) == ("PCA", True, ["lib/a.avi", "lib/ä b.avi"])
    assert (quick.x, quick.clusters) == ([0.0, 0.0], [1, 0])
    found = better(maps, "fused", "now")
    assert (found.method, found.x, found.y) == ("t-SNE", [2.0, 0.0], [0.0, 2.0])
    assert found.clusters == quick.clusters
    assert asked.read_text() == "color frame audio motion\n"
    maps.close()
    again = Maps(tmp_path, tmp_path / "cache", worker)
    assert again.get("fused", (), "now") == found, "the next server has it still"
    assert asked.read_text().count("\n") == 1
    assert again.get("fused", (), "changed").method == "PCA"
    again.close()


def test_a_failure_is_told_and_the_next_map_is_made(tmp_path: Path, worker: str) -> None:
    maps = Maps(tmp_path, tmp_path / "cache", worker)
    with pytest.raises(StoreError, match="damaged"):
        maps.get("color", ("broken",), "now")
    assert maps.get("color", (), "now").ids
    maps.close()


def test_only_so_many_are_made_at_a_time(
    tmp_path: Path, worker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps_module, "_MOST_MAKING", 1)
    maps = Maps(tmp_path, tmp_path / "cache", worker)
    assert maps.get("color", (), "now").refining
    with pytest.raises(BusyError):  # a better one is being made
        maps.get("frame", (), "now")
    better(maps, "color", "now")
    until(lambda: not maps._jobs)
    assert maps.get("frame", (), "now").ids
    maps.close()


@pytest.mark.acceptance
def test_the_map_of_a_home(tmp_path: Path) -> None:
    write(tmp_path, "one", ["red"] * 20 + ["blue"] * 20)
    write(tmp_path, "two", ["green"] * 5)
    with client_of(tmp_path) as client:

        def whole(**asked: str) -> dict[str, Sequence[object]]:
            found: dict[str, Sequence[object]] = until(
                lambda: not (m := client.get("/v1/map", params=asked).json())["refining"] and m
            )
            return found

        fused = whole()
        assert fused["method"] == "t-SNE"
        assert len(fused["ids"]) == len(fused["x"]) == len(fused["clusters"]) == 45
        assert fused["labels"].count("red") == 20
        color = whole(modality="color", library="two")
        assert color["ids"] == [f"two/{n:03}.avi" for n in range(5)]
        assert whole(modality="motion")["ids"] == []
        assert client.get("/v1/map", params={"library": "none"}).status_code == 404
        assert client.get("/v1/map", params={"modality": "smell"}).status_code == 422


def write(home: Path, library: str, labels: Sequence[str]) -> None:
    videos = [
        embedded(f"{library}/{number:03}.avi", label=label, seed=number)
        for number, label in enumerate(labels)
    ]
    open_shards(home).write(library, videos)
