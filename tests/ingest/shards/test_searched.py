"""What is searched in the shards: the newest of each video, whole or told."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from vidsim.ingest.models.registry import keep
from vidsim.ingest.shards.home import Home, Place
from vidsim.ingest.shards.row_filter import parse_filter
from vidsim.ingest.shards.searched import SearchedVectors
from vidsim.schemas.backbones import BACKBONES, timm_files
from vidsim.schemas.collections import levels
from vidsim.schemas.embedding import EmbeddedVideo, to_query
from vidsim.schemas.weights import PublishedFiles

from ...helpers.embedded_videos import embedded

ALL = ("labhist", "efficientnet_lite0", "yamnet", "i3d", "vid2img")


def some(count: int, first: int = 0, **changes) -> list[EmbeddedVideo]:
    return [
        embedded(f"lib/{i:02}.mp4", backbones=ALL, segments=1 + i % 3, seed=i, **changes)
        for i in range(first, first + count)
    ]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(Place(tmp_path / "home"))
    home.shards.write("lib", some(6))
    home.shards.write("lib", some(4, first=6))
    return home


@pytest.mark.parametrize("name", ALL)
def test_the_nearest_rows_are_those_of_an_exhaustive_search(home, name):
    from vidsim.ingest.milvus.records import records_of

    backbone = BACKBONES[name]
    records = [r for v in some(10) for r in records_of(backbone, v, levels(backbone)[-1])]
    rows = np.stack([r["vector"] for r in records])
    random = np.random.default_rng(0)
    queries = to_query(backbone, random.standard_normal((3, backbone.dim), np.float32))
    vectors = SearchedVectors(home)
    for query, hits in zip(queries, vectors.search(backbone, queries, 5)):
        order = np.argsort(-(rows @ query))[:5]
        assert [hit.id for hit in hits] == [records[i]["id"] for i in order]
        scores = [hit.score for hit in hits]
        assert scores == pytest.approx((rows @ query)[order], rel=1e-6, abs=1e-4)
    assert vectors.count(backbone) == len(records)
    filtered = vectors.search(backbone, queries, 50, parse_filter('video_id == "lib/07.mp4"'))
    assert {hit.video_id for hits in filtered for hit in hits} == {"lib/07.mp4"}
    ids, products = vectors.largest_products(backbone, queries, ["lib/02.mp4", "lib/08.mp4", "x"])
    assert ids == ["lib/02.mp4", "lib/08.mp4"]
    for column, video_id in enumerate(ids):
        of_video = rows[[r["video_id"] == video_id for r in records]]
        assert products[:, column] == pytest.approx((queries @ of_video.T).max(1), abs=1e-4)


def test_a_video_stored_again_counts_once_and_as_it_is_now(home):
    lab = BACKBONES["labhist"]
    edited = embedded("lib/02.mp4", fingerprint="f1", backbones=("labhist",), seed=77)
    home.shards.write("lib", [edited])  # an interrupted run has not dropped the old one yet
    vectors = SearchedVectors(home)
    (fetched,) = vectors.fetch(lab, ["lib/02.mp4"]).values()
    assert {row.fingerprint for row in fetched[0]} == {"f1"}
    hits = vectors.search(lab, to_query(lab, fetched[1]), 100)[0]
    assert [hit.id for hit in hits].count("lib/02.mp4#00000.0") == 1
    assert hits[0].video_id == "lib/02.mp4"
    assert hits[0].score == pytest.approx(1)
    assert vectors.fetch(BACKBONES["i3d"], ["lib/02.mp4"]) == {}, "the edited file has no motion"
    found = vectors.largest_products(
        BACKBONES["i3d"], np.ones((1, 1024), np.float32), ["lib/02.mp4"]
    )
    assert found[0] == []


def test_what_is_written_or_removed_meanwhile_is_seen_at_a_refresh(home):
    lab = BACKBONES["labhist"]
    vectors = SearchedVectors(home)
    before = vectors.count(lab)
    home.shards.write("lib", some(2, first=10))
    home.shards.drop("lib", {"lib/00.mp4": None})
    assert vectors.count(lab) == before, "a view stays as it was"
    assert vectors.knows("lib/00.mp4")
    assert not vectors.knows("lib/11.mp4")
    vectors.refresh()
    assert vectors.knows("lib/11.mp4")
    assert not vectors.knows("lib/00.mp4")
    assert vectors.problems(["lib"], ["labhist"]) == []


def first_shard(home: Home) -> Path:
    return home.shards.files("lib")[0]


def test_a_missing_shard_is_told(home):
    first_shard(home).unlink()
    (told,) = SearchedVectors(home).problems(["lib"], [])
    assert "000001.h5 is missing, and with it 6 videos of lib" in told
    home.shards.write("lib", some(1, first=20))
    assert len(SearchedVectors(home).problems(["lib"], [])) == 1, "until it is settled"
    home.shards.settle("lib")
    assert SearchedVectors(home).problems(["lib"], []) == []


def test_the_only_shard_is_told_though_the_list_of_shards_is_lost_too(home):
    path = home.shards.write("one", [embedded("one/a.mp4")])
    path.unlink()
    path.with_name("manifest.json").unlink()
    (told,) = SearchedVectors(home).problems(["one"], [])
    assert f"{path} is missing" in told


def test_a_shard_that_is_on_no_list_is_told_and_searched(home):
    copy = first_shard(home).read_bytes()
    home.shards.drop("lib", {f"lib/{i:02}.mp4": None for i in range(6)})
    (home.shards.directory / "lib" / "000009.h5").write_bytes(copy)
    vectors = SearchedVectors(home)
    (told,) = vectors.problems(["lib"], [])
    assert "000009.h5 is not on its library's list" in told
    assert vectors.knows("lib/00.mp4")
    home.shards.adopt("lib", home.shards.unlisted("lib"))
    assert SearchedVectors(home).problems(["lib"], []) == []


def test_a_shard_of_another_library_is_told_and_not_searched(home):
    home.shards.write("other", [embedded("other/a.mp4")])
    (there,) = home.shards.files("other")
    there.rename(first_shard(home).with_name("000009.h5"))
    vectors = SearchedVectors(home)
    told = vectors.problems(["lib"], [])
    assert any("holds videos of other, not of lib" in sentence for sentence in told)
    assert not vectors.knows("other/a.mp4")


def test_searched_vectors_that_were_damaged_are_computed_again_from_their_rows(home):
    yamnet = BACKBONES["yamnet"]
    query = to_query(yamnet, np.ones((1, 1024), np.float32))
    before = SearchedVectors(home).search(yamnet, query, 100)
    with h5py.File(first_shard(home)) as file:
        dataset = file["searched/yamnet/vectors"]
        place = dataset.id.get_offset() + 40
    with first_shard(home).open("r+b") as raw:
        raw.seek(place)
        raw.write(b"\x11\x22\x33\x44")
    vectors = SearchedVectors(home)
    assert vectors.search(yamnet, query, 100) == before
    assert vectors.problems(["lib"], ["yamnet"]) == []


@pytest.mark.acceptance
def test_every_changed_byte_of_a_shard_is_noticed_or_changes_nothing(home, tmp_path):
    """A changed byte costs a note, or lies where nothing is read."""
    random = np.random.default_rng(3)
    path = first_shard(home)
    whole = path.read_bytes()
    asked = {
        BACKBONES[n]: to_query(BACKBONES[n], np.ones((1, BACKBONES[n].dim), np.float32))
        for n in ALL
    }
    names = [f"lib/{i:02}.mp4" for i in range(10)]

    def seen() -> tuple[object, list[str]]:
        vectors = SearchedVectors(home)
        hits = [vectors.search(b, q, 100) for b, q in asked.items()]
        rows = [
            {i: (r, v.tobytes()) for i, (r, v) in vectors.fetch(b, names).items()} for b in asked
        ]
        told = vectors.problems(["lib"], ALL)
        vectors.close()
        return (hits, rows), told

    intact, _ = seen()
    noticed = 0
    for _ in range(40):
        damaged = bytearray(whole)
        at = int(random.integers(len(whole)))
        length = int(random.choice([1, 16, 4096]))
        damaged[at : at + length] = bytes(len(damaged[at : at + length]))
        path.write_bytes(damaged)
        found, told = seen()
        assert found == intact or told, f"{length} bytes at {at}"
        noticed += bool(told)
    assert noticed > 5


def test_a_shard_that_is_replaced_while_the_others_are_opened_loses_nothing(home, monkeypatch):
    from vidsim.ingest.shards import searched as module

    real, struck = module.opened, []

    def opened(path, *args):
        if not struck:
            struck.append(path)  # an edited video: a new shard, and the old one without it
            edited = embedded("lib/02.mp4", fingerprint="f1", backbones=("labhist",), seed=77)
            home.shards.write("lib", [edited])
            home.shards.drop("lib", {"lib/02.mp4": edited.version})
        return real(path, *args)

    monkeypatch.setattr(module, "opened", opened)
    vectors = SearchedVectors(home)
    (rows, _) = vectors.fetch(BACKBONES["labhist"], ["lib/02.mp4"])["lib/02.mp4"]
    assert {row.fingerprint for row in rows} == {"f1"}
    assert vectors.problems(["lib"], ALL) == []


def test_a_file_that_vanishes_between_two_looks_does_not_take_its_library_along(home, monkeypatch):
    gone = first_shard(home)
    real = os.stat

    def stat(path, *args, **options):
        if str(path) == str(gone):
            gone.unlink(missing_ok=True)
        return real(path, *args, **options)

    monkeypatch.setattr(os, "stat", stat)
    vectors = SearchedVectors(home)
    assert vectors.knows("lib/07.mp4")
    assert "is missing" in vectors.problems(["lib"], ALL)[0]


def test_a_network_that_is_registered_later_is_searched_too(home):
    vectors = SearchedVectors(home)
    tiny = replace(
        BACKBONES["resnet50"],
        name="timm_tiny_x",
        dim=16,
        weights=PublishedFiles(
            "timm_tiny_x", timm_files("tiny.x"), "MIT", "timm tiny.x", "its hub"
        ),
    )
    keep(home.path, tiny)
    other = Home(Place(home.path))
    video = embedded("lib/x.mp4", backbones=("timm_tiny_x",), dims={"timm_tiny_x": 16})
    other.shards.write("lib", [video], {"timm_tiny_x": ""})
    vectors.refresh()
    assert vectors.problems(["lib"], ["timm_tiny_x"]) == []
    assert "timm_tiny_x" in [b.name for b in vectors.backbones()]
