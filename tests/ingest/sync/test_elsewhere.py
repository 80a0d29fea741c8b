"""Folders that were renamed or moved keep their embeddings, as another library or as the same one.

As in `ingest/test_pipeline.py`, `networks` stands in for decoders and networks and tells what it
was given.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from vidsim.ingest.milvus.store import Store
from vidsim.ingest.models.weights import digests
from vidsim.ingest.shards.home import Place, open_shards
from vidsim.ingest.shards.open_shard import is_shard
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.errors import StoreError
from vidsim.search.library import Library

from ...helpers.ingests import in_step, ingest, note_weights, write_files
from ...helpers.killed import kill_ingest

FILES = {"a.mp4": "a", "snow/b.mp4": "b", "snow/c.mp4": "c"}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_files(tmp_path / "archive", FILES)


def ids(place: Place, library: str) -> list[str]:
    return sorted(open_shards(place.home).catalog(library))


def libraries(place: Place) -> list[str]:
    return open_shards(place.home).libraries()


def only_shard(place: Place, library: str) -> Path:
    (shard,) = open_shards(place.home).files(library)
    return shard


def weights_of(place: Place, library: str) -> str:
    return open_shards(place.home).weights(library, "efficientnet_lite0")


def vectors(place: Place, video_id: str) -> dict[str, np.ndarray]:
    """What is stored of a video, by backbone."""
    shards = open_shards(place.home)
    found = {}
    for video in shards.read([shards.catalog(video_id.partition("/")[0])[video_id]]):
        for name in video.backbones:
            found[name] = np.concatenate([e.rows[name].vectors for e in video.embeddings])
    return found


# --- a whole folder


def test_a_renamed_folder_is_its_library_under_the_new_name(place, archive, networks):
    ingest(archive, place, "color")
    ingest(archive, place, "frame")
    before = vectors(place, "archive/snow/b.mp4")
    networks.clear()
    films = archive.rename(archive.with_name("films"))
    report = ingest(films, place, "color", "frame")
    assert (networks, report.embedded, report.moved, report.videos) == ([], 0, 3, 3)
    assert (report.moved_from, report.missing, report.failed) == ({"archive": 3}, [], [])
    assert report.notes == ["films/ looks like 'archive', moved: 3 videos re-homed."]
    assert libraries(place) == ["films"]
    assert ids(place, "films") == ["films/a.mp4", "films/snow/b.mp4", "films/snow/c.mp4"]
    stored = open_shards(place.home).catalog("films")["films/snow/b.mp4"].video
    assert (stored.library, stored.path) == ("films", str(films / "snow" / "b.mp4"))
    after = vectors(place, "films/snow/b.mp4")
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert in_step(place, "films") == {"labhist": 6, "efficientnet_lite0": 48}
    assert in_step(place, "archive") == {}
    again = ingest(films, place, "color", "frame")
    assert (again.moved, again.moved_from, again.unchanged, again.notes) == (0, {}, 3, [])
    assert networks == []


def test_the_rows_follow_on_every_milvus(target_place, archive, networks):
    ingest(archive, target_place)
    networks.clear()
    report = ingest(archive.rename(archive.with_name("films")), target_place)
    assert (networks, report.moved) == ([], 3)
    assert in_step(target_place, "films") == {"labhist": 6}
    assert in_step(target_place, "archive") == {}


def test_nothing_of_the_old_name_is_listed_or_left_in_the_home(place, archive, networks):
    ingest(archive, place)
    ingest(archive.rename(archive.with_name("films")), place)
    with Library.open(place.home) as library:
        assert [found.library for found in library.libraries()] == ["films"]
        assert {video.video_id.partition("/")[0] for video in library.videos()} == {"films"}
    left = [path.name for path in place.home.rglob("archive*")]
    assert left == []


def test_a_renamed_folder_keeps_its_name_where_it_is_given(place, archive, networks):
    ingest(archive, place)
    networks.clear()
    films = archive.rename(archive.with_name("films"))
    report = ingest(films, place, library="archive")
    assert (networks, report.videos, report.unchanged, report.moved) == ([], 3, 3, 0)
    assert libraries(place) == ["archive"]
    paths = {entry.video.path for entry in open_shards(place.home).catalog("archive").values()}
    assert paths == {str(films / name) for name in FILES}
    assert in_step(place, "archive") == {"labhist": 6}


def test_a_renamed_folder_takes_any_name_that_is_given(place, archive, networks):
    ingest(archive, place)
    networks.clear()
    ingest(archive.rename(archive.with_name("films")), place, library="cinema")
    assert (networks, libraries(place)) == ([], ["cinema"])
    assert in_step(place, "cinema") == {"labhist": 6}


def test_a_folder_that_moved_under_the_same_name_is_the_same_library(place, archive, networks):
    ingest(archive, place)
    networks.clear()
    (archive.parent / "other" / "place").mkdir(parents=True)
    moved = archive.rename(archive.parent / "other" / "place" / "archive")
    report = ingest(moved, place)
    assert (networks, report.unchanged, report.moved_from) == ([], 3, {})
    paths = {entry.video.path for entry in open_shards(place.home).catalog("archive").values()}
    assert paths == {str(moved / name) for name in FILES}
    assert in_step(place, "archive") == {"labhist": 6}


def test_a_folder_that_was_renamed_and_rearranged_is_known(place, archive, networks):
    ingest(archive, place)
    networks.clear()
    films = archive.rename(archive.with_name("films"))
    (films / "snow").rename(films / "ice")
    os.utime(films / "a.mp4", ns=(1, 1))
    write_files(films, {"new.mp4": "new"})
    (films / "ice" / "c.mp4").unlink()
    report = ingest(films, place)
    assert (networks, report.moved, report.embedded) == (["films/new.mp4"], 2, 1)
    assert report.notes == ["Moved here from 'archive': 2 videos, re-homed; it keeps 1 video."]
    assert ids(place, "films") == ["films/a.mp4", "films/ice/b.mp4", "films/new.mp4"]
    assert ids(place, "archive") == ["archive/snow/c.mp4"]
    assert in_step(place, "films") == {"labhist": 6}
    assert in_step(place, "archive") == {"labhist": 2}


def test_a_folder_that_moved_into_that_of_another_library_is_known(place, archive, networks):
    films = write_files(archive.parent / "films", {"d.mp4": "d"})
    ingest(films, place)
    ingest(archive, place)
    networks.clear()
    archive.rename(films / "archive")
    report = ingest(films, place)
    assert (networks, report.moved, report.unchanged, report.videos) == ([], 3, 1, 4)
    assert libraries(place) == ["films"]
    assert in_step(place, "films") == {"labhist": 8}
    assert report.notes == ["Moved here from 'archive': 3 videos, re-homed; it has no other."]


def test_a_folder_that_leaves_a_link_at_its_old_name_has_moved_to_the_new_one(
    place, archive, networks
):
    ingest(archive, place)
    networks.clear()
    films = archive.rename(archive.with_name("films"))
    archive.symlink_to(films)
    assert ingest(films, place).moved_from == {"archive": 3}
    assert (networks, libraries(place)) == ([], ["films"])


def test_labels_of_a_person_and_the_hash_of_weights_move_along(place, archive, networks):
    ingest(archive, place)
    with Library.open(place.home) as library:
        library.set_labels({"archive/a.mp4": "noon"})
    (shard,) = open_shards(place.home).files("archive")
    note_weights(shard, "labhist", "a" * 64)
    ingest(archive.rename(archive.with_name("films")), place)
    shards = open_shards(place.home)
    labels = {i: entry.video.label for i, entry in shards.catalog("films").items()}
    assert labels == {"films/a.mp4": "noon", "films/snow/b.mp4": "snow", "films/snow/c.mp4": "snow"}
    assert shards.weights("films", "labhist") == "a" * 64


def test_a_file_that_failed_is_not_tried_again_for_the_new_name(place, archive, networks):
    write_files(archive, {"broken.mp4": "damaged"})
    assert len(ingest(archive, place).failed) == 1
    networks.clear()
    films = archive.rename(archive.with_name("films"))
    for _ in range(2):
        (failed,) = ingest(films, place).failed
        assert (failed.path, failed.tried) == (str(films / "broken.mp4"), False)
    assert networks == []
    ingest(films, place, retry=True)
    assert networks == ["films/broken.mp4"]


def test_only_what_a_moved_video_lacks_is_embedded(place, archive, networks):
    ingest(archive, place, "color")
    networks.clear()
    report = ingest(archive.rename(archive.with_name("films")), place, "color", "motion")
    assert sorted(networks) == ["films/a.mp4", "films/snow/b.mp4", "films/snow/c.mp4"]
    assert (report.moved, libraries(place)) == (3, ["films"])
    assert in_step(place, "films") == {"labhist": 6, "i3d_192": 6}


# --- copies, parts, and disks that may be away


def test_a_copied_folder_is_a_library_of_its_own_and_said_to_be_the_same(place, archive, networks):
    ingest(archive, place)
    networks.clear()
    films = shutil.copytree(archive, archive.with_name("films"))
    report = ingest(films, place)
    assert (len(networks), report.embedded, report.moved, report.moved_from) == (3, 3, 0, {})
    assert report.notes == [
        "Also in 'archive', which still has its files: 3 videos. Both libraries hold them."
    ]
    assert libraries(place) == ["archive", "films"]
    assert in_step(place, "archive") == in_step(place, "films") == {"labhist": 6}
    assert ingest(films, place).notes == []


def test_the_same_folder_under_a_second_name_is_a_second_library(place, archive, networks):
    ingest(archive, place)
    report = ingest(archive, place, library="second")
    assert (report.moved_from, libraries(place)) == ({}, ["archive", "second"])


def test_a_part_that_has_moved_is_taken_over_and_the_rest_stays(place, archive, networks):
    ingest(archive, place)
    films = write_files(archive.parent / "films", {"d.mp4": "d"})
    ingest(films, place)
    networks.clear()
    (archive / "snow").rename(films / "snow")
    report = ingest(films, place)
    assert (networks, report.moved, report.moved_from) == ([], 2, {"archive": 2})
    assert report.notes == ["Moved here from 'archive': 2 videos, re-homed; it keeps 1 video."]
    assert ids(place, "archive") == ["archive/a.mp4"]
    assert ids(place, "films") == ["films/d.mp4", "films/snow/b.mp4", "films/snow/c.mp4"]
    assert in_step(place, "archive") == {"labhist": 2}
    assert in_step(place, "films") == {"labhist": 6}
    assert ingest(archive, place).missing == []


def test_a_single_file_that_has_moved_is_taken_over(place, archive, networks):
    ingest(archive, place)
    networks.clear()
    films = write_files(archive.parent / "films", {})
    films.mkdir()
    (archive / "a.mp4").rename(films / "z.mp4")
    report = ingest(films / "z.mp4", place)
    assert (networks, report.moved_from, ids(place, "films")) == (
        [],
        {"archive": 1},
        ["films/z.mp4"],
    )


def test_a_folder_that_may_be_on_a_disk_that_is_away_keeps_its_videos(place, archive, networks):
    ingest(archive, place)
    networks.clear()
    films = write_files(archive.parent / "films", {"a.mp4": "a", "d.mp4": "d"})
    away = archive.rename(archive.with_name("away"))
    report = ingest(films, place)
    assert (sorted(networks), report.moved_from) == (["films/a.mp4", "films/d.mp4"], {})
    (note,) = report.notes
    assert note.startswith("Also in 'archive', most of which is neither here nor where it was: 1 ")
    away.rename(archive)
    assert ingest(archive, place).unchanged == 3


def test_what_a_link_that_leads_nowhere_led_to_is_not_taken_over(place, archive, networks):
    far = write_files(archive.parent / "far", {"d.mp4": "d"})
    (archive / "far").symlink_to(far)
    ingest(archive, place)
    networks.clear()
    films = far.rename(archive.with_name("films"))
    report = ingest(films, place)
    assert (networks, report.moved_from) == (["films/d.mp4"], {})
    assert len(ids(place, "archive")) == 4
    (note,) = report.notes
    assert note.startswith("Also in 'archive', which may still have its files (they cannot be ")


def test_a_library_that_cannot_be_read_stops_no_other(place, archive, networks):
    ingest(archive, place)
    (shard,) = (p for p in (place.home / "shards" / "archive").iterdir() if is_shard(p.name))
    shard.write_bytes(b"no HDF5" * 100)
    report = ingest(archive.rename(archive.with_name("films")), place)
    assert (report.embedded, report.videos, report.moved_from) == (3, 3, {})
    note, _ = report.notes  # and one about the embedded Milvus
    assert note.startswith("It is not known whether files of archive have moved here: The shard")


# --- weights


def test_rows_of_other_weights_do_not_move_into_a_library(place, archive, networks):
    films = write_files(archive.parent / "films", {"d.mp4": "d"})
    ingest(films, place, "frame")
    ingest(archive, place, "frame")
    ours = weights_of(place, "films")
    note_weights(only_shard(place, "archive"), "efficientnet_lite0", "a" * 64)
    networks.clear()
    (archive / "snow").rename(films / "snow")
    report = ingest(films, place, "frame")
    assert (networks, report.moved_from) == (["films/snow/b.mp4", "films/snow/c.mp4"], {})
    assert (weights_of(place, "films"), weights_of(place, "archive")) == (ours, "a" * 64)
    assert report.notes == [
        "Moved here from 'archive', with rows of other weights of efficientnet_lite0 than those "
        "used here: 2 videos, embedded anew; 'archive' keeps the old rows until 'vidsim remove' "
        "takes them out."
    ]
    assert in_step(place, "films") == {"efficientnet_lite0": 48}
    assert ingest(films, place, "frame").notes == []


def test_rows_of_other_weights_do_not_move_to_where_new_ones_are_computed(place, archive, networks):
    ingest(archive, place, "frame")
    note_weights(only_shard(place, "archive"), "efficientnet_lite0", "a" * 64)
    networks.clear()
    films = archive.rename(archive.with_name("films"))
    write_files(films, {"new.mp4": "new"})
    report = ingest(films, place, "frame")
    assert (len(networks), report.moved) == (4, 0)
    assert weights_of(place, "films") == digests(BACKBONES["efficientnet_lite0"]) != ""


@pytest.mark.parametrize("digest", ["a" * 64, ""])
def test_a_renamed_folder_keeps_its_weights_whatever_is_here(place, archive, networks, digest):
    ingest(archive, place, "frame")
    note_weights(only_shard(place, "archive"), "efficientnet_lite0", digest)
    networks.clear()
    report = ingest(archive.rename(archive.with_name("films")), place, "frame")
    assert (networks, report.moved, weights_of(place, "films")) == ([], 3, digest)


def test_folders_of_different_weights_do_not_become_one_library(place, archive, networks):
    other = write_files(archive.parent / "other", {"d.mp4": "d"})
    for folder, digest in ((archive, "a" * 64), (other, "b" * 64)):
        ingest(folder, place, "frame")
        note_weights(only_shard(place, folder.name), "efficientnet_lite0", digest)
    networks.clear()
    films = archive.parent / "films"
    films.mkdir()
    archive.rename(films / "archive")
    other.rename(films / "other")
    report = ingest(films, place, "frame")
    assert ";" not in weights_of(place, "films")
    assert (report.videos, report.missing) == (4, [])


# --- kills and failures


MOMENTS = [
    "after the shard",
    "before the old ids go",
    pytest.param("before the shard", marks=pytest.mark.acceptance),
    pytest.param("before the rows", marks=pytest.mark.acceptance),
    pytest.param("after the rows", marks=pytest.mark.acceptance),
    pytest.param("before the old rows go", marks=pytest.mark.acceptance),
    pytest.param("after the old rows went", marks=pytest.mark.acceptance),
    "after the old ids went",
]


@pytest.mark.acceptance
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_move_of_a_folder_is_gone_on_with(place, archive, networks, moment):
    write_files(archive, {"d.mp4": "d", "e.mp4": "e", "f.mp4": "f"})
    ingest(archive, place, "color", "motion")
    networks.clear()
    films = archive.rename(archive.with_name("films"))
    kill_ingest(films, place, moment, segments_per_shard=2)
    report = ingest(films, place, "color", "motion")
    assert (networks, report.missing, report.videos) == ([], [], 6)
    assert libraries(place) == ["films"]
    assert in_step(place, "films") == {"labhist": 12, "i3d_192": 12}
    assert in_step(place, "archive") == {}
    assert ingest(films, place, "color", "motion").notes == []


@pytest.mark.acceptance
def test_files_that_are_back_after_a_killed_move_stay(place, archive, networks):
    ingest(archive, place, "color", "motion")
    films = archive.rename(archive.with_name("films"))
    kill_ingest(films, place, "before the old ids go", segments_per_shard=2)
    shutil.copytree(films, archive)
    report = ingest(films, place, "color", "motion")
    assert (report.videos, report.moved) == (3, 0)
    assert ingest(archive, place, "color", "motion").unchanged == 3
    assert libraries(place) == ["archive", "films"]
    for library in ("archive", "films"):
        assert in_step(place, library) == {"labhist": 6, "i3d_192": 6}


@pytest.mark.acceptance
def test_a_killed_move_is_ended_once_its_library_can_be_read_again(place, archive, networks):
    ingest(archive, place, "color", "motion")
    films = archive.rename(archive.with_name("films"))
    kill_ingest(films, place, "before the old ids go", segments_per_shard=2)
    shard = only_shard(place, "archive")
    content = shard.read_bytes()
    shard.write_bytes(b"no HDF5" * 100)
    assert ingest(films, place, "color", "motion").videos == 3
    shard.write_bytes(content)
    report = ingest(films, place, "color", "motion")
    assert (report.videos, report.moved_from, libraries(place)) == (3, {"archive": 3}, ["films"])
    assert in_step(place, "films") == {"labhist": 6, "i3d_192": 6}
    assert in_step(place, "archive") == {}


@pytest.mark.acceptance
@pytest.mark.parametrize("operation", ["upsert", "delete", "flush"])
def test_a_failing_milvus_loses_nothing_of_a_folder_that_moves(
    place, archive, networks, small_shards, monkeypatch, operation
):
    ingest(archive, place)
    networks.clear()
    films = archive.rename(archive.with_name("films"))

    def fail(*_):
        raise StoreError("Milvus is away.")

    with monkeypatch.context() as broken:
        broken.setattr(Store, operation, fail)
        assert ingest(films, place).videos == 3
    report = ingest(films, place)
    assert (networks, report.videos, libraries(place)) == ([], 3, ["films"])
    assert in_step(place, "films") == {"labhist": 6}
    with Library.open(place.home) as library:
        library.reindex()
    assert in_step(place, "archive") == {}
