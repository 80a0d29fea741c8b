"""What 'vidsim status' finds out, and 'vidsim libraries' of folders, and that it reads alone."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from vidsim.ingest.shards.home import Home, Place
from vidsim.ingest.shards.lock import writing
from vidsim.ingest.sync.libraries import summarize
from vidsim.ingest.sync.status import look, versions
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.status import LibraryStatus

from ...helpers.embedded_videos import audioset_clip, embedded, store


def stored_from(folder: Path, place: Place, number: int, name: str = "lib") -> list[Path]:
    """Stores videos of a folder, and makes their files."""
    videos = []
    for n in range(number):
        video = embedded(f"{name}/{n:04}.mp4", backbones=("labhist",), seed=n)
        path = folder / name / f"{n:04}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        videos.append(replace(video, video=replace(video.video, path=str(path))))
    store(place, *videos)
    return [Path(video.video.path) for video in videos]


def only_library(place: Place) -> LibraryStatus:
    """As 'vidsim status' has it, and 'vidsim libraries'."""
    (found,) = look(place).libraries
    (listed,) = summarize(place)
    told = listed.root_state, listed.looked_at, listed.missing, listed.root
    assert told == (found.root_state, found.looked_at, found.missing, found.root)
    return found


def test_the_folder_of_a_library_is_here_partly_here_or_gone(place: Place, tmp_path: Path) -> None:
    files = stored_from(tmp_path, place, 3)
    here = only_library(place)
    assert (here.root, here.root_state) == (str(tmp_path / "lib"), "here")
    assert (here.looked_at, here.missing, here.shard_problems) == (3, 0, [])
    assert here.hours == pytest.approx(3 * 10 / 3600)
    files[1].unlink()
    partly = only_library(place)
    assert (partly.root_state, partly.looked_at, partly.missing) == ("partly missing", 3, 1)
    (tmp_path / "lib").rename(tmp_path / "moved")
    (tmp_path / "lib").mkdir()
    empty = only_library(place)
    assert (empty.root_state, empty.looked_at, empty.missing) == ("missing", 3, 3)
    (tmp_path / "lib").rmdir()
    gone = only_library(place)
    assert (gone.root_state, gone.looked_at, gone.missing) == ("missing", 0, 0)


def test_of_a_large_library_a_sample_is_looked_for(place: Place, tmp_path: Path) -> None:
    stored_from(tmp_path, place, 250)
    found = only_library(place)
    assert found.videos == 250
    assert 80 <= found.looked_at <= 100


def test_a_file_that_moved_is_looked_for_where_it_is_now(place: Place, tmp_path: Path) -> None:
    stored_from(tmp_path, place, 1)
    stored_from(tmp_path / "elsewhere", place, 1)
    (tmp_path / "lib" / "0000.mp4").unlink()
    assert only_library(place).missing == 0


def test_an_imported_library_has_no_folder(place: Place) -> None:
    video = embedded("lib/a.mp4", backbones=("labhist",))
    store(place, replace(video, video=replace(video.video, path="https://example.org/a")))
    assert only_library(place).root_state == "no folder"


def test_a_lost_shard_is_told_and_a_damaged_one_hides_no_other_library(
    place: Place, tmp_path: Path
) -> None:
    stored_from(tmp_path, place, 1, "good")
    stored_from(tmp_path, place, 1, "lost")
    stored_from(tmp_path, place, 1, "worse")
    (shard,) = (place.home / "shards" / "lost").glob("*.h5")
    shard.unlink()
    (shard,) = (place.home / "shards" / "worse").glob("*.h5")
    shard.write_bytes(b"no HDF5" * 100)
    good, lost, worse = look(place).libraries
    assert (good.root_state, good.shard_problems) == ("here", [])
    assert str(place.home / "shards" / "lost") in lost.shard_problems[0]
    assert worse.shard_problems


def test_paths_that_cannot_be_read_are_told_and_hide_no_other_library(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored_from(tmp_path, place, 1, "good")
    stored_from(tmp_path, place, 1, "worse")
    for library in ("good", "worse"):
        home = Home(place)
        home.write_note(library, home.shards.catalog(library))
    (shard,) = (place.home / "shards" / "worse").glob("*.h5")
    content = bytearray(shard.read_bytes())
    at = content.index(str(tmp_path / "worse").encode())
    content[at] ^= 1  # the head and the size are as they were, so the note is taken for good
    shard.write_bytes(content)
    good, worse = summarize(place)
    assert (good.root_state, good.damage) == ("here", [])
    assert (worse.root_state, worse.videos) == ("unknown", 1)
    assert "is damaged" in worse.damage[-1]


def test_the_folder_of_an_imported_or_distant_library_is_not_said_to_be_missing(
    place: Place, tmp_path: Path
) -> None:
    video = embedded("lib/a.mp4", backbones=("labhist",))
    store(place, replace(video, video=replace(video.video, path="a.mp4")))
    clip = audioset_clip("sounds/x", "Speech")
    store(place, clip)
    assert [item.root_state for item in summarize(place)] == ["no folder", "no folder"]


def test_sizes_and_weights_are_told(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "cache"))
    stored_from(tmp_path, place, 1)
    found = look(place)
    assert found.home.path == str(place.home)
    assert found.home.bytes == sum(p.stat().st_size for p in place.home.rglob("*") if p.is_file())
    assert found.home.free_bytes > 0
    assert (found.cache.bytes, found.cache.path) == (0, str(tmp_path / "cache"))
    assert {"i3d", "yamnet"} <= {*found.cache.missing_weights}
    assert "labhist" not in found.cache.missing_weights, "it needs none"
    for file in BACKBONES["i3d"].weights.files:
        (tmp_path / "cache" / "weights" / "i3d").mkdir(parents=True, exist_ok=True)
        (tmp_path / "cache" / "weights" / "i3d" / file.name).write_bytes(b"12345")
    there = look(place).cache
    assert (there.weights, there.bytes) == (["i3d"], 5 * len(BACKBONES["i3d"].weights.files))


def test_versions_are_those_that_are_imported() -> None:
    import av
    import pymilvus
    import torch

    found = versions()
    assert found["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert found["PyAV"] == av.__version__
    assert found["pymilvus"] == pymilvus.__version__
    if codecs := found.get("FFmpeg's libavcodec"):
        assert tuple(map(int, codecs.split("."))) == av.library_versions["libavcodec"]
    assert all(re.match(r"\d", version) for version in found.values())


def test_who_holds_the_lock_is_told(place: Place) -> None:
    assert look(place).lock is None
    with writing(place.home, "ingest of lib") as held:
        held.tell(3, 12)
        lock = look(place).lock
    assert lock
    assert (lock.doing, lock.done, lock.total, lock.writes) == ("ingest of lib", 3, 12, True)
    assert lock.pid > 0
    assert lock.since.tzinfo


def test_a_server_answers_or_does_not(place: Place) -> None:
    assert look(place).server is None
    with socket.create_server(("127.0.0.1", 0)) as listening:
        uri = f"http://127.0.0.1:{listening.getsockname()[1]}"
        there = look(replace(place, uri=f"http://me:secret@{uri[7:]}")).server
    gone = look(replace(place, uri=uri)).server
    assert there
    assert (there.uri, there.answers) == (uri, True)
    assert gone
    assert not gone.answers


def test_a_home_that_is_not_there_is_left_so(place: Place) -> None:
    found = look(place)
    assert (found.home.bytes, found.libraries) == (0, [])
    assert not place.home.exists()
