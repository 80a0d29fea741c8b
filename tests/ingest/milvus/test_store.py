"""Milvus: rows go in once, come out exactly, and filters mean what they say."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from vidsim.ingest.milvus import indexes as vector_index
from vidsim.ingest.milvus.connection import open_client
from vidsim.ingest.milvus.filters import equals, is_in
from vidsim.ingest.milvus.indexes import wait_until_searchable
from vidsim.ingest.milvus.records import records_of
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards.home import Home, Place
from vidsim.ingest.sync.repair import remove, repair
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.collections import Index, collection_name, levels
from vidsim.schemas.embedding import to_index, to_query, unit
from vidsim.schemas.errors import LibraryError, ModelError, StoreError
from vidsim.schemas.rows import stored_row

from ...helpers.embedded_videos import embedded
from ...helpers.milvus_targets import TARGETS, drop_collections

LAB, LITE0, VID2IMG = (BACKBONES[n] for n in ("labhist", "efficientnet_lite0", "vid2img"))
HARD_NAMES = ['lib/a "quoted".mp4', "lib/it's.mp4", "lib/back\\slash.mp4", "lib/名前 é.mp4"]


@pytest.fixture
def store(target_place):
    with open_store(target_place, writing=True) as opened:
        yield opened


def test_rows_come_back_as_they_went_in(store):
    video = embedded("lib/a.mp4", segments=2, seed=4)
    assert store.upsert(LITE0, [video]) == 16
    for level in store.levels(LITE0):
        rows, vectors = store.fetch(LITE0, equals("video_id", "lib/a.mp4"), level)
        wanted = records_of(LITE0, video, level)
        assert rows == [stored_row(record) for record in wanted]
        assert np.allclose(vectors, [record["vector"] for record in wanted], atol=1e-6)
        assert store.fetch_ids(LITE0, [rows[1].id], level)[0] == rows[1:2]
    assert [r.id for r in rows] == ["lib/a.mp4#00000.0", "lib/a.mp4#00001.0"]
    assert (rows[1].segment, rows[1].start_s, rows[1].label) == (1, 10.0, "snow")


def test_reading_creates_nothing(target_place):
    drop_collections(target_place)
    query = np.ones((2, LITE0.dim), np.float32)
    with open_store(target_place) as store:
        assert store.backbones() == []
        for level in levels(LITE0):
            assert store.count(LITE0, "", level) == store.held(LITE0, level) == 0
            assert list(store.scan(LITE0, "", level)) == []
            assert list(store.rows_of(LITE0, ["lib/a.mp4"], level)) == []
            rows, vectors = store.fetch_ids(LITE0, ["lib/a.mp4#00000.0"], level)
            assert (rows, vectors.shape) == ([], (0, LITE0.dim))
            assert store.index(LITE0, level) == Index()
        assert store.search(LITE0, query, 5) == [[], []]
        ids, products = store.largest_products(LITE0, query, ["lib/a.mp4"])
        assert (ids, products.shape) == ([], (2, 0))
        store.delete(LITE0, ["lib/a.mp4"])
        store.delete_library(LITE0, "lib")
        store.flush(LITE0)
        assert store.backbones() == []
    assert not target_place.home.exists()


def test_a_milvus_tells_which_levels_it_holds(store):
    """Rows that are only looked up are not in the Milvus Lite of a home."""
    store.upsert(LITE0, [embedded("lib/a.mp4")])
    held = {level for level in levels(LITE0) if store.count(LITE0, "", level)}
    assert held == set(store.levels(LITE0))
    assert store.levels(LITE0) == (("segments",) if store.embedded else ("rows", "segments"))


@pytest.mark.parametrize("target_place", TARGETS[1:], indirect=True)
def test_a_person_who_looks_into_milvus_is_told_what_is_there(store, target_place, monkeypatch):
    sent = {}
    create = MilvusClient.create_collection

    def creating(self, name, *, schema, **more):
        sent[name] = schema  # Lite does not keep descriptions
        create(self, name, schema=schema, **more)

    monkeypatch.setattr(MilvusClient, "create_collection", creating)
    drop_collections(target_place)
    for level in levels(LITE0):
        store.create(LITE0, level)
    assert {name: schema.description for name, schema in sent.items()} == {
        "vidsim_frame_efficientnet_lite0": "frame (EfficientNet-Lite0, ImageNet-1k: what is in "
        "the picture), rows: one a frame, 8 a segment; looked up for the videos of an answer",
        "vidsim_frame_efficientnet_lite0_segments": "frame (EfficientNet-Lite0, ImageNet-1k: what "
        "is in the picture), segments: the mean of a segment's rows; 'vidsim query' searches these",
    }
    for schema in sent.values():
        told = {field.name: field.description for field in schema.fields}
        assert told["video_id"] == "the video, as 'vidsim query' takes it: library/path/in/library"
        assert told["vector"].endswith("of length 1; the inner product of two is their cosine")
        assert all(told.values())


def test_upserting_again_doubles_nothing(store):
    video = embedded("lib/a.mp4")
    store.upsert(LAB, [video])
    store.upsert(LAB, [video])
    assert store.count(LAB) == 1


@pytest.mark.parametrize("target_place", TARGETS[1:], indirect=True)
def test_a_collection_that_a_server_is_loading_is_waited_for(target_place, monkeypatch):
    """As a server that starts answers; in one that is not loaded nothing is waited for."""
    asked, told = [], []
    query = MilvusClient.query

    def starting(self, name, *args, **more):
        asked.append(name)
        if len(asked) < 3:
            raise MilvusException(1, "a part of it is not there yet")  # no code that is retried
        return query(self, name, *args, **more)

    drop_collections(target_place)
    monkeypatch.setattr(MilvusClient, "query", starting)
    monkeypatch.setattr(vector_index, "_PAUSE_SECONDS", 0)
    with open_client(target_place) as milvus, open_store(target_place, writing=True) as store:
        store.upsert(LAB, [embedded("lib/a.mp4")])
        milvus.client.release_collection(store.create(LITE0))
        wait_until_searchable(milvus, told.append)
    name = collection_name(LAB)
    assert asked == [name] * 3
    assert told == [f"Waiting for {name} (0 s) ..."] * 2


@pytest.mark.parametrize("name", HARD_NAMES)
def test_names_that_need_quoting(store, name):
    store.upsert(LAB, [embedded(name), embedded("lib/other.mp4")])
    assert store.count(LAB, equals("video_id", name)) == 1
    assert store.count(LAB, is_in("video_id", [name, "lib/other.mp4"])) == 2
    store.delete(LAB, [name])
    assert store.count(LAB) == 1


@pytest.mark.parametrize("backbone", [LAB, LITE0, VID2IMG], ids=lambda b: b.name)
def test_largest_products_are_those_of_the_vectors(store, backbone):
    # Of one to nine segments; of a video with more than a server is asked for a video, and of
    # few videos at once.
    videos = [
        embedded(f"lib/{i}.mp4", seed=i, segments=1 + i, backbones=(backbone.name,))
        for i in range(9)
    ]
    store.upsert(backbone, videos)
    queries = np.random.default_rng(99).standard_normal((2, backbone.dim), np.float32)
    asked = [f"lib/{i}.mp4" for i in (8, 0, 3)] + ["lib/absent.mp4"]
    ids, products = store.largest_products(backbone, to_query(backbone, queries), asked)
    assert ids == ["lib/0.mp4", "lib/3.mp4", "lib/8.mp4"]
    level = levels(backbone)[-1]
    for video_id, found in zip(ids, products.T, strict=True):
        _, vectors = store.fetch(backbone, equals("video_id", video_id), level)
        pairs = to_query(backbone, queries) @ to_index(backbone, vectors).T
        np.testing.assert_allclose(found, pairs.max(axis=1), rtol=1e-5, atol=1e-6)
    none, products = store.largest_products(backbone, to_query(backbone, queries), ["lib/x.mp4"])
    assert none == []
    assert products.shape == (2, 0)


@pytest.mark.parametrize("target_place", ["server"], indirect=True)
@pytest.mark.server
def test_an_index_of_which_few_lists_are_searched_hides_no_product(target_place):
    videos = [
        embedded(f"lib/{i:03}.mp4", seed=i, backbones=("labhist",)) for i in range(2000)
    ]  # Milvus indexes no fewer
    with open_store(target_place, writing=True) as store:
        store.upsert(LAB, videos)
        store.flush(LAB)
        store.rebuild(LAB, "rows", Index(store.target.inverted, 16))
        store.keep_probes(LAB, "rows", 1)
        query = to_query(LAB, np.random.default_rng(9).standard_normal((1, LAB.dim), np.float32))
        (hits,) = store.search(LAB, query, 2000)
        assert len(hits) < 2000
        ids, _ = store.largest_products(LAB, query, [v.video.video_id for v in videos])
        store.rebuild(LAB, "rows", Index())
        with open_client(target_place) as milvus:
            indexes = milvus.client.list_indexes(collection_name(LAB))
        assert sorted(indexes) == ["vector", "video_id"]  # else every look-up goes over all rows
    assert len(ids) == 2000


def test_calls_that_are_started_together_answer_in_order(store):
    store.upsert(LAB, [embedded(f"lib/{i}.mp4") for i in range(3)])
    expressions = [equals("video_id", "lib/0.mp4"), "", equals("video_id", "lib/9.mp4")]
    assert store.concurrently(partial(store.count, LAB, e) for e in expressions) == [1, 3, 0]
    with pytest.raises(StoreError):
        store.concurrently([partial(store.count, LAB, "nonsense ==")])


@pytest.mark.parametrize("backbone", [LAB, LITE0, VID2IMG], ids=lambda b: b.name)
def test_search_agrees_with_brute_force_over_segment_means(store, backbone):
    videos = [embedded(f"lib/{i}.mp4", seed=i, backbones=(backbone.name,)) for i in range(30)]
    store.upsert(backbone, videos)
    query = np.random.default_rng(99).standard_normal((1, backbone.dim), np.float32)
    (hits,) = store.search(backbone, to_query(backbone, query), 5)
    rows = [(v.video.video_id, e.rows[backbone.name].vectors) for v in videos for e in v.embeddings]
    scored = [
        (
            -((vectors.mean(0) - query[0]) ** 2).sum()
            if backbone.similarity == "l2"
            else unit(unit(vectors).mean(0)) @ query[0],
            name,
        )
        for name, vectors in rows
    ]
    assert [h.video_id for h in hits] == [name for _, name in sorted(scored, reverse=True)[:5]]


def test_a_filter_narrows_and_a_wrong_one_is_explained(store):
    store.upsert(LAB, [embedded("lib/a", label="snow"), embedded("lib/b", label="sand")])
    query = to_query(LAB, np.ones((1, LAB.dim), np.float32))
    (hits,) = store.search(LAB, query, 5, 'label == "sand"')
    assert [h.video_id for h in hits] == ["lib/b"]
    with pytest.raises(ModelError, match=r"not understood.*fields are id, video_id"):
        store.check_filter(LAB, "label ===== 3")
    with pytest.raises(ModelError, match="not understood"):
        store.check_filter(LAB, 'colour == "red"')


def test_a_second_process_is_told_that_the_store_is_in_use(place):
    code = f"""
from pathlib import Path
from vidsim.ingest.shards.home import Home, Place
from vidsim.ingest.milvus.store import open_store
from vidsim.schemas.errors import StoreError
try:
    with open_store(Place(Path({str(place.home)!r}))) as s:
        s.backbones()
except StoreError as error:
    print(error)
"""
    with open_store(place) as store:
        store.upsert(LAB, [embedded("lib/a")])
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
    assert "in use by another vidsim process" in done.stdout


def test_a_garbage_directory_is_explained(place):
    (place.home).mkdir(parents=True)
    (place.home / "milvus.db").write_text("not a database")
    with (
        pytest.raises(StoreError, match="not a Milvus Lite directory"),
        open_store(place) as store,
    ):
        store.backbones()


def test_an_unreachable_server_is_explained(place):
    with (
        pytest.raises(StoreError, match="does not answer.*unset it"),
        open_store(replace(place, uri="http://127.0.0.1:1")),
    ):
        pass


def test_what_milvus_lost_is_noticed_and_repaired(store, tmp_path):
    home = Home(Place(tmp_path))
    videos = [embedded(f"lib/{i}.mp4", seed=i) for i in range(5)]
    home.shards.write("lib", videos)
    store.upsert(LITE0, videos)
    store.upsert(LAB, videos)
    whole = {"rows": 40, "segments": 5}
    for level in store.levels(LITE0):
        held = whole[level]
        gone = [r["id"] for r in records_of(LITE0, videos[3], level)]
        store.delete_rows(LITE0, gone, level)
        (mended,) = repair(store, home, "lib")
        assert (mended.backbone, mended.level) == ("efficientnet_lite0", level)
        assert (mended.found, mended.expected) == (held * 4 // 5, held)
        assert all(store.count(LITE0, "", each) == whole[each] for each in store.levels(LITE0))
        assert repair(store, home, "lib") == []


def test_rows_that_no_shard_knows_are_removed(store, tmp_path):
    home = Home(Place(tmp_path))
    videos = [embedded(f"lib/{i}.mp4", seed=i) for i in range(5)]
    home.shards.write("lib", videos)
    store.upsert(LAB, videos)
    store.upsert(LITE0, videos)
    assert repair(store, home, "lib") == []
    store.upsert(LAB, [embedded("lib/never-sharded.mp4")])
    assert len(repair(store, home, "lib")) == 1
    assert store.count(LAB) == 5


def test_removing_takes_from_both(store, tmp_path):
    home = Home(Place(tmp_path / "home"))
    videos = [embedded("lib/a.mp4"), embedded("lib/b.mp4")]
    home.shards.write("lib", videos)
    for backbone in (LAB, LITE0):
        store.upsert(backbone, videos)
        store.flush(backbone)
    remove(store, home, "lib", ["lib/a.mp4"])
    assert list(home.shards.catalog("lib")) == ["lib/b.mp4"]
    assert (store.count(LAB), store.count(LITE0, level="segments")) == (1, 1)
    with pytest.raises(LibraryError, match="lib/a.mp4 is not stored"):
        remove(store, home, "lib", ["lib/a.mp4"])
