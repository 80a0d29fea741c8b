"""Rows of a few videos: the same from the shards as Milvus is given, and always the newest."""

from __future__ import annotations

import os

import numpy as np
import pytest

from vidsim.ingest.milvus.records import records_of
from vidsim.ingest.shards import rows as shard_rows
from vidsim.ingest.shards.home import open_shards
from vidsim.ingest.shards.rows import ShardRows, in_order
from vidsim.ingest.shards.shard_files import Shards
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.embedding import from_index
from vidsim.schemas.rows import stored_row

from ...helpers.embedded_videos import embedded

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
def test_they_are_those_that_milvus_is_given(tmp_path, backbone):
    names = (*ALL, "vid2img")
    videos = [of(i, f"lib/{i}.mp4", segments=3, backbones=names) for i in range(4)]
    videos.append(of(9, "lib/silent.mp4", segments=2, silent=True, backbones=names))
    open_shards(tmp_path).write("lib", videos[:2])
    open_shards(tmp_path).write("lib", videos[2:])
    ids = [v.video.video_id for v in videos]
    given = [record for video in videos for record in records_of(backbone, video, "rows")]
    rows = ShardRows(tmp_path / "shards")
    found = rows.find(backbone, ids)
    assert sorted(found) == ids  # those without sound, too: they have no rows
    assert in_order(backbone, found)[0] == [stored_row(record) for record in given]
    expected = from_index(backbone, np.stack([record["vector"] for record in given]))
    assert np.allclose(in_order(backbone, found)[1], expected, atol=1e-6)
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
    held = [os.path.realpath(fd.path) for fd in os.scandir("/proc/self/fd")]
    assert not [name for name in held if str(shards.directory) in name and "deleted" in name]


def test_more_shards_than_stay_open(shards, rows, monkeypatch):
    monkeypatch.setattr(shard_rows, "_OPEN_SHARDS", 2)
    ids = [f"lib/{i}.mp4" for i in range(5)]
    for i, video_id in enumerate(ids):
        shards.write("lib", [of(i, video_id)])
    for _ in range(2):
        assert {k: r[0].video_id for k, (r, _) in rows.find(LAB, ids).items()} == {
            video_id: video_id for video_id in ids
        }


def test_more_shards_than_are_looked_into(shards, rows, monkeypatch):
    for i in range(3):
        shards.write("lib", [of(i, f"lib/{i}.mp4")])
    monkeypatch.setattr(shard_rows, "_MOST_SHARDS", 2)
    assert rows.find(LAB, ["lib/0.mp4"]) == {}
    shards.drop("lib", {"lib/1.mp4": None})
    assert rows.find(LAB, ["lib/0.mp4"]).keys() == {"lib/0.mp4"}


@pytest.mark.parametrize("damage", ["no shard", "tables", "cut short"])
def test_a_library_with_a_damaged_shard_is_left_out_and_told(shards, rows, damage, caplog):
    path = shards.write("lib", [of(0)])
    shards.write("other", [of(1, "other/a.mp4")])
    whole = path.read_bytes()
    path.write_bytes(
        {
            "no shard": b"no shard",
            "tables": whole.replace(b"video_id", b"video_no").replace(b"OHDR", b"OHDX"),
            "cut short": whole[: len(whole) // 2],
        }[damage]
    )
    assert rows.find(LITE0, ["lib/a.mp4", "other/a.mp4"]).keys() == {"other/a.mp4"}
    assert f"The shard {path}" in caplog.text
