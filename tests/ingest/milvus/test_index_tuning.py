"""Indexes: chosen by size, built for real, and searched in as many lists as recall needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pymilvus import MilvusClient

from vidsim.ingest.milvus.backend import Hit
from vidsim.ingest.milvus.connection import server_name
from vidsim.ingest.milvus.index_notes import IndexNotes, read_notes, write_notes
from vidsim.ingest.milvus.index_tuning import recall_of, tune
from vidsim.ingest.milvus.lite import NO_INDEX
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards.home import Place, open_shards
from vidsim.ingest.system.progress import Silent
from vidsim.schemas import collections
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.collections import (
    GPU_MAX_TOP_K,
    GPU_SERVER,
    LITE,
    MAX_TOP_K,
    SERVER,
    Index,
    choose_index,
)
from vidsim.schemas.embedding import to_query, unit
from vidsim.schemas.errors import LibraryError, StoreError
from vidsim.search.report_text import tuning_table

from ...helpers.embedded_videos import embedded
from ...helpers.milvus_targets import TARGETS, empty_place
from ...helpers.printed import printed

LAB = BACKBONES["labhist"]
QUIET = Silent()


@pytest.mark.parametrize(
    ("target", "rows", "dim", "index"),
    [
        (SERVER, 1000, 1280, Index("FLAT")),
        (SERVER, 39_062, 1280, Index("FLAT")),
        (SERVER, 39_063, 1280, Index("IVF_FLAT", 791)),
        (SERVER, 106_560, 1280, Index("IVF_FLAT", 1295)),  # of the 104,857 rows of a segment
        (LITE, 13_320, 6001, Index("IVF_FLAT", 143)),  # 39 rows a list, 5,591 in a file
        (GPU_SERVER, 1000, 1280, Index("GPU_BRUTE_FORCE")),
        (GPU_SERVER, 106_560, 1280, Index("GPU_IVF_FLAT", 1295)),
    ],
)
def test_the_index_follows_from_the_size_of_the_collection(target, rows, dim, index):
    assert choose_index(rows, dim, target) == index


def test_only_indexes_that_are_really_built_are_asked_for():
    assert SERVER.build_parameters(Index("IVF_FLAT", 64)) == {"nlist": 64}
    assert LITE.build_parameters(Index("IVF_FLAT", 64)) == {"params": {"nlist": 64}}
    assert LITE.build_parameters(Index()) == {}
    for target, name in (
        (LITE, "GPU_IVF_FLAT"),
        (SERVER, "GPU_IVF_FLAT"),
        (GPU_SERVER, "NONSENSE"),
    ):
        with pytest.raises(ValueError, match=f"{name} is not one of"):
            target.build_parameters(Index(name))


def test_a_gpu_index_gives_fewer_neighbours():
    assert Index("GPU_IVF_FLAT", 64).max_top_k == GPU_MAX_TOP_K < MAX_TOP_K
    assert Index("IVF_FLAT", 64).max_top_k == MAX_TOP_K


def test_recall_counts_neighbours_of_equal_score():
    exact = [[Hit("a", "v", 1.0), Hit("b", "v", 0.5)]]
    assert recall_of([[Hit("a", "v", 1.0), Hit("b", "v", 0.5)]], exact) == 1.0
    assert recall_of([[Hit("a", "v", 1.0), Hit("c", "v", 0.5)]], exact) == 1.0
    assert recall_of([[Hit("a", "v", 1.0), Hit("c", "v", 0.4)]], exact) == 0.5
    assert recall_of([[Hit("a", "v", 1.0)]], exact) == 0.5


def fill(place: Place, count: int = 3000) -> np.ndarray:
    """`count` videos around 50 centres, in shards and in Milvus; gives their unit vectors."""
    random = np.random.default_rng(5)
    centres = random.standard_normal((50, LAB.dim), np.float32)
    videos = []
    for i in range(count):
        video = embedded(f"lib/{i:04}.mp4", fingerprint=str(i), backbones=("labhist",), seed=i)
        video.embeddings[0].rows["labhist"].vectors[:] += 1.5 * centres[i % 50]
        videos.append(video)
    open_shards(place.home).write("lib", videos)
    with open_store(place, writing=True) as store:
        store.upsert(LAB, videos)
        store.flush(LAB)
    return unit(np.concatenate([v.embeddings[0].rows["labhist"].vectors for v in videos]))


@pytest.mark.parametrize("target_place", TARGETS[1:], indirect=True)
def test_a_tuned_index_finds_the_exact_neighbours(target_place, monkeypatch):
    vectors = fill(target_place)
    monkeypatch.setattr(collections, "EXACT_COMPONENTS", 1_000_000)
    report = tune(target_place, 0.99, QUIET)
    (found,) = report.collections
    assert (found.rows, found.index_type, found.lists) == (3000, "IVF_FLAT", 76)
    assert 1 <= found.probes < found.lists
    assert found.recall >= 0.99
    assert found.ms_before > 0 < found.ms_after
    with open_store(target_place) as store:
        assert store.index(LAB, "rows") == Index("IVF_FLAT", 76)
        picked = np.arange(7, 3000, 60)
        answers = store.search(LAB, to_query(LAB, vectors[picked]), 10)
    exact = np.argsort(-vectors[picked] @ vectors.T)[:, :10]
    right = [
        len({h.video_id for h in hits} & {f"lib/{i:04}.mp4" for i in best}) / 10
        for hits, best in zip(answers, exact, strict=True)
    ]
    print(f"\n{report.target}: {found}, recall of other queries {np.mean(right):.4f}")
    assert np.mean(right) >= 0.99

    monkeypatch.undo()  # small collections are searched exactly again
    (found,) = tune(target_place, 0.99, QUIET).collections
    assert (found.index_type, found.lists, found.probes, found.recall) == ("FLAT", 0, 0, 1.0)


@pytest.mark.server
def test_a_search_looks_into_as_many_lists_as_were_noted(place, request, monkeypatch):
    place = empty_place("lite over TCP", place.home, request)
    fill(place, 400)
    monkeypatch.setattr(collections, "EXACT_COMPONENTS", 1000)
    (found,) = tune(place, 1.0, QUIET).collections
    noted = read_notes(place.home, server_name(place))
    assert noted.probes == {"vidsim_color_labhist": found.probes}
    asked = []
    search = MilvusClient.search
    monkeypatch.setattr(MilvusClient, "search", lambda *a, **o: asked.append(o) or search(*a, **o))
    with open_store(place) as store:
        store.search(LAB, np.ones((1, LAB.dim), np.float32), 3)
        store.search(LAB, np.ones((1, LAB.dim), np.float32), 3, probes=2)
    assert [o["search_params"]["params"] for o in asked] == [
        {"nprobe": found.probes},
        {"nprobe": 2},
    ]
    assert all(o["consistency_level"] == "Bounded" for o in asked)


@pytest.mark.server
def test_the_table_has_a_line_a_collection(place, request):
    place = empty_place("lite over TCP", place.home, request)
    fill(place, 20)
    head, line = printed([tuning_table(tune(place, 0.99, QUIET))])
    assert head.split()[:4] == ["collection", "rows", "index", "nlist"]
    assert line.split()[:6] == ["vidsim_color_labhist", "20", "FLAT", "-", "-", "1.000"]


def test_an_embedded_home_needs_no_index(place):
    fill(place, 20)
    report = tune(place, 0.99, QUIET)
    assert report.collections == []
    assert report.notes == [NO_INDEX]
    with open_store(place, writing=True) as store:
        assert store.index(LAB, "rows") == Index("FLAT")
        with pytest.raises(StoreError, match="searched exactly, from its shards"):
            store.rebuild(LAB, "rows", Index("IVF_FLAT", 2))


def test_nothing_is_tuned_where_nothing_is_stored(place):
    with pytest.raises(LibraryError, match="Nothing is stored"):
        tune(place, 0.99, QUIET)


def test_damaged_notes_are_as_good_as_none(place):
    write_notes(place.home, "host:19530", IndexNotes(gpu=True))
    assert read_notes(place.home, "host:19530").gpu is True
    (place.home / "indexes" / "host_19530.json").write_text("{")
    assert read_notes(place.home, "host:19530") == IndexNotes()


def test_lite_has_no_gpu_indexes(place):
    wanted = replace(place, index="gpu")
    with (
        pytest.raises(StoreError, match="Lite has no GPU indexes; set VIDSIM_URI"),
        open_store(wanted, writing=True),
    ):
        pass
    with open_store(replace(place, index="auto"), writing=True) as store:
        assert store.target is LITE
        assert store.notes == []
