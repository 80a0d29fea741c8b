"""A home keeps the sampling that it began with, until another one is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidsim import Library
from vidsim.ingest import pipeline
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import DEFAULT_PRESET, PRESETS

from ...helpers.ingests import in_step, pretend, write_files

USUAL = PRESETS[DEFAULT_PRESET][Modality.MOTION]
FAST = PRESETS["fast"][Modality.MOTION]


@pytest.fixture
def library(place, monkeypatch):
    monkeypatch.setattr(pipeline, "embed_all", pretend)
    with Library.open(place.home, uri=place.uri or "embedded") as found:
        yield found


def folder(path: Path, *names: str) -> Path:
    return write_files(path, {f"{name}.mp4": f"of {path.name}, {name}" for name in names})


def test_a_new_home_takes_the_smaller_pictures(library, place, tmp_path):
    assert BACKBONES[USUAL].frames.size < BACKBONES["i3d"].frames.size
    report = library.ingest(folder(tmp_path / "new", "a"), modalities="motion")
    assert in_step(place, "new") == {USUAL: 2}
    assert not any("smaller" in note for note in report.notes)


def test_a_library_goes_on_with_what_it_has_and_says_what_is_faster(library, place, tmp_path):
    old = folder(tmp_path / "old", "a")
    library.ingest(old, modalities="motion", models={"motion": "i3d"})
    folder(old, "b")
    report = library.ingest(old, modalities="motion")
    assert (report.embedded, report.unchanged, in_step(place, "old")) == (1, 1, {"i3d": 4})
    (note,) = (note for note in report.notes if "i3d" in note)
    assert f"{USUAL}, of smaller pictures, is as good and faster" in note
    assert f"--model motion={USUAL}" in note
    again = library.ingest(old, modalities="motion")
    assert (again.embedded, again.notes) == (0, [])


def test_another_library_of_the_home_takes_the_same_so_that_they_can_be_compared(
    library, place, tmp_path
):
    library.ingest(folder(tmp_path / "old", "a"), modalities="motion", models={"motion": "i3d"})
    library.ingest(folder(tmp_path / "new", "a"), modalities="motion")
    assert in_step(place, "new") == {"i3d": 2}


def test_what_is_asked_for_is_what_is_taken(library, place, tmp_path):
    old = folder(tmp_path / "old", "a")
    library.ingest(old, modalities="motion", models={"motion": "i3d"})
    report = library.ingest(old, modalities="motion", models={"motion": USUAL})
    assert (report.embedded, in_step(place, "old")) == (1, {"i3d": 2, USUAL: 2})
    assert library.ingest(old, modalities="motion").unchanged == 1
    library.ingest(old, modalities="motion", preset="fast")
    assert in_step(place, "old") == {"i3d": 2, USUAL: 2, FAST: 2}


def test_other_networks_do_not_decide(library, place, tmp_path):
    library.ingest(folder(tmp_path / "old", "a"), modalities="audio", models={"audio": "vggish"})
    library.ingest(folder(tmp_path / "new", "a"), modalities="audio")
    assert set(in_step(place, "new")) == {PRESETS[DEFAULT_PRESET][Modality.AUDIO]}


def test_a_query_says_which_library_has_another_sampling(library, tmp_path):
    old, new = folder(tmp_path / "old", "a", "b"), folder(tmp_path / "new", "a", "b")
    library.ingest(old, modalities="motion", models={"motion": "i3d"})
    library.ingest(new, modalities="motion", models={"motion": USUAL})
    result = library.query("new/a.mp4")
    assert {match.video_id for match in result.results} == {"new/b.mp4"}
    (note,) = result.notes
    assert note.startswith(f"old has motion by i3d and not by {USUAL}")
    alone = library.query("old/a.mp4", libraries=["old"])
    assert [match.video_id for match in alone.results] == ["old/b.mp4"]
    assert alone.notes == []


def test_a_stored_clip_is_compared_by_what_it_has(library, tmp_path):
    old, new = folder(tmp_path / "old", "a", "b"), folder(tmp_path / "new", "a", "b")
    library.ingest(old, modalities="motion", models={"motion": "i3d"})
    library.ingest(new, modalities="motion", models={"motion": USUAL})
    result = library.query("old/a.mp4")
    assert [match.video_id for match in result.results] == ["old/b.mp4"]


def test_the_usual_one_wins_if_any_library_has_it_and_else_what_most_have(library, place, tmp_path):
    for name in ("a", "b"):
        library.ingest(folder(tmp_path / name, "x"), modalities="motion", preset="fast")
    library.ingest(folder(tmp_path / "c", "x"), modalities="motion", models={"motion": "i3d"})
    report = library.ingest(folder(tmp_path / "d", "x"), modalities="motion")
    assert in_step(place, "d") == {FAST: 2}
    assert f"{USUAL}, of larger ones, is better" in " ".join(report.notes)
    library.ingest(folder(tmp_path / "e", "x"), modalities="motion", models={"motion": USUAL})
    library.ingest(folder(tmp_path / "f", "x"), modalities="motion")
    assert in_step(place, "f") == {USUAL: 2}


def test_a_modality_may_be_named_in_capitals(library, place, tmp_path):
    library.ingest(folder(tmp_path / "old", "a"), modalities="motion", models={"motion": "i3d"})
    library.ingest(folder(tmp_path / "new", "a"), modalities="motion", models=[f"Motion={USUAL}"])
    assert in_step(place, "new") == {USUAL: 2}


def test_a_preset_takes_the_sampling_that_is_stored(library, tmp_path):
    old = folder(tmp_path / "old", "a", "b")
    library.ingest(old, modalities="motion", models={"motion": "i3d"})
    for _ in range(2):  # alone, and beside a library that has the preset's own
        result = library.query("old/a.mp4", preset="compact")
        assert [match.video_id for match in result.results] == ["old/b.mp4"]
        new = folder(tmp_path / "new", "a", "b")
        library.ingest(new, modalities="motion", models={"motion": USUAL})


def test_two_clips_are_explained_by_what_both_have_or_it_is_told(library, tmp_path):
    old, new = folder(tmp_path / "old", "a"), folder(tmp_path / "new", "a")
    library.ingest(old, modalities="color,motion", models={"motion": "i3d"})
    library.ingest(new, modalities="color,motion", models={"motion": USUAL})
    told = library.explain("new/a.mp4", "old/a.mp4")
    assert told.missing_modalities == ["motion"]
    assert "not by" in " ".join(told.notes)
    library.ingest(new, modalities="motion", models={"motion": "i3d"})
    assert library.explain("new/a.mp4", "old/a.mp4").missing_modalities == []
