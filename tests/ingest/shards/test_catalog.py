"""The catalogue: read once per shard, its totals and note kept in step with what changes."""

from __future__ import annotations

import errno
import os
import random
from dataclasses import replace
from pathlib import Path

import pytest

from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards import manifest, shard_files
from vidsim.ingest.shards.catalog import Totals
from vidsim.ingest.shards.home import Home, LibraryNote, Place, open_shards
from vidsim.ingest.shards.shard_files import Shards
from vidsim.ingest.sync.writer import Writer
from vidsim.schemas.errors import StoreError

from ...helpers.embedded_videos import embedded
from ...helpers.ingests import in_step

KINDS = (("labhist",), ("i3d", "yamnet"), ("labhist", "yamnet"))


def note_from_shards(home: Path) -> LibraryNote:
    (home / "counts" / "lib.json").unlink()
    return Home(Place(home)).note("lib")


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.acceptance) for seed in (1, 2, 3))]
)
def test_a_writer_leaves_the_note_that_the_shards_would_give(tmp_path, seed):
    chance = random.Random(seed)
    place = Place(tmp_path)
    home = Home(place)
    with open_store(place, writing=True) as store:
        writer = Writer(store, home, "lib", {}, weights=dict.fromkeys(home.backbones, ""))
        for step in range(12):
            for video_id in {f"lib/{chance.randrange(8)}.mp4" for _ in range(3)}:
                video = embedded(
                    video_id,
                    fingerprint=f"f{chance.randrange(2)}",
                    backbones=chance.choice(KINDS),
                    segments=chance.randrange(1, 3),
                    silent=chance.random() < 0.3,
                    seed=step,
                )
                writer.add(video)
            writer.flush()
            if chance.random() < 0.4:
                writer.forget([chance.choice(sorted(writer.catalog))])
            kept = home.note("lib")
            assert (tmp_path / "counts" / "lib.json").exists()
            assert replace(note_from_shards(tmp_path), first=kept.first) == kept
            assert kept.first in [entry.video for entry in writer.catalog.values()]
            assert kept.videos == len(open_shards(tmp_path).catalog("lib")) > 0


def test_what_no_video_has_any_more_is_in_no_total(tmp_path):
    shards = Shards(tmp_path / "shards")
    shards.write("lib", [embedded("lib/a.mp4"), embedded("lib/b.wav", backbones=("yamnet",))])
    catalog = shards.catalog("lib")
    totals = Totals.of(catalog)
    totals.subtract([catalog.pop("lib/b.wav")])
    assert totals.backbones() == {"labhist", "efficientnet_lite0"}
    assert totals.stored_weights().keys() == {"labhist", "efficientnet_lite0"}
    assert (totals.videos, totals.segments, totals.seconds) == (1, 1, 10.0)


def test_only_shards_that_changed_are_read_again(tmp_path, monkeypatch):
    shards = Shards(tmp_path / "shards")
    for name in "abc":
        shards.write("lib", [embedded(f"lib/{name}.mp4")])
    shards.catalog("lib")
    read = []
    reading = shard_files.entries_in

    def counted(file, path):
        read.append(path.name)
        return reading(file, path)

    shards.write("lib", [embedded("lib/d.mp4")])
    shards.drop("lib", {"lib/b.mp4": None})
    monkeypatch.setattr(shard_files, "entries_in", counted)
    assert list(shards.catalog("lib")) == ["lib/a.mp4", "lib/c.mp4", "lib/d.mp4"]
    assert read == ["000004.h5"]


def test_videos_of_the_same_numbers_share_what_is_said_of_them(tmp_path):
    shards = Shards(tmp_path / "shards")
    shards.write("lib", [embedded(f"lib/{n}.mp4", seed=n, segments=1 + n % 2) for n in range(6)])
    shards.write("lib", [embedded(f"lib/{n}.mp4", backbones=("i3d",), seed=n) for n in range(3)])
    entries = shards.catalog("lib").values()
    assert len({id(entry.stored) for entry in entries}) == len({str(e.stored) for e in entries}) < 6


def test_a_shard_that_cannot_be_looked_at_is_no_shard_that_is_gone(tmp_path, monkeypatch):
    shards = Shards(tmp_path / "shards")
    first = shards.write("lib", [embedded("lib/a.mp4")])
    shards.write("lib", [embedded("lib/b.mp4")])
    stat = Path.stat

    def failing(path, **options):
        if path == first:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return stat(path, **options)

    monkeypatch.setattr(Path, "stat", failing)
    with pytest.raises(StoreError, match=r"000001\.h5 .*input/output error"):
        shards.catalog("lib")


def test_a_merge_that_fails_half_way_leaves_a_writer_that_goes_on(tmp_path, monkeypatch):
    place = Place(tmp_path)
    home = Home(place)
    writing, deleting = manifest.write_manifest, []

    def full_once(folder, notes):
        """Fails where shards that were merged have been deleted, the first time."""
        if len(deleting) == 1 and not deleting.append(False):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if not deleting and any(name.endswith(manifest.GIVEN_UP) for name in notes):
            deleting.append(True)
        writing(folder, notes)

    monkeypatch.setattr(shard_files, "write_manifest", full_once)
    with open_store(place, writing=True) as store:
        writer = Writer(store, home, "lib", {}, weights={"labhist": ""})
        for n in range(20):
            writer.add(embedded(f"lib/{n}.mp4", backbones=("labhist",), seed=n))
            writer.flush()
        writer.finish()
    assert any("were not merged" in note for note in writer.notes)
    assert len(Home(place).shards.catalog("lib")) == 20
    in_step(place)
