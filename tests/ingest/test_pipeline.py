"""Ingest: what is new or changed is embedded, nothing is lost or doubled, and it says so.

Most tests put `networks` in the place of decoders and networks. `in_step` is the promise:
Milvus holds exactly what the shards hold, and a second run finds nothing to do.
"""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from vidsim.ingest import pipeline
from vidsim.ingest.extract import embed
from vidsim.ingest.milvus.store import Store
from vidsim.ingest.models.weights import digests
from vidsim.ingest.shards.home import (
    Place,
    distrusted,
    open_shards,
    read_notes,
    trust,
)
from vidsim.ingest.shards.lock import writing
from vidsim.ingest.sync import writer
from vidsim.ingest.sync.libraries import reindex_all, remove_all
from vidsim.schemas.backbones import BACKBONES, sound_backbones
from vidsim.schemas.embedding import Damage, Rows
from vidsim.schemas.errors import LibraryError, StoreError, WeightsError, WorkerError
from vidsim.schemas.modality import Modality

from ..helpers.ingests import (
    QUIET,
    in_step,
    ingest,
    note_weights,
    pretend,
    pretended,
    shard_rows,
    write_files,
)
from ..helpers.killed import kill_ingest

# --- with the real decoders and networks ---


def test_clips_become_shards_and_rows(place, make_clip, tmp_path, monkeypatch):
    (tmp_path / "clips" / "snow day").mkdir(parents=True)
    make_clip("clips/a.mkv", times=[0, 0.2, 0.4])
    make_clip("clips/snow day/é 名.mkv", times=[0, 0.5, 1.0])
    (tmp_path / "clips" / "damaged.mp4").write_bytes(b"not a video" * 100)
    (tmp_path / "clips" / "empty.mp4").touch()
    (tmp_path / "clips" / "notes.txt").write_text("no media")
    report = ingest(tmp_path / "clips", place)
    assert (report.library, report.videos, report.segments) == ("clips", 2, 2)
    assert (report.embedded, report.unchanged, report.rows) == (2, 0, {"color": 2})
    assert [Path(f.path).name for f in report.failed] == ["damaged.mp4", "empty.mp4"]
    assert all(f.reason.endswith(".") and "\n" not in f.reason for f in report.failed)
    assert in_step(place, "clips") == {"labhist": 2}
    labels = {i: e.video.label for i, e in open_shards(place.home).catalog("clips").items()}
    assert labels == {"clips/a.mkv": "", "clips/snow day/é 名.mkv": "snow day"}

    seen = []

    def embed_nothing(videos, *_, **__):
        seen.extend(v.video_id for v in videos)
        yield from ()

    monkeypatch.setattr(pipeline, "embed_all", embed_nothing)
    again = ingest(tmp_path / "clips", place)
    assert seen == []
    assert (again.videos, again.unchanged, again.rows) == (2, 2, {"color": 2})


@pytest.mark.acceptance
def test_all_four_modalities_go_the_whole_way(weights, place, shared_data, make_clip, tmp_path):
    made = shared_data / "robustness" / "derived"
    (tmp_path / "clips").mkdir()
    for name in ("silent_audio.mp4", "audio_only.mp4"):
        shutil.copy(made / name, tmp_path / "clips" / name)
    make_clip("clips/no_track.mkv", times=[0, 0.5, 1.0])
    make_clip("clips/both.mkv", times=[0, 0.2, 0.4], tone=(440, 0.5, 16_000, 1))
    make_clip("clips/sound.wav", tone=(440, 2, 16_000, 1))
    report = ingest(tmp_path / "clips", place, *Modality)
    assert (report.videos, report.embedded) == (4, 4)
    (failed,) = report.failed  # its only track is silent
    assert failed.path.endswith("audio_only.mp4")
    assert failed.reason == "It has no picture, and no sound but silence."
    assert report.no_audio == 2
    rows = {i.split("/")[1]: e.rows for i, e in open_shards(place.home).catalog("clips").items()}
    for name in ("both.mkv", "silent_audio.mp4", "no_track.mkv"):
        assert (rows[name]["labhist"], rows[name]["efficientnet_lite0"], rows[name]["i3d_192"]) == (
            1,
            8,
            1,
        )
    assert rows["silent_audio.mp4"]["yamnet"] == rows["no_track.mkv"]["yamnet"] == 0
    assert rows["both.mkv"]["yamnet"] == 1
    assert rows["sound.wav"]["yamnet"] == 2
    assert rows["sound.wav"]["i3d_192"] == 0
    assert in_step(place, "clips")["efficientnet_lite0"] == report.rows["frame"] == 24


# --- what is new, changed, moved, gone ---


def test_a_second_run_embeds_nothing(place, folder, networks):
    first = ingest(folder, place)
    assert (first.embedded, sorted(networks)) == (
        3,
        ["lib/a.mp4", "lib/snow/b.mp4", "lib/snow/c.mp4"],
    )
    networks.clear()
    files = {p: p.stat().st_mtime_ns for p in open_shards(place.home).files("lib")}
    second = ingest(folder, place)
    assert (second.embedded, second.unchanged, second.notes, networks) == (0, 3, [], [])
    assert {p: p.stat().st_mtime_ns for p in open_shards(place.home).files("lib")} == files
    assert second.rows == first.rows
    assert in_step(place) == {"labhist": 6}


def test_an_edited_file_is_embedded_anew_and_its_old_rows_go(place, folder, networks):
    ingest(folder, place, "color", "frame")
    networks.clear()
    (folder / "a.mp4").write_text("another")
    report = ingest(folder, place)
    assert (networks, report.embedded, report.unchanged) == (["lib/a.mp4"], 1, 2)
    # What was computed from the old content, by modalities not asked for now, is gone too.
    assert in_step(place) == {"labhist": 6, "efficientnet_lite0": 32}


def test_a_file_that_was_only_touched_is_not_embedded(place, folder, networks):
    ingest(folder, place)
    networks.clear()
    os.utime(folder / "a.mp4", (1, 1))
    report = ingest(folder, place)
    assert (networks, report.embedded, report.unchanged) == ([], 0, 3)


def test_a_folder_is_the_same_however_it_is_reached(place, folder, networks, tmp_path):
    (tmp_path / "alias").symlink_to(folder)
    (tmp_path / "other").mkdir()
    ingest(tmp_path / "other" / ".." / "lib", place)
    (entry, *_) = open_shards(place.home).catalog("lib").values()
    assert entry.video.path == str(folder / "a.mp4")
    assert ingest(tmp_path / "alias", place, library="lib").unchanged == 3
    (entry, *_) = open_shards(place.home).catalog("lib").values()
    assert entry.video.path == str(folder / "a.mp4")


def test_a_new_file_joins(place, folder, networks):
    ingest(folder, place)
    networks.clear()
    write_files(folder, {"new/d.mp4": "d"})
    report = ingest(folder, place)
    assert (networks, report.embedded, report.videos) == (["lib/new/d.mp4"], 1, 4)
    assert in_step(place) == {"labhist": 8}


def test_one_file_of_a_folder_can_be_ingested_alone(place, folder, networks):
    ingest(folder, place)
    write_files(folder, {"d.mp4": "d"})
    report = ingest(folder / "d.mp4", place)
    assert (report.library, report.embedded, report.videos, report.missing) == ("lib", 1, 4, [])
    in_step(place)


def test_a_moved_folder_keeps_its_embeddings(place, folder, networks, tmp_path):
    ingest(folder, place, "color")
    ingest(folder, place, "frame")
    networks.clear()
    (tmp_path / "elsewhere").mkdir()
    folder.rename(tmp_path / "elsewhere" / "lib")
    report = ingest(tmp_path / "elsewhere" / "lib", place, "color", "frame")
    assert (networks, report.embedded, report.unchanged) == ([], 0, 3)
    entry = open_shards(place.home).catalog("lib")["lib/snow/b.mp4"]
    assert entry.video.path == str(tmp_path / "elsewhere/lib/snow/b.mp4")
    assert in_step(place) == {"labhist": 6, "efficientnet_lite0": 48}


def test_rows_that_moved_keep_the_hash_of_their_own_weights(place, folder, networks, tmp_path):
    ingest(folder, place)
    write_files(folder, {"d.mp4": "d"})
    ingest(folder, place)
    first, second = open_shards(place.home).files("lib")
    note_weights(first, "labhist", "a" * 64)
    note_weights(second, "labhist", "b" * 64)
    (tmp_path / "elsewhere").mkdir()
    folder.rename(tmp_path / "elsewhere" / "lib")
    ingest(tmp_path / "elsewhere" / "lib", place)
    catalog = open_shards(place.home).catalog("lib")
    assert {video_id: entry.weights["labhist"][0] for video_id, entry in catalog.items()} == {
        "lib/a.mp4": "a",
        "lib/snow/b.mp4": "a",
        "lib/snow/c.mp4": "a",
        "lib/d.mp4": "b",
    }
    assert open_shards(place.home).weights("lib", "labhist") == f"{'a' * 64};{'b' * 64}"
    in_step(place)


def test_rows_of_other_weights_do_not_join_a_library(weights, place, folder, monkeypatch):
    with monkeypatch.context() as pretending:
        pretending.setattr(pipeline, "embed_all", pretend)
        ingest(folder, place, "frame")
    (shard,) = open_shards(place.home).files("lib")
    note_weights(shard, "efficientnet_lite0", "a" * 64)
    monkeypatch.setattr(embed, "_run", lambda *_: pytest.fail("something was computed"))
    assert ingest(folder, place, "frame").unchanged == 3
    write_files(folder, {"d.mp4": "d"})
    with pytest.raises(WeightsError) as refused:
        ingest(folder, place, "frame")
    said = str(refused.value)
    assert said.startswith("The rows of efficientnet_lite0 in lib were computed with other weights")
    assert "(SHA-256 aaaaaaaaaaaa...) than those here" in said
    assert "run 'vidsim remove lib' and ingest it anew." in said
    assert in_step(place) == {"efficientnet_lite0": 48}


def test_rows_that_were_replaced_do_not_count_with_their_weights(place, folder, networks):
    ingest(folder, place, "frame")
    (shard,) = open_shards(place.home).files("lib")
    note_weights(shard, "efficientnet_lite0", "a" * 64)
    ingest(folder, place, "color", "frame")  # the stand-in computes frames again, too
    ours = digests(BACKBONES["efficientnet_lite0"])
    assert open_shards(place.home).weights("lib", "efficientnet_lite0") == ours
    assert read_notes(place.home)["lib"].weights == {"efficientnet_lite0": ours, "labhist": ""}


def test_a_moved_folder_keeps_what_it_had_when_a_modality_joins(place, folder, networks, tmp_path):
    ingest(folder, place, "color")
    folder.rename(tmp_path / "was")
    (tmp_path / "new").mkdir()
    (tmp_path / "was").rename(tmp_path / "new" / "lib")
    report = ingest(tmp_path / "new" / "lib", place, "motion")
    assert (report.embedded, report.unchanged) == (3, 0)
    assert in_step(place) == {"labhist": 6, "i3d_192": 6}


def test_a_deleted_file_is_reported_and_goes_with_prune_only(place, folder, networks):
    ingest(folder, place)
    (folder / "a.mp4").unlink()
    report = ingest(folder, place)
    assert (report.missing, report.removed, report.videos) == (["lib/a.mp4"], 0, 3)
    assert in_step(place) == {"labhist": 6}
    report = ingest(folder, place, prune=True)
    assert (report.missing, report.removed, report.videos) == ([], 1, 2)
    assert in_step(place) == {"labhist": 4}


def test_pruning_leaves_other_libraries_alone(place, folder, networks, tmp_path):
    other = write_files(tmp_path / "other", {"a.mp4": "a"})
    ingest(folder, place)
    ingest(other, place)
    (folder / "a.mp4").unlink()
    ingest(folder, place, prune=True)
    assert in_step(place, "other") == {"labhist": 2}
    assert in_step(place) == {"labhist": 4}


def test_a_modality_added_later_joins_the_same_videos(place, folder, networks):
    ingest(folder, place, "color")
    networks.clear()
    report = ingest(folder, place, "color", "motion")
    assert (len(networks), report.videos, report.segments) == (3, 3, 6)
    assert in_step(place) == {"labhist": 6, "i3d_192": 6}
    networks.clear()
    for modality in ("color", "motion"):
        assert ingest(folder, place, modality).unchanged == 3
    assert networks == []


def test_another_segment_length_cuts_anew(place, folder, networks):
    ingest(folder, place)
    networks.clear()
    report = ingest(folder, place, segment_seconds=5.0)
    assert (len(networks), report.videos, report.segments) == (3, 3, 12)
    assert in_step(place) == {"labhist": 12}


def test_another_track_of_sound_takes_the_place_of_the_first(place, folder, networks, monkeypatch):
    ingest(folder, place, "color", "audio")
    first = shard_rows(place, "lib")
    networks.clear()
    assert ingest(folder, place, "color", audio_track=2).unchanged == 3  # no sound was asked for

    def other_sound(videos, options, progress, meter=None, stop=None):
        for video in videos:
            networks.append(video.video_id)
            (found,) = pretend([replace(video, fingerprint="other")], options, progress)
            embeddings = tuple(
                replace(e, rows={n: cut(rows) for n, rows in e.rows.items()})
                for e in found.embeddings
            )
            yield replace(found, video=video, embeddings=embeddings)

    def cut(rows: Rows) -> Rows:
        return Rows(rows.vectors[:3], rows.start_s[:3], rows.end_s[:3])

    monkeypatch.setattr(pipeline, "embed_all", other_sound)
    ingest(folder, place, "audio", audio_track=2)
    assert len(networks) == 3
    assert in_step(place) == {"labhist": 6, "yamnet": 18}
    assert shard_rows(place, "lib")["labhist"].keys() == first["labhist"].keys()
    networks.clear()
    assert ingest(folder, place, "color", "audio", audio_track=2).unchanged == 3
    assert networks == []
    ingest(folder, place, "audio")
    assert len(networks) == 3


def test_sound_of_as_many_rows_outdates_what_another_milvus_holds(place, folder, networks):
    ingest(folder, place, "audio")
    trust(place.home, "lib", "elsewhere")
    ingest(folder, place, "audio", "color")  # the same sound, once more
    assert not distrusted(place.home, "lib", "elsewhere")
    ingest(folder, place, "audio", audio_track=2)
    assert distrusted(place.home, "lib", "elsewhere")
    in_step(place)


def test_fewer_rows_than_before_leave_none_of_the_old_ones(place, folder, networks, monkeypatch):
    ingest(folder, place, "color", "frame")

    def fewer(videos, options, progress, meter=None, stop=None):
        for found in pretend(videos, options, progress):
            embeddings = tuple(
                replace(e, rows={n: Rows(r.vectors[:1], r.start_s[:1], r.end_s[:1])})
                for e in found.embeddings
                for n, r in e.rows.items()
                if n == "efficientnet_lite0"
            )
            yield replace(found, embeddings=embeddings)

    monkeypatch.setattr(pipeline, "embed_all", fewer)
    ingest(folder, place, "frame", "motion")
    assert in_step(place)["efficientnet_lite0"] == 6


def test_what_was_lost_of_a_file_is_told_of_the_run_that_computed_it(place, networks, monkeypatch):
    def losing(picture: str, sound: str):
        def embed_all(videos, options, progress, meter=None, stop=None):
            for found in pretend(videos, options, progress):
                heard = sound_backbones(found.backbones)
                damage = Damage(
                    "" if heard == found.backbones else picture, (heard and sound) or ""
                )
                yield replace(found, damage=damage)

        monkeypatch.setattr(pipeline, "embed_all", embed_all)

    folder = write_files(place.home.parent / "lib", {"a.mp4": "a"})
    losing("1 s of the picture; it breaks off", "2 s of the sound; it breaks off")
    (told,) = ingest(folder, place, "color", "audio").damaged
    assert told.reason == "1 s of the picture; it breaks off; 2 s of the sound"
    losing("", "3 s of the sound")
    (told,) = ingest(folder, place, "audio", audio_track=2).damaged
    assert told.reason == "1 s of the picture; it breaks off; 3 s of the sound"
    losing("", "")
    assert not ingest(folder, place, "color", "audio", "motion").damaged


def test_silence_is_counted_and_not_asked_for_again(place, networks, tmp_path):
    folder = write_files(tmp_path / "lib", {"silent.mp4": "s", "loud.mp4": "l"})
    report = ingest(folder, place, "color", "audio")
    assert (report.rows, report.no_audio) == ({"color": 4, "audio": 20}, 1)
    networks.clear()
    assert ingest(folder, place, "audio").no_audio == 1
    assert networks == []
    in_step(place)


def test_names_that_need_quoting_are_ingested_edited_and_removed(place, networks, tmp_path):
    names = ['say "hi".mp4', "it's.mp4", "back\\slash.mp4", "two\nlines\r\t.mp4", "esc\x1b[1m.mp4"]
    library = 'my "videos" — 名'
    folder = write_files(tmp_path / library, {f"{n}/{n}": n for n in names})
    assert ingest(folder, place).embedded == len(names)
    write_files(folder, {f"{n}/{n}": f"{n} edited" for n in names})
    report = ingest(folder, place)
    assert (report.embedded, report.notes) == (len(names), [])
    assert in_step(place, library) == {"labhist": 2 * len(names)}
    (folder / names[-1] / names[-1]).unlink()
    assert ingest(folder, place, prune=True).removed == 1
    assert in_step(place, library) == {"labhist": 2 * len(names) - 2}
    remove_all(place, {library: list(open_shards(place.home).catalog(library))})
    assert in_step(place, library) == {}


def test_a_damaged_file_costs_only_itself(place, networks, tmp_path):
    folder = write_files(tmp_path / "lib", {"a.mp4": "a", "b.mp4": "damaged", "c.mp4": "c"})
    (folder / "gone.mp4").symlink_to(tmp_path / "nowhere")
    report = ingest(folder, place)
    reasons = {Path(f.path).name: f.reason for f in report.failed}
    assert reasons == {
        "b.mp4": "It is damaged.",
        "gone.mp4": "It cannot be read: No such file or directory.",
    }
    assert (report.embedded, report.videos) == (2, 2)
    in_step(place)


def test_a_file_that_is_damaged_later_keeps_its_old_rows(place, folder, networks):
    ingest(folder, place)
    (folder / "a.mp4").write_text("damaged")
    report = ingest(folder, place)
    assert ([Path(f.path).name for f in report.failed], report.embedded) == (["a.mp4"], 0)
    assert (report.videos, report.missing) == (3, [])
    assert in_step(place) == {"labhist": 6}


def test_a_library_made_from_another_folder_is_refused(place, folder, networks, tmp_path):
    ingest(folder, place)
    other = write_files(tmp_path / "other" / "lib", {"x.mp4": "x"})
    with pytest.raises(LibraryError, match=f"The library lib was made from {folder}; name this"):
        ingest(other, place)
    assert ingest(other, place, library="lib 2").videos == 1
    assert in_step(place, "lib 2") == {"labhist": 2}
    assert in_step(place) == {"labhist": 6}


def test_a_link_to_the_folder_is_the_same_folder(place, folder, networks, tmp_path):
    ingest(folder, place)
    (tmp_path / "link").symlink_to(folder)
    assert ingest(tmp_path / "link", place, library="lib").videos == 3


# --- what breaks on the way ---


@pytest.mark.parametrize("operation", ["upsert", "delete", "flush"])
def test_a_failing_milvus_loses_nothing(
    place, folder, networks, small_shards, monkeypatch, operation
):
    ingest(folder, place, "color", "frame")
    write_files(folder, {"a.mp4": "edited", "snow/b.mp4": "edited too"})

    def fail(*_):
        raise StoreError("Milvus is away.")

    with monkeypatch.context() as broken:
        broken.setattr(Store, operation, fail)
        report = ingest(folder, place, "color", "frame")
    assert (report.embedded, report.videos) == (2, 3)
    (note,) = report.notes
    assert note.startswith(
        "Milvus is away. The embeddings are safe in the shards; 'vidsim reindex'"
    )
    rows = shard_rows(place, "lib")
    assert {name: len(found["rows"]) for name, found in rows.items()} == {
        "labhist": 6,
        "efficientnet_lite0": 48,
    }
    networks.clear()
    (note,) = ingest(folder, place, "color", "frame").notes
    assert note == "lib: Milvus may have been outdated; it was compared with the shards."
    assert networks == []
    in_step(place)
    assert ingest(folder, place, "color", "frame").notes == []


def test_reindex_mends_what_a_failing_milvus_left(place, folder, networks, monkeypatch):
    ingest(folder, place)
    (folder / "a.mp4").write_text("edited")

    def fail(*_):
        raise StoreError("Milvus is away.")

    with monkeypatch.context() as broken:
        broken.setattr(Store, "delete", fail)
        ingest(folder, place)
    (mended,) = reindex_all(place, [], QUIET).comparisons
    assert (mended.shards, mended.differing, mended.repaired) == (6, 2, 2)
    in_step(place)
    assert ingest(folder, place).notes == []


def test_a_worker_that_dies_costs_only_what_was_not_finished(place, folder, networks, monkeypatch):
    def embed_all(videos, options, progress, meter=None, stop=None):
        yield from pretend(videos[:2], options, progress)
        raise WorkerError("The audio process died.")

    with monkeypatch.context() as broken:
        broken.setattr(pipeline, "embed_all", embed_all)
        with pytest.raises(WorkerError, match="audio process died"):
            ingest(folder, place)
    assert len(shard_rows(place, "lib")["labhist"]["rows"]) == 4
    assert distrusted(place.home, "lib", "embedded")  # which is written at the end
    ingest(folder, place)
    assert networks == ["lib/snow/c.mp4"]
    assert in_step(place) == {"labhist": 6}


def test_embedding_goes_on_while_a_video_is_written(place, folder, monkeypatch):
    went_on = threading.Event()
    seen = []

    def embed_all(videos, options, progress, meter=None, stop=None):
        yield from pretend(videos[:1], options, progress)
        went_on.set()
        yield from pretend(videos[1:], options, progress)

    def add(self, video):
        seen.append(went_on.wait(10))
        plain(self, video)

    plain = writer.Writer.add
    monkeypatch.setattr(pipeline, "embed_all", embed_all)
    monkeypatch.setattr(writer.Writer, "add", add)
    assert ingest(folder, place).videos == 3
    assert seen == [True] * 3
    assert in_step(place) == {"labhist": 6}


def test_what_the_writer_raises_ends_the_ingest(place, folder, networks, monkeypatch):
    def fail(*_):
        raise StoreError("The disk is full.")

    with monkeypatch.context() as broken:
        broken.setattr(writer.Writer, "add", fail)
        with pytest.raises(StoreError, match="disk is full"):
            ingest(folder, place)
    ingest(folder, place)
    assert in_step(place) == {"labhist": 6}


@pytest.mark.parametrize(
    "moment",
    [
        "after the shard",
        "amid the rows",
        pytest.param("before the shard", marks=pytest.mark.acceptance),
        pytest.param("after the old ids went", marks=pytest.mark.acceptance),
        pytest.param("before the rows", marks=pytest.mark.acceptance),
        pytest.param("before the note", marks=pytest.mark.acceptance),
        pytest.param("before the end", marks=pytest.mark.acceptance),
    ],
)
def test_the_run_after_a_kill_goes_on_from_there(place, folder, networks, moment):
    ingest(folder, place, "color", "motion")
    write_files(folder, {"a.mp4": "edited", "d.mp4": "d", "e.mp4": "e", "f.mp4": "f"})
    kill_ingest(folder, place, moment, segments_per_shard=4)
    networks.clear()
    report = ingest(folder, place, "color", "motion")
    assert (report.videos, report.failed) == (6, [])
    at_the_end = ("before the rows", "amid the rows", "before the end")
    assert len(networks) == {"before the shard": 4, **dict.fromkeys(at_the_end, 0)}.get(moment, 2)
    assert in_step(place) == {"labhist": 12, "i3d_192": 12}
    networks.clear()
    assert ingest(folder, place, "color", "motion").notes == []
    assert networks == []


def test_a_first_run_killed_before_its_end_is_completed(place, folder, networks):
    kill_ingest(folder, place, "before the note", segments_per_shard=4)
    ingest(folder, place, "color", "motion")
    assert networks == ["lib/snow/c.mp4"]
    assert in_step(place) == {"labhist": 6, "i3d_192": 6}


def test_a_second_ingest_at_once_is_refused(place, folder, networks):
    with (
        writing(place.home, "a test"),
        pytest.raises(StoreError, match="The home .* is in use: process .* Wait for it to end"),
    ):
        ingest(folder, place)
    assert networks == []
    assert ingest(folder, place).videos == 3


def test_a_missing_shard_is_told_until_all_that_it_held_is_stored_again(place, folder, networks):
    ingest(folder, place, "color", "frame")
    write_files(folder, {"new.mp4": "new"})
    ingest(folder, place, "color", "frame")
    shards = open_shards(place.home)
    shards.files("lib")[0].unlink()
    ingest(folder, place, "color")
    assert shards.missing("lib") == ["000001.h5"], "its frames are stored nowhere"
    report = ingest(folder, place, "color", "frame")
    assert shards.missing("lib") == []
    assert any("000001.h5 were missing" in note for note in report.notes)


def test_a_deleted_index_is_built_anew(place, folder, networks):
    ingest(folder, place, "color", "frame")
    networks.clear()
    shutil.rmtree(place.home / "milvus.db")
    report = ingest(folder, place, "color", "frame")
    assert report.notes == [
        "lib: Milvus held 0 of 6 rows of labhist; repaired from the shards.",
        "lib: Milvus held 0 of 6 segments of efficientnet_lite0; repaired from the shards.",
    ]
    in_step(place)
    shutil.rmtree(place.home / "milvus.db")
    report = reindex_all(place, ["lib"], QUIET)
    assert {(c.backbone, c.level): c.missing for c in report.comparisons} == {
        ("labhist", "rows"): 6,
        ("efficientnet_lite0", "segments"): 6,
    }
    in_step(place)
    assert networks == []


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"labhist": "many"}', "\xff"])
def test_a_damaged_note_of_counts_is_written_anew(place, folder, networks, text):
    ingest(folder, place)
    noted = read_notes(place.home)["lib"]
    assert (noted.videos, noted.counts) == (3, {"labhist": {"rows": 6}})
    (place.home / "counts" / "lib.json").write_text(text, "latin-1")
    assert read_notes(place.home)["lib"] == noted
    ingest(folder, place)
    assert in_step(place) == {"labhist": 6}


STEPS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from("abc"), st.sampled_from(["x", "y", "damaged"])),
    st.tuples(st.just("delete"), st.sampled_from("abc"), st.none()),
    st.tuples(st.just("move"), st.sampled_from("12"), st.none()),
    st.tuples(st.just("rename"), st.sampled_from("abc"), st.sampled_from("abc")),
    st.tuples(
        st.just("ingest"),
        st.sampled_from([("color",), ("motion",), ("color", "motion")]),
        st.sampled_from([(10.0, False), (10.0, True), (5.0, False)]),
    ),
    st.tuples(st.just("fail"), st.sampled_from(["upsert", "delete", "flush"]), st.none()),
    st.tuples(st.just("lose"), st.none(), st.none()),
)


@pytest.mark.acceptance
@given(st.lists(STEPS, min_size=4, max_size=14))
@hypothesis_settings(
    max_examples=10,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_whatever_happens_in_between_a_last_run_makes_it_right(tmp_path_factory, steps):
    base = tmp_path_factory.mktemp("steps")
    place, folder = Place(base / "home"), base / "0" / "lib"
    write_files(folder, {"a.mp4": "x", "b.mp4": "x", "keep.mp4": "keep"})

    def fail(*_):
        raise StoreError("Milvus is away.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "embed_all", pretend)
        patch.setattr(writer, "_FLUSH_SEGMENTS", 4)
        for step, what, how in steps:
            if step == "write":
                write_files(folder, {f"{what}.mp4": how})
            elif step == "delete":
                (folder / f"{what}.mp4").unlink(missing_ok=True)
            elif step == "move":
                (base / what).mkdir(exist_ok=True)
                folder = folder.rename(base / what / "lib")
            elif step == "rename":
                if (folder / f"{what}.mp4").exists():
                    (folder / f"{what}.mp4").replace(folder / f"{how}.mp4")
            elif step == "ingest":
                ingest(folder, place, *what, segment_seconds=how[0], prune=how[1])
            elif step == "lose":
                shutil.rmtree(place.home / "milvus.db", ignore_errors=True)
            else:
                with pytest.MonkeyPatch.context() as broken:
                    broken.setattr(Store, what, fail)
                    with suppress(StoreError):  # the repair at its start needs Milvus
                        ingest(folder, place)
        ingest(folder, place, prune=True)
        in_step(place)
        catalog = open_shards(place.home).catalog("lib")
        files = {f"lib/{p.name}": p.read_text() for p in folder.iterdir()}
        assert set(catalog) <= set(files)
        assert {i for i, text in files.items() if text != "damaged"} <= set(catalog)
        shards = open_shards(place.home)
        for stored in shards.read(list(catalog.values())):
            if files[stored.video.video_id] != "damaged":
                assert stored.video.path == str(folder / stored.video.video_id.split("/")[1])
                wanted = pretended(stored.video, stored.backbones, stored.segment_seconds)
                assert np.array_equal(
                    stored.embeddings[-1].rows[min(stored.backbones)].vectors,
                    wanted.embeddings[-1].rows[min(stored.backbones)].vectors,
                )
        assert ingest(folder, place).notes == []
    shutil.rmtree(base)
