"""Milvus Lite in process: its files are any Milvus Lite's, and a write is never cut in two."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest
from milvus_lite import MilvusLite
from pymilvus import MilvusClient

from vidsim.ingest.milvus.lite_client import EmbeddedClient, EmbeddedError
from vidsim.ingest.milvus.lite_collection import BoundedCollection
from vidsim.ingest.milvus.records import batches
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards.home import Place
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.collections import METRIC, Index, collection_name
from vidsim.schemas.embedding import unit
from vidsim.schemas.errors import StoreError

from ...helpers.embedded_videos import embedded

LITE0 = BACKBONES["efficientnet_lite0"]
NAME = collection_name(LITE0)


def test_what_was_written_in_process_is_there_for_every_client_of_milvus_lite(tmp_path):
    with open_store(Place(tmp_path), writing=True) as store:
        store.upsert(LITE0, [embedded("lib/a.mp4")])
    client = MilvusClient(str(tmp_path / "milvus.db"))
    try:
        described = client.describe_collection(NAME)
        fields = {f["name"]: (f["type"].name, f["params"]) for f in described["fields"]}
        assert fields["id"] == ("VARCHAR", {"max_length": 2048})
        assert fields["segment"] == ("INT64", {})
        assert fields["start_s"] == ("DOUBLE", {})
        assert fields["vector"] == ("FLOAT_VECTOR", {"dim": 1280})
        client.load_collection(NAME)
        rows = client.query(NAME, filter='label == "snow"', output_fields=["id", "start_s"])
        assert len(rows) == 8
        assert rows[0]["id"] == "lib/a.mp4#00000.0"
        (vector,) = unit(embedded("lib/a.mp4").embeddings[0].rows[LITE0.name].vectors[3:4])
        options = {"search_params": {"metric_type": METRIC}, "output_fields": ["id"]}
        ((hit,),) = client.search(NAME, [vector], limit=1, **options)
        assert (hit["id"], hit["distance"]) == ("lib/a.mp4#00000.3", pytest.approx(1))
    finally:
        client.close()
        sys.modules["milvus_lite.server_manager"].server_manager_instance.release_all()


def test_no_vector_is_kept_twice(tmp_path):
    """An exact index of Lite is a copy; one of an earlier version goes when it is opened."""
    folder, video = tmp_path / "milvus.db", embedded("lib/a.mp4")

    def copies():
        return list(folder.rglob("*.idx"))

    with open_store(Place(tmp_path), writing=True) as store:
        store.upsert(LITE0, [video])
        store.flush(LITE0)
        store.rebuild(LITE0, "rows", Index("FLAT"))
        assert store.index(LITE0, "rows") == Index("FLAT")
    assert not copies()
    with MilvusLite(str(folder)) as lite:
        collection = lite.get_collection(NAME)
        collection.create_index("vector", {"index_type": "FLAT", "metric_type": METRIC})
    assert copies()
    with open_store(Place(tmp_path)) as store:
        assert store.count(LITE0) == 8
        assert store.index(LITE0, "rows") == Index("FLAT")
    assert not copies()


def test_what_is_only_written_to_reads_no_vector(tmp_path, monkeypatch):
    """An ingest into a large library takes no more memory than into a small one."""

    def refuse(*_):
        raise AssertionError("vectors are read")

    with open_store(Place(tmp_path), writing=True) as store:
        store.upsert(LITE0, [embedded(f"lib/{i}.mp4", seed=i) for i in range(3)])
    monkeypatch.setattr("milvus_lite.engine.collection.Segment.load", refuse)
    with open_store(Place(tmp_path), writing=True) as store:
        store.upsert(LITE0, [embedded("lib/1.mp4", seed=11), embedded("lib/3.mp4")])
        store.delete(LITE0, ["lib/2.mp4"])
        assert store.count(LITE0, 'library == "lib"') == 24
        store.flush(LITE0)
        assert [row.video_id for page in store.scan(LITE0, level="segments") for row in page] == [
            f"lib/{i}.mp4" for i in (0, 1, 3)
        ]
    monkeypatch.undo()
    with open_store(Place(tmp_path)) as store:
        ((rows, vectors),) = store.fetch_videos(LITE0, ["lib/1.mp4", "lib/2.mp4"])
    expected = embedded("lib/1.mp4", seed=11).embeddings[0].rows[LITE0.name].vectors
    assert {row.video_id for row in rows} == {"lib/1.mp4"}
    assert np.allclose(vectors, unit(expected), atol=1e-6)


def test_no_number_is_made_of_a_value_to_write_it(tmp_path):
    """Lite's own sealing takes twenty times the vectors so."""
    videos = [embedded(f"lib/{i:03}.mp4", seed=i) for i in range(100)]
    with open_store(Place(tmp_path), writing=True) as store:
        store.create(LITE0)
        tracemalloc.start()
        store.upsert(LITE0, videos)
        store.flush(LITE0)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 5 * 100 * 9 * 1280 * 4  # 8 rows and a segment a video, of 1280 float32


def test_files_stay_small_and_small_ones_are_merged(tmp_path, monkeypatch):
    monkeypatch.setattr("vidsim.ingest.milvus.lite_collection.LITE_SEGMENT_BYTES", 2**20)
    videos = [embedded(f"lib/{i:02}.mp4", seed=i) for i in range(70)]  # 41 kB each
    for few in batches(videos, 10):
        with open_store(Place(tmp_path), writing=True) as store:
            store.upsert(LITE0, few)
    with open_store(Place(tmp_path), writing=True) as store:
        for few in batches(videos[:50], 10):
            store.upsert(LITE0, few)
    files = [file for file in (tmp_path / "milvus.db").rglob("*.parquet") if NAME in file.parts]
    assert max(pq.read_metadata(file).num_rows for file in files) <= 8 * 30
    with open_store(Place(tmp_path)) as store:
        assert store.count(LITE0) == 8 * 70
        ((_, vectors),) = store.fetch_videos(LITE0, [v.video.video_id for v in videos])
    expected = np.concatenate([v.embeddings[0].rows[LITE0.name].vectors for v in videos])
    assert np.allclose(vectors, unit(expected), atol=1e-6)


def test_ten_small_ingests_leave_few_files(tmp_path):
    for i in range(10):
        with open_store(Place(tmp_path), writing=True) as store:
            store.upsert(LITE0, [embedded(f"lib/{i}.mp4", seed=i)])
    files = [file for file in (tmp_path / "milvus.db").rglob("*.parquet") if NAME in file.parts]
    assert len(files) <= 4


def test_deleted_rows_do_not_stay_on_disk(tmp_path, monkeypatch):
    """A library that is embedded again and again does not grow."""
    monkeypatch.setattr("vidsim.ingest.milvus.lite_collection.LITE_SEGMENT_BYTES", 2**20)
    sizes = []
    for turn in range(4):
        with open_store(Place(tmp_path), writing=True) as store:
            store.delete_library(LITE0, "lib")
            store.upsert(LITE0, [embedded(f"lib/{i}.mp4", seed=100 * turn + i) for i in range(50)])
            assert store.count(LITE0) == 400
        folder = tmp_path / "milvus.db"
        sizes.append(sum(file.stat().st_size for file in folder.rglob("*.parquet")))
    assert max(sizes) < 1.5 * sizes[0]


@pytest.mark.parametrize("sealed", [2**10, 2**25])
def test_what_was_not_sealed_when_the_process_died_is_there_again(tmp_path, monkeypatch, sealed):
    """Also where more was left than is kept unsealed, as an earlier version did."""
    script = """
import os, sys
from pathlib import Path
from vidsim.ingest.shards.home import Place
from vidsim.ingest.milvus.records import batches
from vidsim.ingest.milvus.store import open_store
from vidsim.schemas.backbones import BACKBONES
from vidsim.search.bench.synthetic import make_videos
backbone = BACKBONES["efficientnet_lite0"]
with open_store(Place(Path(sys.argv[1])), writing=True) as store:
    store.upsert(backbone, make_videos(10, [backbone], 0))
    os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script, tmp_path], check=True, timeout=60)
    monkeypatch.setattr("vidsim.ingest.milvus.lite_collection.LITE_SEGMENT_BYTES", sealed)
    for _ in range(2):
        with open_store(Place(tmp_path)) as store:
            assert store.count(LITE0) == 80
            assert store.count(LITE0, "", "segments") == 10


@pytest.mark.parametrize("sealed", [2**10, 2**25])
def test_a_process_that_dies_while_it_seals_leaves_no_row_twice(tmp_path, monkeypatch, sealed):
    """It may have noted the file, and not have deleted the log of what is in it."""
    place, log, kept = Place(tmp_path), tmp_path / "milvus.db", tmp_path / "kept"
    with open_store(place, writing=True) as store:
        store.upsert(LITE0, [embedded("lib/a.mp4")])
        shutil.copytree(log, kept)
    for file in kept.rglob("*.arrow"):
        restored = log / file.relative_to(kept)
        assert not restored.exists()
        shutil.copy(file, restored)
    monkeypatch.setattr("vidsim.ingest.milvus.lite_collection.LITE_SEGMENT_BYTES", sealed)
    for _ in range(2):
        with open_store(place, writing=True) as store:
            assert store.count(LITE0) == 8
            assert [len(page) for page in store.scan(LITE0)] == [8]
    with MilvusLite(str(log)) as lite:  # which does note a file twice after that
        collection = lite.get_collection(NAME)
        (names,) = collection._manifest.get_all_data_files().values()
        collection._manifest.add_data_file("_default", names[0])
        collection._manifest.save()
    with open_store(place, writing=True) as store:
        assert store.count(LITE0) == 8
        store.delete(LITE0, ["lib/a.mp4"])
        store.flush(LITE0)
        assert store.count(LITE0) == 0


def test_a_merge_between_two_looks_brings_no_deleted_row_back(tmp_path, monkeypatch):
    read = BoundedCollection._read

    def read_and_merge(self):
        read(self)
        merging = threading.Thread(target=self._bg_compact_and_index)
        merging.start()
        merging.join(0.3)
        started.append(merging)

    started = []
    with open_store(Place(tmp_path), writing=True) as store:
        for i in range(3):
            store.upsert(LITE0, [embedded(f"lib/{i}.mp4", seed=i)])
            store.flush(LITE0)
        store.delete_library(LITE0, "lib")
        store.upsert(LITE0, [embedded("lib/9.mp4")])
        with monkeypatch.context() as patched:
            patched.setattr(BoundedCollection, "_schedule_bg_maintenance", lambda self: None)
            store.flush(LITE0)
        monkeypatch.setattr(BoundedCollection, "_read", read_and_merge)
        vector = unit(embedded("lib/9.mp4").embeddings[0].rows[LITE0.name].vectors[:1])
        (hits,) = store.search(LITE0, vector, 100, level="rows")
        monkeypatch.undo()
        assert {hit.video_id for hit in hits} == {"lib/9.mp4"}
    for thread in started:
        thread.join()


def test_a_full_disk_is_told_and_loses_nothing(tmp_path, monkeypatch):
    def write():
        with open_store(Place(tmp_path), writing=True) as store:
            store.upsert(LITE0, [embedded("lib/a.mp4")])
            store.count(LITE0)
            monkeypatch.setattr("milvus_lite.engine.flush.write_data_file", full)

    def full(*_):
        raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="not in its files yet .*No space left"):
        write()
    monkeypatch.undo()
    with open_store(Place(tmp_path)) as store:
        assert store.count(LITE0) == 8


def test_an_index_follows_what_is_written(tmp_path):
    videos = [embedded(f"lib/{i}.mp4", seed=i) for i in range(20)]
    vectors = unit(videos[-1].embeddings[0].rows[LITE0.name].vectors)
    with open_store(Place(tmp_path), writing=True) as store:
        store.upsert(LITE0, videos[:10])
        store.rebuild(LITE0, "rows", Index("IVF_FLAT", 2))
        store.upsert(LITE0, videos[10:])
        store.flush(LITE0)
        found = store.search(LITE0, vectors, 1, level="rows", probes=2)
        assert [hits[0].id for hits in found] == [f"lib/19.mp4#00000.{i}" for i in range(8)]
    with open_store(Place(tmp_path)) as store:
        assert store.index(LITE0, "rows") == Index("IVF_FLAT", 2)
        assert store.search(LITE0, vectors, 1, level="rows", probes=2) == found
    files = [f for f in (tmp_path / "milvus.db").rglob("data_*") if NAME in f.parts]
    assert sorted(f.suffix for f in files) == [".idx", ".idx", ".parquet", ".parquet"]


def test_ctrl_c_ends_the_waiting_and_not_the_write(tmp_path, monkeypatch):
    keep = BoundedCollection.keep

    def slow(self, columns, vectors):
        time.sleep(0.5)
        keep(self, columns, vectors)

    def interrupt(*_):
        raise KeyboardInterrupt

    def write():
        with open_store(Place(tmp_path), writing=True) as store:
            store.create(LITE0)
            store.create(LITE0, "segments")
            monkeypatch.setattr(BoundedCollection, "keep", slow)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            store.upsert(LITE0, [embedded("lib/a.mp4")])

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            write()
    finally:
        signal.signal(signal.SIGALRM, before)
    with open_store(Place(tmp_path)) as store:
        assert store.count(LITE0) == 8


def test_a_collection_that_is_not_there_is_named(tmp_path):
    client = EmbeddedClient(str(tmp_path / "milvus.db"))
    try:
        with pytest.raises(EmbeddedError, match="absent"):
            client.load_collection("absent")
    finally:
        client.close()


@pytest.mark.parametrize("sealed", [True, False])
def test_rows_are_the_live_ones_whether_they_are_sealed_or_not(tmp_path, sealed):
    """Written, written again, deleted, and in files of their own: each is there once or not."""
    videos = [embedded(f"lib/{i}.mp4", seed=i) for i in range(4)]
    again = embedded("lib/1.mp4", seed=11)
    with open_store(Place(tmp_path), writing=True) as store:
        store.upsert(LITE0, videos)
        store.flush(LITE0)
        store.upsert(LITE0, [again])
        store.delete(LITE0, ["lib/2.mp4"])
        if sealed:
            store.flush(LITE0)
        assert store.count(LITE0) == 24
        wanted = {"lib/0.mp4": videos[0], "lib/1.mp4": again, "lib/3.mp4": videos[3]}
        (page,) = store.fetch_videos(LITE0, ["lib/3.mp4", "lib/2.mp4", "lib/1.mp4", "lib/0.mp4"])
        rows, vectors = page
        assert [row.video_id for row in rows] == [name for name in wanted for _ in range(8)]
        expected = [v.embeddings[0].rows[LITE0.name].vectors for v in wanted.values()]
        assert np.allclose(vectors, unit(np.concatenate(expected)), atol=1e-6)
        (hits,) = store.search(LITE0, unit(expected[1].mean(0, keepdims=True)), 10)
        assert hits[0].video_id == "lib/1.mp4"
        assert sorted(hit.video_id for hit in hits) == list(wanted)
        by_milvus = store.search(LITE0, unit(expected[1].mean(0, keepdims=True)), 10, 'id != ""')[0]
        assert [hit.id for hit in by_milvus] == [hit.id for hit in hits]
        assert [h.score for h in by_milvus] == pytest.approx([h.score for h in hits], abs=1e-5)
