"""Merged shards hold what the small ones held, whatever strikes in between."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from vidsim.ingest.shards import compact as module
from vidsim.ingest.shards.compact import compact, merge_newest
from vidsim.ingest.shards.open_shard import is_shard
from vidsim.ingest.shards.shard_files import Shards
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.embedding import EmbeddedVideo

from ...helpers.embedded_videos import embedded


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture
def shards(tmp_path: Path) -> Shards:
    return Shards(tmp_path / "shards")


def contents(shards: Shards) -> dict[str, object]:
    """All that is stored, by video: entries without their shards, and the bytes of every row."""
    found: dict[str, object] = {}
    catalog = shards.catalog("lib")
    rows: dict[str, dict[str, bytes]] = {}
    for video in shards.read(catalog.values()):
        for part in video.embeddings:
            for name, of in part.rows.items():
                kept = rows.setdefault(video.video.video_id, {})
                kept[name] = kept.get(name, b"") + of.vectors.tobytes() + of.start_s.tobytes()
            if part.vid2img is not None:
                rows[video.video.video_id]["strip"] = part.vid2img.tobytes()
    for video_id, entry in catalog.items():
        found[video_id] = (
            entry.version,
            entry.rows,
            entry.stored.described,
            entry.weights,
            entry.segments,
            rows.get(video_id),
        )
    return found


def many(shards: Shards, count: int) -> None:
    for i in range(count):
        shards.write("lib", [embedded(f"lib/{i:03}.mp4", segments=1 + i % 2, seed=i)])


def test_small_shards_become_one_that_holds_the_same(shards):
    many(shards, 5)
    shards.write("lib", [embedded("lib/001.mp4", backbones=("i3d", "yamnet"), seed=1, segments=2)])
    shards.write("lib", [embedded("lib/002.mp4", fingerprint="f1", backbones=("i3d",))])
    before = contents(shards)
    assert compact(shards, "lib") == (7, 1)
    assert contents(shards) == before
    assert shards.problems("lib") == []
    assert not any(map(shards.is_changed, shards.files("lib")))
    assert compact(shards, "lib") == (1, 1)
    shards.write("lib", [embedded("lib/new.mp4")])
    assert {*contents(shards)} == {*before, "lib/new.mp4"}


def test_an_ingest_merges_once_many_are_small(shards):
    many(shards, module.SMALL_SHARDS - 1)
    assert not merge_newest(shards, "lib")
    shards.write("lib", [embedded("lib/last.mp4")])
    before = contents(shards)
    assert merge_newest(shards, "lib")
    assert len(shards.files("lib")) == 1
    assert contents(shards) == before


def test_shards_of_other_weights_stay_apart(shards):
    for digest in ("a" * 64, "a" * 64, "b" * 64):
        video = embedded(f"lib/{len(shards.files('lib'))}.mp4", backbones=("i3d",))
        shards.write("lib", [video], {"i3d": digest})
    before = contents(shards)
    assert compact(shards, "lib") == (3, 2)
    assert contents(shards) == before


def test_large_ones_are_left_alone(shards, monkeypatch):
    many(shards, 4)
    monkeypatch.setattr(module, "MERGED_BYTES", 2 * shards.files("lib")[0].stat().st_size + 100_000)
    before = contents(shards)
    assert compact(shards, "lib")[1] == 2
    assert contents(shards) == before


@pytest.mark.acceptance
@pytest.mark.parametrize("struck", ["replace", "unlink"])
def test_a_merge_that_is_killed_loses_and_doubles_nothing(shards, monkeypatch, struck):
    many(shards, 4)
    before = contents(shards)
    real = getattr(os, struck)
    for strike_at in range(1, 8):
        calls = iter(range(1, 100))

        def struck_call(
            *args: object, calls=calls, strike_at: int = strike_at, **options: object
        ) -> object:
            if next(calls) == strike_at:
                raise Killed
            return real(*args, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, struck, struck_call)
            with contextlib.suppress(Killed):
                compact(Shards(shards.directory), "lib")
        assert contents(Shards(shards.directory)) == before
        assert shards.problems("lib") == []
    shards.adopt("lib")
    compact(shards, "lib")
    assert contents(shards) == before
    assert shards.problems("lib") == []
    assert len(shards.files("lib")) == 1


def test_shards_that_a_killed_merge_did_not_delete_go_with_the_next_command(shards, monkeypatch):
    many(shards, 4)
    before = contents(shards)
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if is_shard(path.name):
            raise Killed
        real(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(Killed):
            compact(shards, "lib")
    assert len(shards.files("lib")) == 4
    assert shards.problems("lib") == []
    shards.adopt("lib")
    assert len(shards.files("lib")) == 1
    assert contents(shards) == before
    assert shards.problems("lib") == []


def test_shards_of_the_first_layout_are_brought_up_to_date(shards):
    video: EmbeddedVideo = embedded("lib/a.mp4")
    path = shards.write("lib", [video])
    import h5py

    with h5py.File(path, "r+") as file:
        del file["searched"]
        file.attrs["version"] = 1
    shards.settle("lib")
    before = contents(shards)
    assert compact(shards, "lib") == (1, 1)
    assert contents(shards) == before
    with h5py.File(path) as file:
        assert "searched" in file


def test_rows_that_were_replaced_do_not_come_back(shards):
    """A sound that was computed anew has no rows in its silent segment."""
    first = embedded("lib/a.mp4", backbones=("yamnet", "i3d"), segments=2, seed=1)
    again = embedded("lib/a.mp4", backbones=("yamnet",), segments=2, seed=2)
    silent = replace(again.embeddings[1], rows={})
    shards.write("lib", [first])
    shards.write("lib", [replace(again, embeddings=(again.embeddings[0], silent))])
    before = contents(shards)
    compact(shards, "lib")
    assert shards.catalog("lib")["lib/a.mp4"].rows == {"i3d": 2, "yamnet": 10}
    (whole,) = shards.read(shards.catalog("lib").values())
    assert whole.row_counts() == {"i3d": 2, "yamnet": 10}
    assert {*before} == {*contents(shards)}


def test_shards_of_a_backbone_that_is_not_known_here_stay_as_they_are(shards):
    for i in range(3):
        names = ("i3d", "labhist") if i == 1 else ("labhist",)
        shards.write("lib", [embedded(f"lib/{i}.mp4", backbones=names)])
    known = {name: b for name, b in BACKBONES.items() if name != "i3d"}
    assert compact(Shards(shards.directory, known), "lib") == (3, 3)
