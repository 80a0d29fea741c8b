"""Milvus Lite in process: its files are any Milvus Lite's, and a write is never cut in two."""

from __future__ import annotations

import signal
import sys
import time

import numpy as np
import pytest
from milvus_lite import Collection, MilvusLite
from pymilvus import MilvusClient

from vidsim.ingest.embedded import EmbeddedClient, EmbeddedError
from vidsim.ingest.home import Place
from vidsim.ingest.store import open_store
from vidsim.schemas.collections import METRIC, Index, collection_name
from vidsim.schemas.embedding import unit
from vidsim.schemas.modality import BACKBONES

from .conftest import embedded

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


def test_ctrl_c_ends_the_waiting_and_not_the_write(tmp_path, monkeypatch):
    upsert = Collection.upsert

    def slow(self, records, *args):
        time.sleep(0.5)
        return upsert(self, records, *args)

    def interrupt(*_):
        raise KeyboardInterrupt

    def write():
        with open_store(Place(tmp_path), writing=True) as store:
            store.create(LITE0)
            store.create(LITE0, "segments")
            monkeypatch.setattr(Collection, "upsert", slow)
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
