"""Files that failed: left alone until they change, or until a person asks for another try."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vidsim.ingest import pipeline, plan
from vidsim.ingest.sync import failed_files
from vidsim.ingest.sync.libraries import remove_all
from vidsim.ingest.system.stop import Stop
from vidsim.schemas.modality import Modality
from vidsim.schemas.results import IngestReport

from ..helpers.command_line import Here, environment
from ..helpers.ingests import in_step, ingest, pretend, write_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_files(tmp_path / "lib", {"a.mp4": "a", "bad.mp4": "damaged"})


def failed(report: IngestReport) -> dict[str, tuple[str, bool]]:
    """Reason by name of a file, and whether the run tried it."""
    return {Path(file.path).name: (file.reason, file.tried) for file in report.failed}


def note(place) -> Path:
    return place.home / "failed" / "lib.json"


def test_files_that_are_no_videos_are_decoded_once(place, make_clip, tmp_path, monkeypatch):
    (tmp_path / "clips").mkdir()
    make_clip("clips/a.mkv", times=[0, 0.2, 0.4])
    (tmp_path / "clips" / "text.mp4").write_text("not a video" * 100)
    (tmp_path / "clips" / "noise.avi").write_bytes(os.urandom(10_000))
    cut = make_clip("clips/cut.mp4", times=[0, 0.2, 0.4]).read_bytes()
    (tmp_path / "clips" / "cut.mp4").write_bytes(cut[: len(cut) // 2])
    first = ingest(tmp_path / "clips", place)
    assert first.embedded == 1
    assert {name: tried for name, (_, tried) in failed(first).items()} == {
        "cut.mp4": True,
        "noise.avi": True,
        "text.mp4": True,
    }

    monkeypatch.setattr(pipeline, "embed_all", None)
    second = ingest(tmp_path / "clips", place)
    assert (second.embedded, second.unchanged) == (0, 1)
    assert failed(second) == {name: (why, False) for name, (why, _) in failed(first).items()}


def test_a_file_that_failed_is_left_alone(place, folder, networks):
    assert failed(ingest(folder, place)) == {"bad.mp4": ("It is damaged.", True)}
    written = note(place).stat().st_mtime_ns
    networks.clear()
    report = ingest(folder, place)
    assert failed(report) == {"bad.mp4": ("It is damaged.", False)}
    assert (report.embedded, report.unchanged, report.notes, networks) == (0, 1, [], [])
    assert note(place).stat().st_mtime_ns == written
    # Alone, and in a folder that has moved, it is the same file.
    assert failed(ingest(folder / "bad.mp4", place))["bad.mp4"] == ("It is damaged.", False)
    (folder.parent / "away").mkdir()
    moved = folder.rename(folder.parent / "away" / "lib")
    assert failed(ingest(moved, place))["bad.mp4"] == ("It is damaged.", False)
    assert networks == []


CRASHED = "The decoder crashed (SIGSEGV)."
AGAIN = "The decoder crashed (SIGSEGV), as it did before."


def test_a_file_that_killed_a_decoder_in_two_ingests_is_left_alone(place, folder, networks):
    (folder / "deadly.mp4").write_text("deadly")
    assert failed(ingest(folder, place))["deadly.mp4"] == (CRASHED, True)
    assert failed(ingest(folder, place))["deadly.mp4"] == (AGAIN, True)
    networks.clear()
    for _ in range(2):
        assert failed(ingest(folder, place))["deadly.mp4"] == (AGAIN, False)
    assert networks == []
    assert failed(ingest(folder, place, retry=True))["deadly.mp4"] == (AGAIN, True)
    assert failed(ingest(folder, place))["deadly.mp4"] == (AGAIN, False)
    # One that has changed is a new one, which may be wrong once.
    (folder / "deadly.mp4").write_text("deadly still")
    assert failed(ingest(folder, place))["deadly.mp4"] == (CRASHED, True)
    (folder / "deadly.mp4").write_text("mended")
    assert "deadly.mp4" not in failed(ingest(folder, place))
    assert "deadly" not in note(place).read_text()


def test_what_a_stopped_ingest_did_not_reach_keeps_its_note(place, folder, networks, monkeypatch):
    (folder / "deadly.mp4").write_text("deadly")
    assert failed(ingest(folder, place))["deadly.mp4"] == (CRASHED, True)

    def stopped(videos, options, progress, meter=None, stop=None):
        stop.ask()
        yield from ()

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "embed_all", stopped)
        assert ingest(folder, place, stop=Stop()).left == 1
    assert failed(ingest(folder, place))["deadly.mp4"] == (AGAIN, True)


def test_one_wish_to_stop_is_for_all_folders(place, folder, networks, monkeypatch):
    asked = Stop()

    def begins(videos, options, progress, meter=None, stop=None):
        stop.begun += len(videos)
        stop.ask()
        yield from pretend(videos, options, progress)

    monkeypatch.setattr(pipeline, "embed_all", begins)
    other = write_files(folder.parent / "other", {"b.mp4": "b"})
    reports = [ingest(of, place, stop=asked) for of in (folder, other)]
    assert [(report.left, report.embedded) for report in reports] == [(0, 1), (0, 1)]


def test_two_deaths_with_a_good_end_between_are_two_first_ones(place, folder, networks):
    bad = folder / "deadly.mp4"
    for _ in range(2):
        bad.write_text("deadly")
        assert failed(ingest(folder, place))["deadly.mp4"] == (CRASHED, True)
        bad.write_text("well")
        assert "deadly.mp4" not in failed(ingest(folder, place))


def test_sound_that_killed_a_decoder_twice_is_left_alone_and_the_picture_kept(
    place, folder, networks
):
    (folder / "deadly.mp4").write_text("deadly sound")
    both = Modality.COLOR, Modality.AUDIO
    for _ in range(2):
        report = ingest(folder, place, *both)
        assert "deadly.mp4" not in failed(report)
        assert [Path(f.path).name for f in report.damaged] == ["deadly.mp4"]
    networks.clear()
    report = ingest(folder, place, *both)
    lost = "Its sound was left out (the decoder crashed (SIGSEGV)), as it did before."
    assert failed(report)["deadly.mp4"] == (lost, False)
    assert (report.videos, networks) == (2, [])
    assert failed(ingest(folder, place, Modality.COLOR)).keys() == {"bad.mp4"}
    in_step(place, "lib")


def test_sound_of_a_rare_codec_is_heard_once_the_codec_is_allowed(
    place, folder, networks, monkeypatch
):
    (folder / "rare.mp4").write_text("rare sound")
    both = Modality.COLOR, Modality.AUDIO
    assert [Path(f.path).name for f in ingest(folder, place, *both).damaged] == ["rare.mp4"]
    networks.clear()
    assert ingest(folder, place, *both).unchanged == 2
    monkeypatch.setenv("VIDSIM_CODECS", "+tta")
    assert ingest(folder, place, Modality.COLOR).unchanged == 2, "of which sound is no part"
    assert "lib/rare.mp4" not in networks
    (folder / "rare.mp4").rename(folder / "moved.mp4")
    ingest(folder, place, *both)
    assert "lib/moved.mp4" in networks


def test_it_is_tried_again_once_it_has_changed(place, folder, networks):
    ingest(folder, place)
    networks.clear()
    os.utime(folder / "bad.mp4", ns=(0, 1))
    assert failed(ingest(folder, place))["bad.mp4"] == ("It is damaged.", True)
    assert failed(ingest(folder, place))["bad.mp4"] == ("It is damaged.", False)
    (folder / "bad.mp4").write_text("mended")
    report = ingest(folder, place)
    assert (report.embedded, report.failed) == (1, [])
    assert networks == 2 * ["lib/bad.mp4"]
    assert not note(place).exists()
    in_step(place)


def test_it_is_tried_again_where_somebody_asks_for_it(place, folder, networks):
    ingest(folder, place)
    networks.clear()
    assert failed(ingest(folder, place, retry=True)) == {"bad.mp4": ("It is damaged.", True)}
    assert networks == ["lib/bad.mp4"]
    assert failed(ingest(folder, place))["bad.mp4"] == ("It is damaged.", False)


def test_it_is_tried_again_by_another_version_and_with_other_options(
    place, folder, networks, monkeypatch
):
    ingest(folder, place)
    for change in ({"audio_track": 2}, {"segment_seconds": 5.0}):
        assert failed(ingest(folder, place, **change))["bad.mp4"] == ("It is damaged.", True)
    assert failed(ingest(folder, place, "motion"))["bad.mp4"] == ("It is damaged.", True)
    assert failed(ingest(folder, place, "motion"))["bad.mp4"] == ("It is damaged.", False)
    monkeypatch.setattr(plan, "__version__", "99")
    assert failed(ingest(folder, place, "motion"))["bad.mp4"] == ("It is damaged.", True)


def test_what_the_machine_failed_with_is_tried_every_time(place, folder, networks):
    (folder / "far.mp4").write_text("out of reach")
    (folder / "empty.mp4").touch()
    for _ in range(2):
        found = failed(ingest(folder, place))
        assert found["far.mp4"] == ("The disk gave no answer.", True)
        assert found["empty.mp4"] == ("It is an empty file.", True)  # which costs nothing
    assert networks.count("lib/far.mp4") == 2


def test_what_failed_keeps_its_note_while_another_file_is_ingested(place, folder, networks):
    ingest(folder, place)
    (folder / "a.mp4").write_text("another")
    assert ingest(folder / "a.mp4", place, retry=True).embedded == 1
    assert failed(ingest(folder, place))["bad.mp4"] == ("It is damaged.", False)
    (folder / "bad.mp4").unlink()
    assert ingest(folder, place).failed == []
    assert not note(place).exists()


def test_a_file_that_was_damaged_later_keeps_its_rows_and_is_left_alone(place, folder, networks):
    ingest(folder, place)
    (folder / "a.mp4").write_text("damaged")
    assert failed(ingest(folder, place))["a.mp4"] == ("It is damaged.", True)
    networks.clear()
    report = ingest(folder, place)
    assert failed(report)["a.mp4"] == ("It is damaged.", False)
    assert (report.videos, report.missing, networks) == (1, [], [])
    assert in_step(place) == {"labhist": 2}


def test_a_library_that_was_removed_begins_anew(place, folder, networks):
    ingest(folder, place)
    remove_all(place, {"lib": ["lib/a.mp4"]}, whole=["lib"])
    assert failed(ingest(folder, place))["bad.mp4"] == ("It is damaged.", True)


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "3", '{"lib/bad.mp4": "damaged"}', "\xff", "half", "a digit"]
)
def test_a_note_that_is_lost_or_damaged_has_the_files_tried_again(place, folder, networks, text):
    ingest(folder, place)
    whole = note(place).read_text()
    if text is None:
        note(place).unlink()
    else:
        wrong = {"half": whole[: len(whole) // 2], "a digit": whole.replace("7", "8", 1)}
        note(place).write_text(wrong.get(text, text), "latin-1")
    report = ingest(folder, place)
    assert failed(report) == {"bad.mp4": ("It is damaged.", True)}
    assert report.notes == []
    assert note(place).read_text() == whole


def test_a_note_that_cannot_be_written_costs_nothing_else(place, folder, networks, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(failed_files, "write_checked", full)
        assert ingest(folder, place).embedded == 1
    assert failed(ingest(folder, place))["bad.mp4"] == ("It is damaged.", True)


def test_the_command_says_what_was_not_tried_and_how_to(place, folder, networks, vidsim_here: Here):
    vidsim_here(place.home, "ingest", str(folder))
    again = vidsim_here(place.home, "ingest", str(folder))
    assert again.returncode == 0
    assert again.stderr.splitlines() == [
        "0 embedded, 1 unchanged, 1 failed.",
        f"  failed before: {folder / 'bad.mp4'}: It is damaged.",
        "Not tried again, as unchanged since: 1 file (--retry tries all).",
        "Nothing new to do.",
    ]
    as_json = vidsim_here(place.home, "ingest", str(folder), "--json").stdout
    (file,) = json.loads(as_json)["failed"]
    assert (file["reason"], file["tried"]) == ("It is damaged.", False)
    retried = vidsim_here(place.home, "ingest", str(folder), "--retry")
    assert f"  failed: {folder / 'bad.mp4'}: It is damaged." in retried.stderr
    assert "Not tried again" not in retried.stderr


def test_with_nothing_to_embed_no_network_is_loaded(place, folder, networks):
    ingest(folder, place, *Modality)
    code = """if True:
        import atexit, sys
        heavy = {"torch", "tensorflow", "timm"}
        atexit.register(lambda: print("imported:", *heavy & set(sys.modules), file=sys.stderr))
        from vidsim.cli import main
        main()"""
    done = subprocess.run(
        [sys.executable, "-c", code, "ingest", str(folder)],
        env=environment(place.home),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "failed before: " in done.stderr
    assert done.stderr.splitlines()[-1] == "imported:"
