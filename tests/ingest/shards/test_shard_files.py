"""Shards: what is written is what is read; later entries count; dropping is for good."""

from __future__ import annotations

import itertools
import os
import threading
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import h5py
import numpy as np
import pytest

from vidsim.ingest.shards.lock import writing
from vidsim.ingest.shards.shard_files import Shards
from vidsim.schemas.embedding import EmbeddedVideo
from vidsim.schemas.errors import StoreError

from ...helpers.embedded_videos import embedded


def read_one(shards: Shards, video_id: str) -> EmbeddedVideo:
    library = video_id.split("/")[0]
    (video,) = shards.read([shards.catalog(library)[video_id]])
    return video


def same(a: EmbeddedVideo, b: EmbeddedVideo) -> bool:
    return (a.video, a.segments, a.backbones, a.duration_s) == (
        b.video,
        b.segments,
        b.backbones,
        b.duration_s,
    ) and all(
        np.array_equal(x.rows[name].vectors, y.rows[name].vectors)
        and np.array_equal(x.rows[name].start_s, y.rows[name].start_s)
        and np.array_equal(x.vid2img, y.vid2img)
        for x, y in zip(a.embeddings, b.embeddings, strict=True)
        for name in x.rows
    )


@pytest.fixture
def shards(tmp_path):
    return Shards(tmp_path / "shards")


def test_what_is_written_is_read(shards):
    videos = [
        embedded("lib/a.mp4", segments=3, seed=1),
        embedded("lib/b/é 名.mp4", backbones=("labhist", "yamnet"), silent=True, seed=2),
        embedded("lib/c.wav", backbones=("yamnet",), seed=3),
    ]
    shards.write("lib", videos)
    catalog = shards.catalog("lib")
    assert list(catalog) == [v.video.video_id for v in videos]
    assert catalog["lib/b/é 名.mp4"].rows == {"labhist": 1, "yamnet": 0}
    assert catalog["lib/a.mp4"].segments == 3
    for video in videos:
        assert same(video, read_one(shards, video.video.video_id))


def test_later_modalities_join_earlier_ones(shards):
    shards.write("lib", [embedded("lib/a.mp4", backbones=("labhist",))])
    shards.write("lib", [embedded("lib/a.mp4", backbones=("i3d",))])
    entry = shards.catalog("lib")["lib/a.mp4"]
    assert entry.rows == {"labhist": 1, "i3d": 1}
    assert {n for v in shards.read([entry]) for n in v.backbones} == {"labhist", "i3d"}


def test_an_edited_file_replaces_what_was_there(shards):
    shards.write("lib", [embedded("lib/a.mp4", seed=1), embedded("lib/b.mp4", seed=2)])
    new = embedded("lib/a.mp4", fingerprint="f1", backbones=("i3d",), seed=3)
    shards.write("lib", [new])
    assert shards.catalog("lib")["lib/a.mp4"].rows == {"i3d": 1}
    shards.drop("lib", {"lib/a.mp4": shards.catalog("lib")["lib/a.mp4"].version})
    assert shards.catalog("lib")["lib/a.mp4"].rows == {"i3d": 1}
    with h5py.File(shards.files("lib")[0]) as first:
        assert list(first["videos/video_id"].asstr()) == ["lib/b.mp4"]


def test_dropping_everything_leaves_nothing(shards):
    shards.write("lib", [embedded("lib/a.mp4"), embedded("lib/b.mp4")])
    shards.drop("lib", {"lib/a.mp4": None})
    assert list(shards.catalog("lib")) == ["lib/b.mp4"]
    shards.drop("lib", {"lib/b.mp4": None})
    assert shards.libraries() == []


def test_a_library_whose_last_shard_was_about_to_go_is_gone_with_it(shards, monkeypatch):
    shards.write("lib", [embedded("lib/a.mp4")])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            shards.drop("lib", {"lib/a.mp4": None})
    assert shards.libraries() == ["lib"]
    shards.files("lib")[0].unlink()  # and then it was killed
    assert shards.libraries() == []
    shards.write("lib", [embedded("lib/b.mp4")])
    assert shards.problems("lib") == []
    assert list(shards.catalog("lib")) == ["lib/b.mp4"]


def test_a_half_written_shard_is_not_seen(shards):
    path = shards.write("lib", [embedded("lib/a.mp4")])
    (path.parent / "000002.partial").write_bytes(b"half")
    assert list(shards.catalog("lib")) == ["lib/a.mp4"]
    shards.write("lib", [embedded("lib/b.mp4")])
    assert not list(path.parent.glob("*.partial"))


def test_a_damaged_shard_says_what_to_do(shards):
    path = shards.write("lib", [embedded("lib/a.mp4")])
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StoreError, match="damaged.*verify --repair.*vidsim ingest"):
        shards.catalog("lib")


def test_a_full_disk_leaves_the_old_shards(shards, monkeypatch):
    shards.write("lib", [embedded("lib/a.mp4")])

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StoreError, match="No space left.*free some space"):
        shards.write("lib", [embedded("lib/b.mp4")])
    assert list(shards.catalog("lib")) == ["lib/a.mp4"]


def test_a_disk_that_is_full_for_one_write_leaves_the_old_shards(shards, monkeypatch):
    """HDF5 drops some errors, and the rows of that write would be read as zeros."""
    kept = embedded("lib/a.mp4", seed=1)
    shards.write("lib", [kept])
    real = os.write

    def write_but(number):
        calls = itertools.count(1)

        def write(handle, data):
            if next(calls) == number:
                raise OSError(28, "No space left on device")
            return real(handle, data)

        return write

    new = embedded("lib/b.mp4", seed=2)
    for number in itertools.count(1):
        with monkeypatch.context() as patch:
            patch.setattr("os.write", write_but(number))
            with suppress(StoreError):
                shards.write("lib", [new])
                break
        assert list(shards.catalog("lib")) == ["lib/a.mp4"]
    assert number > 10
    assert same(new, read_one(shards, "lib/b.mp4"))


def test_what_is_pinned_stays_as_it_was_while_others_write(shards):
    videos = [embedded(f"lib/{name}.mp4", seed=n) for n, name in enumerate("abc")]
    shards.write("lib", videos[:2])
    shards.write("lib", videos[2:])
    writer = Shards(shards.directory)
    with shards.pinned():
        catalog = shards.catalog("lib")
        writer.drop("lib", {"lib/c.mp4": None, "lib/a.mp4": None})
        writer.write("lib", [embedded("lib/d.mp4")])
        assert shards.catalog("lib") == catalog
        read = {v.video.video_id: v for v in shards.read(catalog.values())}
        assert all(same(read[v.video.video_id], v) for v in videos)
    assert list(shards.catalog("lib")) == ["lib/b.mp4", "lib/d.mp4"]


def test_a_shard_that_is_written_between_looking_and_reading_the_list_is_not_missed(
    shards, monkeypatch
):
    shards.write("lib", [embedded("lib/a.mp4")])
    real, struck = Shards.files, []

    def files(self: Shards, library: str) -> list[Path]:
        found = real(self, library)
        if not struck:
            struck.append(True)
            Shards(shards.directory).write("lib", [embedded("lib/b.mp4")])
        return found

    monkeypatch.setattr(Shards, "files", files)
    assert shards.problems("lib") == []
    assert struck


def test_a_library_that_never_stays_the_same_is_not_read_half(shards, monkeypatch):
    shards.write("lib", [embedded("lib/a.mp4")])
    real, edits = Shards.files, itertools.count()

    def files(self: Shards, library: str) -> list[Path]:
        os.utime(real(self, library)[0], (next(edits),) * 2)
        return real(self, library)

    monkeypatch.setattr(Shards, "files", files)
    with pytest.raises(StoreError, match="change faster than they are read; ask again"):
        shards.catalog("lib")


def test_a_shard_that_vanishes_once_it_was_listed_is_no_error(shards, monkeypatch):
    gone = shards.write("lib", [embedded("lib/a.mp4")])
    shards.write("lib", [embedded("lib/b.mp4")])
    real = os.stat

    def stat(path, *args, **options):
        if str(path) == str(gone):
            gone.unlink(missing_ok=True)
        return real(path, *args, **options)

    monkeypatch.setattr(os, "stat", stat)
    assert list(Shards(shards.directory).catalog("lib")) == ["lib/b.mp4"]


def test_the_number_of_a_lost_shard_is_not_used_again(shards):
    shards.write("lib", [embedded("lib/a.mp4")])
    shards.write("lib", [embedded("lib/b.mp4")]).unlink()
    assert shards.write("lib", [embedded("lib/c.mp4")]).name == "000003.h5"
    assert shards.missing("lib") == ["000002.h5"]


def test_an_older_copy_that_is_put_back_is_not_taken_for_the_shard(shards):
    path = shards.write("lib", [embedded("lib/a.mp4"), embedded("lib/b.mp4", seed=1)])
    shards.drop("lib", {"lib/a.mp4": None})
    older = path.read_bytes()
    shards.write("lib", [embedded("lib/c.mp4")])
    shards.drop("lib", {"lib/c.mp4": None})
    path.write_bytes(older + b"\0")
    shards.adopt("lib")
    assert "is not the one that was written there" in shards.problems("lib")[0]


def test_a_damaged_shard_that_is_read_in_a_thread_blocks_no_other(shards):
    """h5py holds its lock while it yields the members of a group."""
    good = shards.write("lib", [embedded("lib/a.mp4")])
    bad = shards.write("lib", [embedded("lib/b.mp4")])
    with h5py.File(bad) as file:
        rows = file["rows/efficientnet_lite0/vectors"]
        at = rows.id.get_chunk_info(0).byte_offset
    content = bytearray(bad.read_bytes())
    content[at + 8] ^= 1
    bad.write_bytes(content)
    caught = []

    def read() -> None:
        try:
            list(shards.read(shards.catalog("lib").values()))
        except StoreError as error:
            caught.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(30)
    assert caught
    with h5py.File(good) as file:
        assert len(file["videos/video_id"]) == 1


def test_stray_files_in_the_folder_of_shards_are_no_libraries(shards):
    shards.write("lib", [embedded("lib/a.mp4")])
    (shards.directory / ".DS_Store").write_bytes(b"x")
    (shards.directory / "lib" / "000001_old.h5").write_bytes(b"x")
    assert shards.libraries() == ["lib"]
    assert len(shards.catalog("lib")) == 1


def test_a_shard_that_was_renamed_and_not_yet_listed_is_known(shards, monkeypatch):
    shards.write("lib", [embedded("lib/a.mp4")])
    with monkeypatch.context() as patch:
        patch.setattr(Shards, "_list", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            shards.write("lib", [embedded("lib/b.mp4")])
        with pytest.raises(KeyboardInterrupt):
            shards.drop("lib", {"lib/a.mp4": None, "lib/nothing.mp4": None})
    after = Shards(shards.directory)
    assert after.unlisted("lib") == []
    after.adopt("lib")
    assert after.problems("lib") == []
    assert not any(map(after.is_changed, after.files("lib")))


def test_the_first_shard_of_a_library_is_known_before_there_is_a_list(shards, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Shards, "_list", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            shards.write("lib", [embedded("lib/a.mp4")])
    assert Shards(shards.directory).problems("lib") == []


def test_a_library_whose_first_shard_was_never_written_is_none(shards, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", Mock(side_effect=[None, None, None, None, KeyboardInterrupt]))
        with pytest.raises(KeyboardInterrupt):
            shards.write("lib", [embedded("lib/a.mp4")])
    assert list((shards.directory / "lib").iterdir()), "it was announced"
    assert shards.libraries() == []
    shards.write("lib", [embedded("lib/b.mp4")])
    assert shards.problems("lib") == []


def test_another_shard_of_the_same_size_is_not_taken_for_the_one_that_was_written(shards):
    one, other = (shards.write("lib", [embedded(f"lib/{name}.mp4")]) for name in "ab")
    assert one.stat().st_size == other.stat().st_size
    assert shards.problems("lib") == []
    other.write_bytes(one.read_bytes())
    (told,) = shards.problems("lib")
    assert f"{other} is not the one that was written there" in told
    assert [shards.is_replaced(path) for path in (one, other)] == [False, True]


@pytest.mark.parametrize("left", [None, b"", b"{}", b'{"content": {}, "sha256": ""}'])
def test_a_lost_shard_is_told_though_the_list_of_shards_is_lost_too(shards, left):
    first = shards.write("lib", [embedded("lib/a.mp4")])
    shards.write("lib", [embedded("lib/b.mp4")]).unlink()
    listing = first.with_name("manifest.json")
    listing.unlink()
    if left is not None:
        listing.write_bytes(left)
    assert shards.missing("lib") == ["000002.h5"]
    assert "000002.h5 is missing" in shards.problems("lib")[0]
    shards.adopt("lib")
    assert listing.read_bytes() == listing.with_name("manifest.copy.json").read_bytes()
    assert shards.missing("lib") == ["000002.h5"]


@pytest.mark.parametrize("name", ["manifest.json", "manifest.copy.json"])
def test_an_older_list_or_another_librarys_says_nothing_of_the_shards(shards, name):
    path = shards.write("lib", [embedded("lib/a.mp4"), embedded("lib/b.mp4", seed=1)])
    older = path.with_name(name).read_bytes()
    shards.drop("lib", {"lib/a.mp4": None})
    newest = path.with_name(name).read_bytes()
    another = shards.write("other", [embedded("other/a.mp4")]).with_name(name).read_bytes()
    for content in (older, another):
        path.with_name(name).write_bytes(content)
        assert shards.problems("lib") == []
        assert not shards.is_replaced(path)
        shards.adopt("lib")
        assert {listing.read_bytes() for listing in path.parent.glob("manifest*")} == {newest}


def test_a_library_without_any_list_of_its_shards_says_that_none_would_be_missed(shards):
    first = shards.write("lib", [embedded("lib/a.mp4")])
    for listing in first.parent.glob("manifest*"):
        listing.unlink()
    (told,) = shards.problems("lib")
    assert "no missing shard would be noticed; 'vidsim verify --repair'" in told
    shards.adopt("lib")
    assert shards.problems("lib") == []


def test_the_first_shard_that_is_just_being_written_is_no_sign_of_a_lost_list(shards):
    first = shards.write("lib", [embedded("lib/a.mp4")])
    for listing in first.parent.glob("manifest*"):
        listing.unlink()
    with writing(shards.directory.parent, "ingest of lib"):
        assert shards.problems("lib") == []
