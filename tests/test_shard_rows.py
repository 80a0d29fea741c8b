"""Rows of a few videos: the same from the shards as from Milvus, and always the newest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vidsim.ingest import shard_rows
from vidsim.ingest.home import Place, open_shards
from vidsim.ingest.shard_rows import ShardRows, in_order
from vidsim.ingest.shards import Shards
from vidsim.ingest.store import open_store
from vidsim.schemas.modality import BACKBONES

from .conftest import embedded

LAB, LITE0, YAMNET = (BACKBONES[n] for n in ("labhist", "efficientnet_lite0", "yamnet"))
ALL = (LAB.name, LITE0.name, YAMNET.name)


@pytest.fixture
def shards(tmp_path):
    return Shards(tmp_path / "shards")


@pytest.fixture
def rows(shards):
    found = ShardRows(shards.directory)
    yield found
    found.close()


def of(seed, video_id="lib/a.mp4", **options):
    return embedded(video_id, seed=seed, **({"backbones": ALL} | options))


@pytest.mark.parametrize("backbone", [LAB, LITE0, YAMNET, BACKBONES["vid2img"]])
def test_they_are_those_that_milvus_gives(tmp_path, backbone):
    names = (*ALL, "vid2img")
    videos = [of(i, f"lib/{i}.mp4", segments=3, backbones=names) for i in range(4)]
    videos.append(of(9, "lib/silent.mp4", segments=2, silent=True, backbones=names))
    open_shards(tmp_path).write("lib", videos[:2])
    open_shards(tmp_path).write("lib", videos[2:])
    ids = [v.video.video_id for v in videos]
    with open_store(Place(tmp_path), writing=True) as store:
        store.upsert(backbone, videos)
        expected, vectors = store.fetch(backbone, 'library == "lib"')
    rows = ShardRows(tmp_path / "shards")
    found = rows.find(backbone, ids)
    assert sorted(found) == ids  # those without sound, too: they have no rows
    assert in_order(backbone, found)[0] == expected
    assert np.allclose(in_order(backbone, found)[1], vectors, atol=1e-6)
    rows.close()


def test_those_that_no_shard_knows_are_left_out(shards, rows):
    assert rows.find(LITE0, ["lib/a.mp4", "clip.mp4", ""]) == {}
    shards.write("lib", [of(0), of(1, "lib/b.mp4", backbones=(LAB.name,))])
    assert rows.find(LITE0, ["lib/a.mp4", "lib/b.mp4", "lib/c.mp4"]).keys() == {"lib/a.mp4"}


def test_what_was_written_later_counts(shards, rows):
    shards.write("lib", [of(0, backbones=(LAB.name, LITE0.name))])
    shards.write("lib", [of(1, backbones=(YAMNET.name,))])  # another modality of the same file
    assert len(rows.find(LITE0, ["lib/a.mp4"])["lib/a.mp4"][0]) == 8
    assert len(rows.find(YAMNET, ["lib/a.mp4"])["lib/a.mp4"][0]) == 10
    shards.write("lib", [of(2, fingerprint="edited", backbones=(LITE0.name,))])
    (row, *_), _ = rows.find(LITE0, ["lib/a.mp4"])["lib/a.mp4"]
    assert row.fingerprint == "edited"
    assert rows.find(YAMNET, ["lib/a.mp4"]) == {}
    shards.drop("lib", {"lib/a.mp4": None})
    assert rows.find(LITE0, ["lib/a.mp4"]) == {}


def test_a_shard_in_another_s_place_is_seen(shards, rows):
    """`drop` writes a shard anew under its name."""
    shards.write("lib", [of(0), of(1, "lib/b.mp4")])
    before = rows.find(LITE0, ["lib/b.mp4"])["lib/b.mp4"]
    shards.drop("lib", {"lib/a.mp4": None})
    assert rows.find(LITE0, ["lib/a.mp4"]) == {}
    after = rows.find(LITE0, ["lib/b.mp4"])["lib/b.mp4"]
    assert after[0] == before[0]
    assert np.array_equal(after[1], before[1])


def test_more_shards_than_stay_open(shards, rows, monkeypatch):
    monkeypatch.setattr(shard_rows, "_OPEN_SHARDS", 2)
    ids = [f"lib/{i}.mp4" for i in range(5)]
    for i, video_id in enumerate(ids):
        shards.write("lib", [of(i, video_id)])
    for _ in range(2):
        assert {k: r[0].video_id for k, (r, _) in rows.find(LAB, ids).items()} == {
            video_id: video_id for video_id in ids
        }


def test_where_a_shard_is_damaged_milvus_answers(tmp_path):
    video = of(0)
    path = open_shards(tmp_path).write("lib", [video])
    with open_store(Place(tmp_path), writing=True) as store:
        store.upsert(LITE0, [replace(video, backbones=frozenset([LITE0.name]))])
        path.write_bytes(b"no shard")
        ((found, vectors),) = store.fetch_videos(LITE0, ["lib/a.mp4", "lib/b.mp4"])
    assert len(found) == len(vectors) == 8
