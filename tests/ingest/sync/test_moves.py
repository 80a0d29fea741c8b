"""Files that were renamed or moved keep their embeddings; folders that cannot be listed keep all.

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
from vidsim.ingest.shards.catalog import CatalogEntry, StoredRows
from vidsim.ingest.shards.home import Place, open_shards
from vidsim.ingest.sync.moves import match
from vidsim.schemas.errors import StoreError
from vidsim.schemas.video import Video

from ...helpers.ingests import in_step, ingest, note_weights, write_files
from ...helpers.killed import kill_ingest


def vectors(place: Place, video_id: str) -> dict[str, np.ndarray]:
    """What is stored of a video, by backbone."""
    shards = open_shards(place.home)
    found = {}
    for video in shards.read([shards.catalog("lib")[video_id]]):
        for name in video.backbones:
            found[name] = np.concatenate([e.rows[name].vectors for e in video.embeddings])
    return found


def ids(place: Place) -> list[str]:
    return sorted(open_shards(place.home).catalog("lib"))


# --- renamed and moved


def test_a_renamed_folder_keeps_its_embeddings_under_the_new_label(place, folder, networks):
    ingest(folder, place, "color")
    ingest(folder, place, "frame")
    before = vectors(place, "lib/snow/b.mp4")
    networks.clear()
    (folder / "snow").rename(folder / "ice")
    report = ingest(folder, place, "color", "frame")
    assert (networks, report.embedded, report.moved, report.unchanged) == ([], 0, 2, 1)
    assert (report.missing, report.removed, report.videos, report.notes) == ([], 0, 3, [])
    assert ids(place) == ["lib/a.mp4", "lib/ice/b.mp4", "lib/ice/c.mp4"]
    moved = open_shards(place.home).catalog("lib")["lib/ice/b.mp4"].video
    assert (moved.label, moved.path) == ("ice", str(folder / "ice" / "b.mp4"))
    after = vectors(place, "lib/ice/b.mp4")
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert in_step(place) == {"labhist": 6, "efficientnet_lite0": 48}
    again = ingest(folder, place, "color", "frame")
    assert (again.moved, again.unchanged, again.notes, networks) == (0, 3, [], [])


def test_a_copy_is_a_new_video(place, folder, networks):
    ingest(folder, place)
    networks.clear()
    shutil.copy(folder / "a.mp4", folder / "copy.mp4")
    report = ingest(folder, place)
    assert (networks, report.moved, report.embedded) == (["lib/copy.mp4"], 0, 1)
    assert in_step(place) == {"labhist": 8}


def test_an_original_that_goes_after_it_was_copied_is_missing(place, folder, networks):
    shutil.copy(folder / "a.mp4", folder / "copy.mp4")
    ingest(folder, place)
    (folder / "a.mp4").unlink()
    report = ingest(folder, place)
    assert (report.moved, report.missing, report.videos) == (0, ["lib/a.mp4"], 4)
    assert in_step(place) == {"labhist": 8}


def test_of_several_gone_with_the_same_content_one_is_taken_for_each_that_comes(
    place, networks, tmp_path
):
    lib = write_files(tmp_path / "lib", {"1/x.mp4": "same", "2/y.mp4": "same", "3/z.mp4": "same"})
    write_files(lib, {"keep.mp4": "keep"})
    ingest(lib, place)
    networks.clear()
    for number in "123":
        shutil.rmtree(lib / number)
    write_files(lib, {"new/y.mp4": "same", "new/other.mp4": "same"})
    report = ingest(lib, place)
    assert (networks, report.moved, report.embedded) == ([], 2, 0)
    assert report.missing == ["lib/3/z.mp4"]  # y.mp4 took the one of its name, other.mp4 the next
    assert ids(place) == ["lib/3/z.mp4", "lib/keep.mp4", "lib/new/other.mp4", "lib/new/y.mp4"]
    assert in_step(place) == {"labhist": 8}
    assert ingest(lib, place, prune=True).removed == 1
    assert in_step(place) == {"labhist": 6}


def test_a_file_that_is_moved_over_another_takes_its_place(place, folder, networks):
    ingest(folder, place)
    networks.clear()
    os.replace(folder / "a.mp4", folder / "snow" / "b.mp4")
    report = ingest(folder, place)
    assert (networks, report.moved, report.missing, report.videos) == ([], 1, [], 2)
    assert ids(place) == ["lib/snow/b.mp4", "lib/snow/c.mp4"]
    assert in_step(place) == {"labhist": 4}


def test_a_moved_file_gets_only_the_modality_that_it_lacks(place, folder, networks):
    ingest(folder, place, "color")
    networks.clear()
    (folder / "a.mp4").rename(folder / "z.mp4")
    report = ingest(folder, place, "color", "motion")
    assert sorted(networks) == ["lib/snow/b.mp4", "lib/snow/c.mp4", "lib/z.mp4"]
    assert (report.moved, report.missing) == (1, [])
    assert in_step(place) == {"labhist": 6, "i3d_192": 6}


def test_a_library_that_moved_and_was_renamed_inside_keeps_all(place, folder, networks, tmp_path):
    ingest(folder, place)
    networks.clear()
    (tmp_path / "far").mkdir()
    lib = folder.rename(tmp_path / "far" / "lib")
    (lib / "snow").rename(lib / "ice")
    report = ingest(lib, place, prune=True)
    assert (networks, report.moved, report.unchanged, report.removed) == ([], 2, 1, 0)
    paths = {e.video.path for e in open_shards(place.home).catalog("lib").values()}
    assert paths == {str(lib / name) for name in ("a.mp4", "ice/b.mp4", "ice/c.mp4")}
    assert in_step(place) == {"labhist": 6}


def test_a_moved_file_that_is_given_alone_keeps_its_embeddings(place, folder, networks):
    ingest(folder, place)
    networks.clear()
    (folder / "a.mp4").rename(folder / "z.mp4")
    report = ingest(folder / "z.mp4", place)
    assert (networks, report.moved, report.videos) == ([], 1, 3)
    assert in_step(place) == {"labhist": 6}


def test_rows_that_move_keep_the_hash_of_their_own_weights(place, folder, networks):
    ingest(folder, place)
    (shard,) = open_shards(place.home).files("lib")
    note_weights(shard, "labhist", "a" * 64)
    (folder / "a.mp4").rename(folder / "z.mp4")
    ingest(folder, place)
    assert open_shards(place.home).weights("lib", "labhist") == "a" * 64


@pytest.mark.parametrize("operation", ["upsert", "delete", "flush"])
def test_a_failing_milvus_loses_nothing_that_moves(
    place, folder, networks, small_shards, monkeypatch, operation
):
    ingest(folder, place)
    networks.clear()
    (folder / "snow").rename(folder / "ice")

    def fail(*_):
        raise StoreError("Milvus is away.")

    with monkeypatch.context() as broken:
        broken.setattr(Store, operation, fail)
        report = ingest(folder, place)
    assert (report.moved, report.videos, len(report.notes)) == (2, 3, 1)
    ingest(folder, place)
    assert networks == []
    assert in_step(place) == {"labhist": 6}


@pytest.mark.parametrize(
    "moment",
    [
        "after the shard",
        "before the old rows go",
        pytest.param("before the shard", marks=pytest.mark.acceptance),
        pytest.param("before the rows", marks=pytest.mark.acceptance),
        pytest.param("after the rows", marks=pytest.mark.acceptance),
        pytest.param("after the old rows went", marks=pytest.mark.acceptance),
        pytest.param("before the old ids go", marks=pytest.mark.acceptance),
        pytest.param("after the old ids went", marks=pytest.mark.acceptance),
    ],
)
def test_a_move_that_is_killed_is_gone_on_with(place, folder, networks, moment):
    ingest(folder, place, "color", "motion")
    networks.clear()
    (folder / "snow").rename(folder / "ice")
    kill_ingest(folder, place, moment, segments_per_shard=2)
    report = ingest(folder, place, "color", "motion")
    assert (networks, report.missing, report.videos) == ([], [], 3)
    assert ids(place) == ["lib/a.mp4", "lib/ice/b.mp4", "lib/ice/c.mp4"]
    assert in_step(place) == {"labhist": 6, "i3d_192": 6}
    assert ingest(folder, place, "color", "motion").notes == []


def test_a_file_that_is_back_after_a_killed_move_stays(place, folder, networks):
    ingest(folder, place, "color", "motion")
    kill_a_move(place, folder)
    shutil.copytree(folder / "ice", folder / "snow")
    report = ingest(folder, place, "color", "motion")
    assert (report.videos, report.moved, report.missing) == (5, 0, [])
    assert in_step(place) == {"labhist": 10, "i3d_192": 10}
    shutil.rmtree(folder / "snow")  # which is no move: those of ice are videos of their own now
    assert len(ingest(folder, place, "color", "motion").missing) == 2


def kill_a_move(place: Place, folder: Path) -> None:
    """Renames snow to ice and stops the ingest once both ids are stored."""
    (folder / "snow").rename(folder / "ice")
    kill_ingest(folder, place, "before the old ids go", segments_per_shard=2)


def test_a_killed_move_is_ended_by_an_ingest_of_any_file(place, folder, networks):
    ingest(folder, place, "color", "motion")
    kill_a_move(place, folder)
    report = ingest(folder / "a.mp4", place, "color", "motion")
    assert (report.moved, report.videos) == (2, 3)
    assert in_step(place) == {"labhist": 6, "i3d_192": 6}


def test_a_killed_move_is_ended_once_the_old_folder_can_be_asked_for(
    place, folder, networks, tmp_path
):
    ingest(folder, place, "color", "motion")
    kill_a_move(place, folder)
    (folder / "snow").symlink_to(tmp_path / "away")
    assert ingest(folder, place, "color", "motion").videos == 5
    (folder / "snow").unlink()
    report = ingest(folder, place, "color", "motion")
    assert (report.moved, report.missing, report.videos) == (2, [], 3)
    assert in_step(place) == {"labhist": 6, "i3d_192": 6}


def test_a_folder_that_leaves_a_link_at_its_old_name_has_moved(place, folder, networks):
    ingest(folder, place)
    networks.clear()
    (folder / "snow").rename(folder / "ice")
    (folder / "snow").symlink_to("ice")
    report = ingest(folder, place)
    assert (networks, report.moved, report.videos, report.missing) == ([], 2, 3, [])
    assert in_step(place) == {"labhist": 6}


def video(video_id: str, content: str) -> Video:
    label = video_id.split("/")[-2]
    return Video(video_id, "lib", f"/{video_id}", label, content, 1, 1)


def test_names_and_labels_say_which_of_equal_files_moved_where():
    gone = [
        CatalogEntry(video(video_id, "same"), 1.0, 10.0, 1, StoredRows())
        for video_id in ("lib/u/1/a.mp4", "lib/u/2/a.mp4", "lib/u/2/b.mp4")
    ]
    new = [video(i, "same") for i in ("lib/v/2/c.mp4", "lib/v/2/a.mp4", "lib/v/3/a.mp4")]
    assert {m.video.video_id: m.stored.video.video_id for m in match(new, gone)} == {
        "lib/v/2/a.mp4": "lib/u/2/a.mp4",
        "lib/v/3/a.mp4": "lib/u/1/a.mp4",
        "lib/v/2/c.mp4": "lib/u/2/b.mp4",
    }


# --- what cannot be listed, and what is passed over


@pytest.fixture
def unlistable(monkeypatch):
    """Lets the system fail to list a folder."""
    plain = os.scandir

    def fail(folder: Path) -> None:
        def scandir(path):
            if Path(path) == folder:
                raise OSError(116, "Stale file handle", str(path))
            return plain(path)

        monkeypatch.setattr(os, "scandir", scandir)

    return fail


def test_nothing_below_a_folder_that_cannot_be_listed_is_gone(place, folder, networks, unlistable):
    write_files(folder, {"snow/deep/d.mp4": "d", "sun/e.mp4": "e"})
    ingest(folder, place)
    (folder / "a.mp4").unlink()
    (folder / "snow" / "b.mp4").rename(folder / "sun" / "b.mp4")  # may be a copy: nobody can tell
    networks.clear()
    unlistable(folder / "snow")
    report = ingest(folder, place, prune=True)
    assert (report.removed, report.missing, report.moved) == (1, [], 0)
    assert networks == ["lib/sun/b.mp4"]
    assert report.notes == [
        "1 folder could not be listed (snow: Stale file handle); no stored video there counts as "
        "gone. Ingest again once that is mended."
    ]
    assert report.passed_over == {"unlisted_folders": [str(folder / "snow")]}
    assert in_step(place) == {"labhist": 10}


def test_videos_behind_a_link_that_leads_nowhere_do_not_count_as_gone(
    place, folder, networks, tmp_path
):
    far = write_files(tmp_path / "far", {"d.mp4": "d"})
    (folder / "far").symlink_to(far)
    assert ingest(folder, place).videos == 4
    far.rename(tmp_path / "away")
    report = ingest(folder, place, prune=True)
    assert (report.removed, report.missing, report.videos) == (0, [], 4)
    (note,) = report.notes
    assert note.startswith(
        "The files of 1 stored video cannot be looked for (such as lib/far/d.mp4"
    )
    assert report.passed_over == {"broken_links": [str(folder / "far")]}
    (folder / "far").unlink()
    assert ingest(folder, place, prune=True).removed == 1
    assert in_step(place) == {"labhist": 6}


def test_what_is_passed_over_since_it_was_stored_is_kept_and_told(
    place, folder, networks, monkeypatch
):
    write_files(folder, {"@eaDir/d.mp4": "d"})
    with monkeypatch.context() as older:
        older.setattr("vidsim.ingest.discover.listing._kind_of_folder", lambda name: None)
        ingest(folder, place)
    report = ingest(folder, place, prune=True)
    assert (report.removed, report.missing, report.videos) == (0, [], 4)
    (note,) = report.notes
    assert note == (
        "What 1 stored video came from is passed over now (such as lib/@eaDir/d.mp4); "
        "'vidsim remove' takes them out by their ids."
    )
    (folder / "@eaDir" / "d.mp4").unlink()
    assert ingest(folder, place, prune=True).removed == 1


def test_pipes_in_the_folder_cost_nothing(place, folder, networks):
    os.mkfifo(folder / "live.ts")
    os.mkfifo(folder / "snow" / "live.mp4")
    report = ingest(folder, place)
    assert (report.videos, report.failed) == (3, [])
    assert report.passed_over == {
        "pipes": [str(folder / "live.ts"), str(folder / "snow" / "live.mp4")]
    }
    assert in_step(place) == {"labhist": 6}


def test_a_video_that_a_pipe_replaces_is_gone(place, folder, networks):
    ingest(folder, place)
    (folder / "a.mp4").unlink()
    os.mkfifo(folder / "a.mp4")
    assert ingest(folder, place).missing == ["lib/a.mp4"]
