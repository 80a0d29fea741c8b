"""Milvus Lite in process: any program's files, in bounded memory, never stuck, by public means."""

from __future__ import annotations

import ast
import os
import re
import shutil
import signal
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import milvus_lite
import numpy as np
import pytest
from pymilvus import MilvusClient

from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards.home import Home, Place, distrusted
from vidsim.ingest.sync.libraries import reindex_all, verify_all
from vidsim.ingest.sync.writer import Writer
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.collections import METRIC, collection_name
from vidsim.schemas.embedding import unit
from vidsim.schemas.errors import StoreError

from ...helpers.embedded_videos import embedded
from ...helpers.killed import leave_unsealed
from ...helpers.repository import ROOT
from ...helpers.rooms import modules

LAB, LITE0 = BACKBONES["labhist"], BACKBONES["efficientnet_lite0"]
NAME = collection_name(LAB)
QUIET = Silent()


def files_of(place: Place, pattern: str) -> list[Path]:
    return sorted((place.home / "milvus.db").rglob(pattern))


def fill(place: Place, number: int = 6) -> None:
    """A library of some videos, in the shards and in Lite."""
    home = Home(place)
    with open_store(place, writing=True) as store:
        writer = Writer(store, home, "lib", {}, weights={LAB.name: "", LITE0.name: ""})
        for i in range(number):
            writer.add(embedded(f"lib/{i}.mp4", seed=i))
        writer.finish()
        assert writer.notes == []


def in_step(place: Place, number: int = 6) -> None:
    report = verify_all(place, [], "all", QUIET)
    assert {(c.backbone, c.shards, c.milvus, c.wrong) for c in report.comparisons} == {
        (LAB.name, number, number, 0),
        (LITE0.name, number, number, 0),
    }


def test_no_private_name_of_milvus_lite_or_pymilvus_is_used() -> None:
    """Only what they promise: names of their `__all__`, and no attribute with an underscore."""
    wrong = []
    for path in (ROOT / "ingest" / "milvus").glob("*.py"):
        tree = ast.parse(path.read_text())
        own = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id in {"self", "store", "run"}
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("milvus_lite"):
                names = {alias.name for alias in node.names}
                if node.module != "milvus_lite" or not names <= set(milvus_lite.__all__):
                    wrong.append(f"{path.name}: {node.module} {sorted(names)}")
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pymilvus"):
                wrong += [f"{path.name}: {a.name}" for a in node.names if a.name.startswith("_")]
            elif isinstance(node, ast.Import):
                wrong += [
                    f"{path.name}: {a.name}"
                    for a in node.names
                    if a.name.startswith("milvus_lite.")
                ]
            elif isinstance(node, ast.Attribute) and re.match(r"_[^_]", node.attr):
                if node.attr not in own:
                    wrong.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert wrong == []
    elsewhere = [
        str(path)
        for path in modules()
        if path.parent != Path("ingest/milvus")
        and re.search(r"^\s*(import|from) milvus_lite", (ROOT / path).read_text(), re.MULTILINE)
    ]
    assert elsewhere == []


def test_what_was_written_in_process_is_there_for_every_client_of_milvus_lite(tmp_path):
    with open_store(Place(tmp_path), writing=True) as store:
        store.upsert(LITE0, [embedded("lib/a.mp4", segments=2)])
    client = MilvusClient(str(tmp_path / "milvus.db"))
    name = collection_name(LITE0, "segments")
    try:
        assert client.list_collections() == [name]
        described = client.describe_collection(name)
        fields = {f["name"]: (f["type"].name, f["params"]) for f in described["fields"]}
        assert fields["id"] == ("VARCHAR", {"max_length": 2048})
        assert fields["segment"] == ("INT64", {})
        assert fields["start_s"] == ("DOUBLE", {})
        assert fields["vector"] == ("FLOAT_VECTOR", {"dim": 1280})
        client.load_collection(name)
        rows = client.query(name, filter='label == "snow"', output_fields=["id", "start_s"])
        assert [row["id"] for row in rows] == ["lib/a.mp4#00000.0", "lib/a.mp4#00001.0"]
        vectors = unit(embedded("lib/a.mp4", segments=2).embeddings[1].rows[LITE0.name].vectors)
        options = {"search_params": {"metric_type": METRIC}, "output_fields": ["id"]}
        ((hit,),) = client.search(name, unit(vectors.mean(0)[None]), limit=1, **options)
        assert (hit["id"], hit["distance"]) == ("lib/a.mp4#00001.0", pytest.approx(1))
    finally:
        client.close()
        milvus_lite.server_manager_instance.release_all()


def test_an_index_of_an_earlier_version_goes_at_the_next_write(tmp_path):
    place = Place(tmp_path)
    with open_store(place, writing=True) as store:
        store.upsert(LAB, [embedded("lib/a.mp4")])
    with milvus_lite.MilvusLite(str(tmp_path / "milvus.db")) as lite:
        collection = lite.get_collection(NAME)
        collection.create_index("vector", {"index_type": "FLAT", "metric_type": METRIC})
    assert files_of(place, "*.idx")
    with open_store(place) as store:
        assert store.count(LAB) == 1
    with open_store(place, writing=True) as store:
        store.upsert(LAB, [embedded("lib/b.mp4")])
        assert store.count(LAB) == 2
    assert not files_of(place, "*.idx")


def test_collections_that_are_no_longer_held_go_at_the_next_reindex(tmp_path):
    place = Place(tmp_path)
    fill(place)
    with milvus_lite.MilvusLite(str(tmp_path / "milvus.db")) as lite:
        schema = lite.get_collection(NAME).schema
        lite.create_collection(collection_name(LITE0), schema).close()
        lite.create_collection("somebody_elses", schema).close()
    report = reindex_all(place, [], QUIET)
    assert report.notes == [
        "vidsim_frame_efficientnet_lite0 was deleted; its rows are read from the shards."
    ]
    with milvus_lite.MilvusLite(str(tmp_path / "milvus.db")) as lite:
        assert lite.list_collections() == [
            "somebody_elses",
            "vidsim_color_labhist",
            "vidsim_frame_efficientnet_lite0_segments",
        ]


@pytest.mark.acceptance
def test_sealing_takes_little_memory_however_much_is_written(tmp_path):
    """Lite makes a Python number of every value that it seals."""
    peaks = []
    for number in (400, 1600):
        place = Place(tmp_path / str(number))
        videos = [embedded(f"lib/{i}.mp4", seed=i) for i in range(number)]
        with open_store(place, writing=True) as store:
            tracemalloc.start()
            store.upsert(LITE0, videos)
            store.flush(LITE0)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 60e6  # of 6 MB of vectors more, and what is merged beside


def test_one_collection_at_a_time_is_in_memory_while_rows_are_written(tmp_path, monkeypatch):
    place = Place(tmp_path)
    fill(place)
    opened, closed = [], []
    get, close = milvus_lite.MilvusLite.get_collection, milvus_lite.MilvusLite.close

    def getting(self, name):
        opened.append(name)
        return get(self, name)

    def closing(self):
        closed.append(len(opened))
        close(self)

    monkeypatch.setattr(milvus_lite.MilvusLite, "get_collection", getting)
    monkeypatch.setattr(milvus_lite.MilvusLite, "close", closing)
    assert reindex_all(place, [], QUIET).notes == []
    assert opened == [NAME, collection_name(LITE0, "segments")]
    assert closed == [1, 2]


@pytest.mark.acceptance
def test_what_was_not_sealed_when_the_process_died_is_there_again(tmp_path):
    leave_unsealed(tmp_path, *(f"lib/{n}" for n in range(10)))
    for _ in range(2):
        with open_store(Place(tmp_path)) as store:
            assert store.count(LAB) == 10


def test_a_full_disk_is_told_and_loses_nothing(tmp_path, monkeypatch):
    flush = milvus_lite.Collection.flush

    def full(*_):
        raise OSError(28, "No space left on device")

    def write():
        with open_store(Place(tmp_path), writing=True) as store:
            store.upsert(LAB, [embedded("lib/a.mp4")])
            monkeypatch.setattr(milvus_lite.Collection, "flush", full)

    with pytest.raises(StoreError, match="not in its files yet .*No space left"):
        write()
    monkeypatch.setattr(milvus_lite.Collection, "flush", flush)
    with open_store(Place(tmp_path)) as store:
        assert store.count(LAB) == 1


def test_ctrl_c_ends_the_waiting_and_not_the_write(tmp_path, monkeypatch):
    upsert = milvus_lite.Collection.upsert

    def slow(self, records):
        time.sleep(0.5)
        upsert(self, records)

    def interrupt(*_):
        raise KeyboardInterrupt

    def write():
        with open_store(Place(tmp_path), writing=True) as store:
            store.create(LAB)
            monkeypatch.setattr(milvus_lite.Collection, "upsert", slow)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            store.upsert(LAB, [embedded("lib/a.mp4")])

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            write()
    finally:
        signal.signal(signal.SIGALRM, before)
    with open_store(Place(tmp_path)) as store:
        assert store.count(LAB) == 1


def test_rows_written_again_and_deleted_are_there_once_or_not(tmp_path):
    videos = [embedded(f"lib/{i}.mp4", seed=i) for i in range(4)]
    again = embedded("lib/1.mp4", seed=11)
    with open_store(Place(tmp_path), writing=True) as store:
        store.upsert(LITE0, videos)
        store.flush(LITE0)
        store.upsert(LITE0, [again])
        store.delete(LITE0, ["lib/2.mp4"])
        for _ in range(2):
            assert store.count(LITE0, level="segments") == 3
            (page,) = store.fetch_videos(LITE0, [f"lib/{i}.mp4" for i in range(4)], "segments")
            rows, vectors = page
            assert [row.video_id for row in rows] == ["lib/0.mp4", "lib/1.mp4", "lib/3.mp4"]
            kept = [videos[0], again, videos[3]]
            expected = [unit(v.embeddings[0].rows[LITE0.name].vectors).mean(0) for v in kept]
            assert np.allclose(vectors, unit(np.stack(expected)), atol=1e-6)
            (hits,) = store.search(LITE0, vectors[1:2], 10)
            assert sorted(hit.video_id for hit in hits) == [row.video_id for row in rows]
            assert hits[0].video_id == "lib/1.mp4"
            store.flush(LITE0)


# --- never stuck: whatever is half made or damaged is made anew from the shards


def without_schema(place: Place) -> None:
    """What a kill leaves between the folder of a collection and its schema."""
    for path in files_of(place, f"{NAME}/*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def torn(pattern: str, keep: float = 0.5) -> Callable[[Place], None]:
    """Cuts every file of a name."""

    def tear(place: Place) -> None:
        found = files_of(place, pattern)
        assert found
        for path in found:
            os.truncate(path, int(keep * path.stat().st_size))

    return tear


def overwritten(pattern: str) -> Callable[[Place], None]:
    """Writes zeros into the middle of every file of a name."""

    def write(place: Place) -> None:
        found = files_of(place, pattern)
        assert found
        for path in found:
            content = path.read_bytes()
            path.write_bytes(content[:20] + bytes(len(content) - 40) + content[-20:])

    return write


def no_folder(place: Place) -> None:
    shutil.rmtree(place.home / "milvus.db")
    (place.home / "milvus.db").write_text("a file")


def a_file_for_collections(place: Place) -> None:
    shutil.rmtree(place.home / "milvus.db" / "collections")
    (place.home / "milvus.db" / "collections").write_text("a file")


DAMAGES: dict[str, Callable[[Place], None]] = {
    "no schema": without_schema,
    "torn schema": torn(f"{NAME}/schema.json"),
    "empty schema": torn(f"{NAME}/schema.json", 0),
    "torn manifests": torn(f"{NAME}/manifest.json*"),
    "empty manifests": torn("manifest.json*", 0),
    "torn data": torn("data_*.parquet"),
    "empty data": torn("data_*.parquet", 0),
    "zeros in the data": overwritten("data_*.parquet"),
    "no folder": no_folder,
    "a file for the folder of collections": a_file_for_collections,
}


@pytest.mark.acceptance
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_reindex_makes_anew_what_is_half_made_or_damaged(tmp_path, damage):
    place = Place(tmp_path / "home")
    fill(place)
    DAMAGES[damage](place)
    report = reindex_all(place, [], QUIET)
    assert sum(c.repaired for c in report.comparisons) > 0
    assert all("it is made anew from the shards" in note for note in report.notes)
    assert report.notes
    in_step(place)
    assert reindex_all(place, [], QUIET).notes == []


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_damage_makes_an_ingest_fail(tmp_path, damage):
    place = Place(tmp_path / "home")
    fill(place)
    DAMAGES[damage](place)
    home = Home(place)
    with open_store(place, writing=True) as store:
        writer = Writer(store, home, "lib", home.shards.catalog("lib"), weights={LAB.name: ""})
        writer.add(embedded("lib/9.mp4", backbones=[LAB.name]))
        writer.finish()
    assert "lib/9.mp4" in home.shards.catalog("lib")
    reindex_all(place, [], QUIET)
    assert verify_all(place, [], "all", QUIET).comparisons[0].milvus == 7
    assert not any(c.wrong for c in verify_all(place, [], "all", QUIET).comparisons)


@pytest.mark.acceptance
def test_a_lite_that_another_program_holds_is_brought_up_to_date_later(tmp_path):
    place = Place(tmp_path)
    fill(place)
    home = Home(place)
    with (
        milvus_lite.MilvusLite(str(tmp_path / "milvus.db")),
        open_store(place, writing=True) as store,
    ):
        writer = Writer(store, home, "lib", home.shards.catalog("lib"), weights={LAB.name: ""})
        writer.add(embedded("lib/9.mp4", backbones=[LAB.name]))
        writer.finish()
    (note,) = writer.notes
    assert "is in use by another" in note
    assert "The embeddings are safe in the shards; 'vidsim reindex' writes the rest" in note
    assert distrusted(place.home, "lib", "embedded")
    reindex_all(place, [], QUIET)
    assert not any(c.wrong for c in verify_all(place, [], "all", QUIET).comparisons)
    assert not distrusted(place.home, "lib", "embedded")
