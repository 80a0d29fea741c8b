"""The command line: what it prints and where, how it fails, and what it leaves behind."""

from __future__ import annotations

import csv
import json
import os
import pty
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from filelock import FileLock

from vidsim import cli
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards.home import Place
from vidsim.ingest.system.progress import Bars
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.explanation import Explanation
from vidsim.schemas.results import (
    FailedFile,
    ImportReport,
    IngestReport,
    QueryMatch,
    QueryResult,
    StoredVideo,
    VerifyReport,
)

from .helpers.clips import write_shades
from .helpers.command_line import command, environment, vidsim
from .helpers.embedded_videos import embedded, store
from .helpers.milvus_targets import empty_place

LONG = "a-name-that-is-longer-than-any-terminal-is-wide-" + 12 * "0123456789"
LIBRARIES = ("torch", "tensorflow", "pymilvus", "pandas", "av", "cv2", "h5py")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A folder of three clips, a home that holds them, and what ingest said."""
    folder = tmp_path_factory.mktemp("shared")
    shades = {"snow/1.mkv": 240, "snow/2.mkv": 220, f"{LONG}.mkv": 30}
    write_shades(folder / "clips", shades)
    done = vidsim(folder / "home", "ingest", str(folder / "clips"), "-m", "color", "--json")
    return folder / "clips", folder / "home", done


@pytest.fixture
def clips(shared) -> Path:
    return shared[0]


@pytest.fixture
def home(shared) -> Path:
    return shared[1]


@pytest.fixture
def call(home, vidsim_here):
    """Runs the command line in this process: (exit code, stdout, stderr)."""

    def run(*words: str, **changes: str) -> tuple[int, str, str]:
        done = vidsim_here(home, *words, **changes)
        return done.returncode, done.stdout, done.stderr

    return run


# --- what it prints


def test_ingest_prints_a_report_that_its_model_reads(shared):
    done = shared[2]
    report = IngestReport.model_validate_json(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (report.library, report.videos, report.embedded) == ("clips", 3, 3)
    assert (report.rows, report.failed, report.notes) == ({"color": 3}, [], [])


def test_query_prints_a_ranking_that_its_model_reads(home):
    done = vidsim(home, "query", "clips/snow/1.mkv", "--json")
    result = QueryResult.model_validate_json(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert [r.video_id for r in result.results] == ["clips/snow/2.mkv", f"clips/{LONG}.mkv"]
    assert result.results[0].label == "snow"


def test_query_takes_several_clips_and_what_they_are_not_like(call):
    names = ("clips/snow/1.mkv", f"clips/{LONG}.mkv")
    code, out, _ = call("query", *names, "--include-self", "--json")
    result = QueryResult.model_validate_json(out)
    assert (code, result.examples, result.negatives) == (0, list(names), [])
    assert {*result.results[0].modalities["color"].to_examples} == {*names}
    code, out, _ = call("query", names[0], "--not", names[1], "--json")
    result = QueryResult.model_validate_json(out)
    assert (code, result.negatives) == (0, [names[1]])
    assert [r.video_id for r in result.results] == ["clips/snow/2.mkv"]


def test_a_least_likeness_that_nothing_has_is_told_with_what_is_there(call):
    code, out, err = call("query", "clips/snow/1.mkv", "--min-score", "1")
    told = re.search(r"Nothing is as much like .* as 1, but up to (0\.\d\d); take a smaller", err)
    assert (code, out) == (1, "")
    assert told
    assert call("query", "clips/snow/1.mkv", "--min-score", told[1])[0] == 0


def test_query_takes_a_part_of_a_clip(call, clips):
    asked = ("query", str(clips / "snow/1.mkv"), "--from", "0:00.2", "--to", ".6")
    code, out, _ = call(*asked, "--region", "0.25,0,0.5,1", "--json")
    match = QueryResult.model_validate_json(out).results[0].modalities["color"]
    assert (code, match.query_start_s, match.query_end_s) == (0, 0.2, 0.6)


def test_a_ranking_as_csv_and_as_a_page(call, tmp_path):
    code, out, err = call("query", "clips/snow/1.mkv", "--csv", "--html", str(tmp_path / "p.html"))
    rows = list(csv.DictReader(out.splitlines()))
    assert code == 0
    assert [row["rank"] for row in rows] == ["1", "2"]
    assert err.endswith(f"Page: {tmp_path / 'p.html'}\n")
    assert "<h1>Videos like" in (tmp_path / "p.html").read_text()


def test_what_cannot_be_written_is_told_before_the_work(call, tmp_path):
    code, out, err = call("query", "clips/snow/1.mkv", "--html", str(tmp_path))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "is a directory" in err
    code, out, err = call("query", "clips/snow/1.mkv", "--html", str(tmp_path / "no" / "p.html"))
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "there is no folder" in err
    assert call("query", "clips/snow/1.mkv", "--csv", "--json")[0] == 2


def on_a_terminal(
    home: Path, *words: str, columns: int, notes: bool = False, **changes: str
) -> str:
    """What the command line prints on a terminal of a width, its notes too where asked for."""
    ours, theirs = pty.openpty()
    there = environment(home, COLUMNS=str(columns), **changes)
    said = theirs if notes else subprocess.PIPE
    process = subprocess.Popen(command(*words), stdout=theirs, stderr=said, env=there)
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # Linux says so once nobody can write any more
        while chunk := os.read(ours, 65536):
            shown += chunk
    os.close(ours)
    process.communicate(timeout=60)
    return shown.decode()


@pytest.mark.acceptance
def test_a_wide_terminal_is_told_paths_and_one_that_draws_gets_pictures(home, clips):
    path = str(clips / "snow" / "2.mkv")
    ask = ("query", "clips/snow/1.mkv", "-k", "1")
    assert path not in on_a_terminal(home, *ask, columns=119)
    shown = on_a_terminal(home, *ask, "--pictures", columns=120, TERM="xterm-kitty", TMUX="")
    assert path in shown
    assert shown.count("\033_Ga=T,f=100,") == 1


def test_without_a_terminal_pictures_are_not_drawn_and_it_is_said(call):
    code, out, err = call("query", "clips/snow/1.mkv", "--pictures", TERM="xterm-kitty")
    assert code == 0
    assert "\033" not in out
    assert "the output goes elsewhere; --html FILE writes them to a page." in err


def test_a_terminal_that_cannot_draw_is_told(home):
    ask = ("query", "clips/snow/1.mkv", "--pictures")
    printed = on_a_terminal(home, *ask, columns=80, notes=True, TERM="xterm-kitty", TMUX="1")
    assert "\033_G" not in printed
    assert "not through tmux or screen" in " ".join(printed.split())


@pytest.mark.parametrize("other", ["--csv", "--json"])
def test_pictures_are_refused_where_only_data_is_printed(call, other):
    code, out, err = call("query", "clips/snow/1.mkv", "--pictures", other)
    assert (code, out, len(err.splitlines())) == (2, "", 1)
    assert "--pictures" in err


def test_two_videos_are_explained(call, clips):
    code, out, err = call("explain", "clips/snow/1.mkv", str(clips / "snow" / "1.mkv"), "--json")
    assert (code, err) == (0, "")
    assert Explanation.model_validate_json(out).likeness > 0.7  # by colour alone there is no more
    code, out, _ = call("explain", "clips/snow/1.mkv", "clips/snow/2.mkv")
    assert code == 0
    assert out.splitlines()[1].startswith("    color   ")


def test_a_video_is_opened_or_its_path_said(call, clips):
    code, out, err = call(
        "open", "clips/snow/1.mkv", "--at", "0:02", DISPLAY="", WAYLAND_DISPLAY=""
    )
    assert (code, out) == (0, f"{clips / 'snow' / '1.mkv'}\n")
    assert err == "There is no display here to open it on; its path is above.\n"


def test_ingest_again_says_that_there_is_nothing_to_do(call, clips):
    code, out, err = call("ingest", str(clips), "-m", "color")
    assert code == 0
    assert out == "clips: 3 videos, 3 segments\n    color   3 rows\n"
    assert err == "0 embedded, 3 unchanged, 0 failed.\nNothing new to do.\n"


@pytest.mark.acceptance
def test_reindex_fills_another_milvus_and_says_how_to_use_it(call, home, request):
    there = empty_place("lite over TCP", home, request).uri
    assert call("reindex", "--uri", there) == (
        0,
        "",
        "Written: 3 rows of labhist.\nOther commands still use the embedded Milvus; to have them "
        f"use this one, set VIDSIM_URI={there}.\n",
    )
    assert call("reindex", VIDSIM_URI=there) == (0, "", "Written: nothing; 3 were there.\n")
    assert call("reindex", "--uri", "embedded", VIDSIM_URI=there)[2].endswith(
        "use the Milvus of VIDSIM_URI; to have them use this one, unset VIDSIM_URI.\n"
    )


def test_verify_fails_where_something_differs_and_mends_it(call, home):
    heading = "library  backbone  level  shards  milvus  missing  extra  differing  repaired\n"
    line = "clips    labhist   rows        3       {}        {}      0          0         {}\n"
    assert call("verify") == (0, heading + line.format(3, 0, 0), "")
    with open_store(Place(home), writing=True) as store:
        store.delete(BACKBONES["labhist"], ["clips/snow/1.mkv"])
    code, out, err = call("verify", "clips", "--json")
    report = VerifyReport.model_validate_json(out)
    assert (code, report.milvus, report.comparisons[0].missing) == (1, "embedded", 1)
    assert err == (
        "clips labhist rows, for example clips/snow/1.mkv#00000.0\n"
        "Error: Milvus and the shards differ in 1 row; add --repair to mend that.\n"
    )
    code, out, err = call("verify", "--repair")
    assert (code, out) == (0, heading + line.format(2, 1, 1))
    assert call("verify") == (0, heading + line.format(3, 0, 0), "")


def test_query_gives_a_line_a_video_and_a_line_a_modality(call):
    code, out, err = call("query", "clips/snow/1.mkv")
    first, moment, _, second, _, _ = out.splitlines()
    assert code == 0
    assert moment == "   best at 0:00, 1.0 s"
    words = "(same footage|very alike  |alike       |weak        )"
    assert re.fullmatch(rf"1  [01]\.\d\d  {words}  clips/snow/2\.mkv", first)
    assert re.fullmatch(rf"2  [01]\.\d\d  {words}  clips/{LONG}\.mkv", second)
    assert re.search(r"^   color   0\.\d\d  #1 +0\.\d{3}  0\.0-1\.0 ~ 0\.0-1\.0$", out, re.M)
    assert "Each modality: likeness, rank, similarity" in err


def made_result(video_id: str, **modalities: dict[str, float]) -> QueryResult:
    names = ["color", "frame", "audio", "motion"]
    match = QueryMatch(
        rank=1,
        video_id=video_id,
        path="",
        label="",
        likeness=1.0,
        word="same footage",
        relative_score=1.0,
        moments=[
            {
                "query_start_s": 0,
                "query_end_s": 36_000.0,
                "start_s": start_s,
                "end_s": start_s + 36_000.0,
                "likeness": 1,
            }
            for start_s in range(35_990, 35_995)
        ],
        modalities=modalities,
    )
    return QueryResult(
        query="q",
        modalities=names,
        missing_modalities=[],
        fusion="rrf",
        chance=0.6,
        nothing_alike=False,
        results=[match] * 1000,
    )


def test_the_widest_evidence_fits_80_columns(call, monkeypatch):
    widest = {
        "rank": 1000,
        "similarity": -0.9999,
        "likeness": 1.0,
        "share": 1.0,
        "query_start_s": 35_990.0,
        "query_end_s": 36_000.0,
        "start_s": 35_990.0,
        "end_s": 36_000.0,
    }
    result = made_result("a/b.mp4", color=widest, frame=widest, motion=widest)
    monkeypatch.setattr("vidsim.search.query.answer", lambda *_: result)
    _, out, err = call("query", "q")
    assert len(out.splitlines()) == 6000
    assert max(map(len, (out + err).splitlines())) <= 80
    assert "audio   none" in out


def test_a_name_cannot_drive_the_terminal(call, monkeypatch):
    monkeypatch.setattr("vidsim.search.query.answer", lambda *_: made_result("a/\x1b[2J\n.mp4"))
    _, out, _ = call("query", "q")
    assert out.splitlines()[0] == "   1  1.00  same footage  a/\\x1b[2J\\n.mp4"


def test_models_list_fits_80_columns(call):
    code, out, err = call("models", "list")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"^labhist +color +512-d  none needed, default$", out, re.M)
    _, out, _ = call("models", "list", "--json")
    assert {row["name"] for row in json.loads(out)} >= {"labhist", "i3d_192", "yamnet"}


def test_libraries_lists_libraries_and_ids(call, clips):
    _, out, err = call("libraries")
    assert out.splitlines()[0] == "clips"
    assert f"    from {clips}\n" in out
    _, out, err = call("libraries", "--videos")
    assert out.splitlines() == [f"clips/{LONG}.mkv", "clips/snow/1.mkv", "clips/snow/2.mkv"]
    assert err == ""


def test_videos_are_listed_with_what_is_known_of_them(call):
    code, out, err = call("videos", "clips/snow")
    assert (code, err) == (0, "")
    heading, *lines = out.splitlines()
    assert heading.split() == ["duration", "size", "sound", "modalities", "label", "video"]
    assert [re.sub(r"\S+ k?B ", "SIZE ", line.strip()).split() for line in lines] == [
        ["0:01", "SIZE", "-", "color", "snow", f"clips/snow/{n}.mkv"] for n in (1, 2)
    ]
    _, out, _ = call("videos", "clips/snow", "--json")
    first, second = (StoredVideo.model_validate(each) for each in json.loads(out))
    assert (first.video_id, first.label, first.sound) == ("clips/snow/1.mkv", "snow", None)
    assert (first.rows, first.modalities, first.damage) == ({"labhist": 1}, ["color"], "")
    _, out, _ = call("videos", "--csv", "--label", "snow", "--reverse")
    rows = [*csv.DictReader(out.splitlines())]
    assert [row["video_id"] for row in rows] == [second.video_id, first.video_id]
    assert rows[1]["rows"] == "labhist=1"
    assert int(rows[1]["size"]) == first.size == Path(first.path).stat().st_size


@pytest.mark.parametrize("listed", ["", "--csv"])
def test_no_video_that_fits_is_said(call, listed):
    code, out, err = call("videos", "--damaged", *listed.split())
    assert (code, err) == (0, "No stored video is like that.\n")
    assert out.count("\n") == len(listed.split())  # the header of the CSV


def test_labels_are_counted(call):
    assert call("labels") == (0, "1  (none)\n2  snow\n", "")
    _, out, _ = call("labels", "--json")
    assert json.loads(out) == [{"label": "", "videos": 1}, {"label": "snow", "videos": 2}]


def test_a_removal_at_a_terminal_is_asked_for_after_the_list(home):
    control, terminal = pty.openpty()
    os.write(control, b"n\n")
    done = subprocess.run(
        command("remove", "clips/snow"),
        env=environment(home),
        stdin=terminal,
        capture_output=True,
        text=True,
        timeout=120,
    )
    os.close(terminal)
    os.close(control)
    assert (done.returncode, done.stdout.strip()) == (1, "")
    listed, asked = done.stderr.split("Remove 2 videos of clips? [y/N]:")
    assert listed == "  clips/snow/1.mkv\n  clips/snow/2.mkv\n"
    assert asked.strip() == "Nothing was done."


def test_labels_of_a_csv_stay(clips, home, tmp_path, call):
    shutil.copytree(home, tmp_path / "home")
    here = {"VIDSIM_HOME": str(tmp_path / "home")}
    (tmp_path / "labels.csv").write_text("clips/snow/1.mkv,ice\nclips/snow/2.mkv,snow\n")
    said = call("label", str(tmp_path / "labels.csv"), **here)
    assert said == (0, "", "1 label set, 1 were so already.\n")
    call("ingest", str(clips), "-m", "color", **here)
    assert call("labels", **here)[1] == "1  (none)\n1  ice\n1  snow\n"
    assert call("verify", **here)[0] == 0
    (tmp_path / "labels.csv").write_text("clips/snow/3.mkv,ice\n")
    code, out, err = call("label", str(tmp_path / "labels.csv"), **here)
    assert (code, out) == (1, "")
    assert "(did you mean clips/snow/1.mkv?)" in err or "2.mkv?)" in err


def test_what_was_removed_without_a_question_is_listed(clips, home, tmp_path, call):
    shutil.copytree(home, tmp_path / "home")
    here = {"VIDSIM_HOME": str(tmp_path / "home")}
    code, out, err = call("remove", "clips/s*/*", "--label", "snow", "--yes", **here)
    assert (code, out) == (0, "")
    assert err == (
        "  clips/snow/1.mkv\n  clips/snow/2.mkv\n"
        "Removed 2 videos of clips; the files themselves are untouched.\n"
    )
    assert call("videos", "--csv", **here)[1].count("\n") == 2
    assert call("verify", **here)[0] == 0


@pytest.mark.parametrize(
    "words", [["libraries"], ["libraries", "--videos"], ["videos"], ["labels"]]
)
def test_an_empty_home_lists_nothing_and_says_what_to_do(call, tmp_path, words):
    code, out, err = call(*words, VIDSIM_HOME=str(tmp_path / "none"))
    assert (code, out) == (0, "")
    assert err == "Nothing is stored yet; run 'vidsim ingest FOLDER'.\n"


def test_a_long_list_of_failures_is_cut_short(call, monkeypatch):
    report = IngestReport(
        library="l",
        videos=1,
        segments=1,
        rows={},
        embedded=1,
        unchanged=0,
        no_audio=0,
        missing=[],
        removed=0,
        failed=[FailedFile(path=f"{i}.mp4", reason="not a video") for i in range(500)],
    )
    monkeypatch.setattr("vidsim.ingest.pipeline.ingest", lambda *_, **__: report)
    code, _, err = call("ingest", "folder")
    assert code == 0
    assert len(err.splitlines()) < 30
    assert "and 480 more (--json lists all)" in err


def test_notes_are_wrapped_between_words_at_a_terminal(home):
    control, terminal = pty.openpty()
    environ = environment(home)
    done = subprocess.run(
        command("query", "clips/nothing", "--model", "color=vid2img"),
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
        timeout=120,
    )
    os.close(terminal)
    said = read_all(control)
    assert (done.returncode, done.stdout) == (1, b"")
    assert said.startswith("Error: Nothing is stored as color=vid2img, only color=labhist;")
    assert len(said.splitlines()) > 1
    assert max(map(len, said.splitlines())) <= 80


def read_all(terminal: int) -> str:
    """Whatever comes from a terminal until its last writer is gone."""
    data = b""
    with suppress(OSError):
        while part := os.read(terminal, 65536):
            data += part
    os.close(terminal)
    return data.decode()


# --- how it fails

NO_MILVUS = {"VIDSIM_URI": "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    ("words", "changes", "code", "said"),
    [
        ("query nothing.mp4", {}, 1, "neither a file nor the id .*; 'vidsim videos' lists"),
        ("query clips/none.mkv", {}, 1, "neither a file nor the id"),
        ("query STORED", {"VIDSIM_HOME": "TMP/new"}, 1, "Nothing is stored yet; run"),
        ("query STORED none.mp4", {}, 1, "none.mp4 is neither a file nor the id"),
        ("query STORED --not none.mp4", {}, 1, "none.mp4 is neither a file nor the id"),
        ("query STORED --not STORED", {}, 1, "is both an example and a --not; leave one"),
        ("query STORED --from 0:90:00:0", {}, 1, "--from 0:90:00:0 is no time; write seconds"),
        ("query STORED --from 5 --to 0:04", {}, 1, "from 0:05 to 0:04 holds nothing; give a --to"),
        ("query STORED --from 1:10", {}, 1, "lasts 0:01, and the part begins at 1:10; give an e"),
        ("query STORED --region 1,2,3", {}, 1, "--region 1,2,3 is no region; write x,y,width"),
        ("query STORED --region 1,2,3,0", {}, 1, "--region 1,2,3,0 is empty; give a width and"),
        ("query STORED --region 0,0,.5,1", {}, 1, "no pictures are stored, .*; give its file, /"),
        ("query CLIPS/snow/1.mkv --from 5", {}, 1, "lasts 0:01, and .*; give another --from"),
        ("query STORED -m smell", {}, 1, "No modality is called 'smell'; choose from color"),
        ("query STORED -m motion", {}, 1, "as motion=i3d_192, only color=labhist; choose of those"),
        ("query STORED --model color=vid2img", {}, 1, "ingest again with --model color=vid2img"),
        ("query STORED --model color=x", {}, 1, "no backbone of color; choose from color=labhist"),
        ("query STORED --filter label=x", {}, 1, "The filter 'label=x' is not understood .* for e"),
        ("query STORED --filter label=='x'", {}, 1, "Nothing was found for .*; widen --filter"),
        ("query STORED --filter label=='x' --min-score .5", {}, 1, "Nothing was found for .*; wi"),
        ("query STORED --weights color", {}, 1, "'color' is no weight; write for example"),
        ("query STORED --weights color=-1", {}, 1, "'color=-1' is no weight; write for example"),
        ("query STORED --library none", {}, 1, "No library is called none; there is clips"),
        (
            "query STORED --fusion best",
            {},
            2,
            "'best' is not one of 'calibrated', 'rrf'; see 'v",
        ),
        (
            "query STORED --device tpu",
            {},
            2,
            "'tpu' is not one of 'auto', 'cpu', 'cuda'; see 'v",
        ),
        ("query STORED --k 0", {}, 2, "'--k': .* see 'vidsim query --help'"),
        ("query", {}, 2, "Missing argument .*; see 'vidsim query --help'"),
        ("frobnicate", {}, 2, "No such command 'frobnicate'; see 'vidsim --help'"),
        ("query STORED", NO_MILVUS, 1, "127.0.0.1:9 does not answer .*; start it"),
        ("query STORED", {"VIDSIM_URI": "here"}, 1, "VIDSIM_URI is no address .*; write one"),
        ("query STORED", {"VIDSIM_DEVICE": "tpu"}, 1, "VIDSIM_DEVICE=tpu cannot .*; correct it"),
        (
            "query STORED",
            {"VIDSIM_HOME": "/proc/x"},
            1,
            "Nothing is stored yet; run 'vidsim ingest",
        ),
        ("ingest CLIPS", {"VIDSIM_HOME": "/proc/x"}, 1, "/proc/x cannot be written .* VIDSIM_HOME"),
        ("ingest TMP/none", {}, 1, "There is no .*; give the folder"),
        ("ingest TMP", {}, 1, "holds no video or sound file"),
        ("ingest CLIPS -m smell", {}, 1, "No modality is called 'smell'; choose from color"),
        ("query clips/snw/1.mkv", {}, 1, r"stored video \(did you mean clips/snow/1.mkv\?\); "),
        ("query STORED --library clip", {}, 1, r"there is clips \(did you mean clips\?\)\."),
        ("videos none", {}, 1, "none is no library, folder or stored video; 'vidsim videos' l"),
        ("videos clips/snwo", {}, 1, r"\(did you mean clips/snow\?\); 'vidsim videos' lists"),
        ("videos --label snwo", {}, 1, r"'snwo' \(did you mean snow\?\); 'vidsim labels' lists"),
        ("videos --filter end_s>1", {}, 1, "asks for end_s of rows; fields of a video are video"),
        ("videos --filter label=x", {}, 1, "The filter 'label=x' is not understood .*; fields"),
        ("videos --sort age", {}, 2, "'age' is not one of 'id', 'label', .*; see 'vidsim videos"),
        ("videos --csv --json", {}, 2, "choose one of --csv and --json; see 'vidsim videos"),
        ("labels none", {}, 1, "none is no library, folder or stored video; 'vidsim videos' l"),
        ("remove", {}, 2, "say what to remove: libraries, .*; see 'vidsim remove --help'"),
        ("remove none", {}, 1, "none is no library, folder or stored video; 'vidsim videos' l"),
        ("remove clips/ice/*", {}, 1, "No stored video matches clips/ice/\\*; 'vidsim videos' l"),
        ("remove --filter path==''", {}, 1, "No stored video is like that; 'vidsim videos' lists"),
        ("remove clips/snow", {}, 1, "no terminal to ask at; add --yes to remove 2 videos of clip"),
        ("remove clips", {}, 1, "no terminal to ask at; add --yes to remove 3 videos of clips"),
        ("reindex none", {}, 1, "No library is called none; there is clips"),
        ("verify none", {}, 1, "No library is called none; there is clips"),
        (
            "verify --sample few",
            {},
            2,
            "'few' is no number, no share such as 5%, and not all; see 'vidsim verify",
        ),
        ("verify --give-up", {}, 2, "it is a part of --repair; add that"),
        ("verify --uri http://127.0.0.1:9", {}, 1, "at 127.0.0.1:9 does not answer .*; start"),
        ("export TMP --library none", {}, 1, "No library is called none; there is clips"),
        ("models pull none", {}, 1, "No backbone is called 'none'; choose from labhist"),
        ("models path labhist", {}, 1, "labhist needs no weights"),
    ],
)
def test_an_error_is_one_sentence_with_the_next_step(
    call, clips, tmp_path, words, changes, code, said
):
    def fill(text: str) -> str:
        names = {"STORED": "clips/snow/1.mkv", "CLIPS": str(clips), "TMP": str(tmp_path)}
        return re.sub("|".join(names), lambda m: names[m[0]], text)

    found, out, err = call(*fill(words).split(), **{k: fill(v) for k, v in changes.items()})
    assert (found, out) == (code, "")
    assert re.search(said, err), err
    assert re.fullmatch(r"Error: .+\.\n", err), err


def test_milvus_adds_nothing_to_an_error(home):
    done = vidsim(home, "query", "clips/snow/1.mkv", "--filter", "label = x")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"Error: The filter 'label = x' .+\n", done.stderr), done.stderr


def test_debug_shows_the_traceback(home):
    done = vidsim(home, "query", "nothing.mp4", "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "LibraryError: nothing.mp4" in done.stderr


def test_weights_that_cannot_be_fetched_say_what_to_check(call, clips, tmp_path):
    code, out, err = call(
        *("ingest", str(clips), "-m", "frame"),
        VIDSIM_CACHE=str(tmp_path / "cache"),
        VIDSIM_HOME=str(tmp_path / "home"),
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_EXTRA_INDEX_URL="",
        PIP_FIND_LINKS="",
    )
    assert (code, out) == (1, "")
    assert re.fullmatch(r"Error: .+ cannot be fetched: .+; check the network .+\n", err), err


def test_an_ingest_of_which_nothing_can_be_read_fails(call, tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / os.fsdecode(b"\xff.mp4")).write_text("hello")
    code, out, err = call("ingest", str(tmp_path), VIDSIM_HOME=str(tmp_path / "home"))
    assert (code, out) == (1, "")
    assert "a.mp4: It is an empty file." in err
    assert "\\udcff.mp4: Its name is no valid UTF-8; rename it." in err
    assert re.search(r"^Error: Nothing of .+ could be read; give videos or sounds\.$", err, re.M)

    code, out, _ = call("ingest", str(tmp_path), "--json", VIDSIM_HOME=str(tmp_path / "home"))
    assert code == 1
    assert len(IngestReport.model_validate_json(out).failed) == 2


@pytest.mark.parametrize(
    ("held", "why"), [("hello", "Not a video: .+"), ("", "It is an empty file")]
)
def test_a_clip_that_is_no_video_cannot_be_searched_with(home, tmp_path, held, why):
    (tmp_path / "a.mp4").write_text(held)
    done = vidsim(home, "query", str(tmp_path / "a.mp4"))
    assert (done.returncode, done.stdout) == (1, "")
    said = rf"Error: .+/a\.mp4 cannot be searched with \({why}\); give .+\n"
    assert re.fullmatch(said, done.stderr), done.stderr


def test_a_program_off_the_path_is_named_as_it_was_called(tmp_path, monkeypatch):
    program = tmp_path / "my folder" / "vidsim"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(program)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert cli._called() == f"'{program}'"
    monkeypatch.setenv("PATH", str(program.parent))
    assert cli._called() == "vidsim"
    monkeypatch.setattr("sys.argv", ["/gone/vidsim"])
    assert cli._called() == "/gone/vidsim"


def test_a_proxy_does_not_come_between_vidsim_and_its_own_store(home):
    away = "http://127.0.0.1:9"
    done = vidsim(home, "query", "clips/snow/1.mkv", http_proxy=away, https_proxy=away, no_proxy="")
    assert (done.returncode, done.stderr.count("Error")) == (0, 0), done.stderr


def test_an_empty_answer_is_still_json(call):
    code, out, _ = call("query", "clips/snow/1.mkv", "--filter", "label == 'x'", "--json")
    assert code == 1
    assert QueryResult.model_validate_json(out).results == []


# --- other processes


@pytest.mark.acceptance
@pytest.mark.parametrize(("allowed", "code"), [(1024, 0), (60, 1)])
def test_more_files_may_be_open_than_a_shell_allows_as_far_as_the_system_does(
    tmp_path, allowed, code
):
    place = Place(tmp_path / "home")
    for n in range(40):
        store(place, embedded(f"lib/{n}.mp4", backbones=("labhist",), seed=n))
    done = subprocess.run(
        command("query", "lib/0.mp4"),
        env=environment(place.home),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (60, allowed)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout.count("lib/")) == (code, 0 if code else 10), done.stderr
    assert ("ulimit -n" in done.stderr) is bool(code)


def test_a_home_that_is_being_written_to_is_left_alone(call, clips, home):
    with FileLock(home / "writing.lock"):
        code, out, err = call("ingest", str(clips), "-m", "color")
        assert (code, out) == (1, "")
        assert re.fullmatch(r"Error: The home .+ is in use: .+ \(--wait does\), or .+\n", err)
        assert call("remove", "clips", "--yes")[0] == 1
        assert call("libraries", "--videos")[1].count("\n") == 3
        code, out, err = call("query", "clips/snow/1.mkv")
        assert (code, out.count("clips/")) == (0, 2)
        assert "is still writing" in err
    assert call("libraries", "--videos")[2] == ""


def test_a_store_that_another_process_holds_is_said_to_be_in_use(home):
    with open_store(Place(home), writing=True) as store:
        store.backbones()  # it opens at its first use
        done = vidsim(home, "reindex")
        assert vidsim(home, "query", "clips/snow/1.mkv").returncode == 0
    assert (done.returncode, done.stdout) == (1, "")
    waiting, said = done.stderr.splitlines()
    assert re.fullmatch(r"The store .+ is in use .+; waiting a moment for it\.", waiting)
    assert re.fullmatch(r"Error: The store .+ is in use .+; wait .+", said)


@pytest.mark.acceptance
@pytest.mark.parametrize("words", ["libraries --videos", "libraries --json", "query STORED"])
def test_a_reader_that_goes_away_is_no_error_to_report(home, words):
    words = words.replace("STORED", "clips/snow/1.mkv")
    process = subprocess.Popen(
        command(*words.split()),
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.close()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    reading = "Each modality: likeness, rank, similarity, query ~ video seconds.\n"
    assert not err or err.endswith(reading)


@pytest.mark.acceptance
def test_ctrl_c_keeps_what_is_finished_and_leaves_no_process(make_clip, tmp_path):
    clip = make_clip(times=[i / 25 for i in range(25)])
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(400):
        os.link(clip, folder / f"{number:03}.mkv")
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        command("ingest", str(folder), "-m", "color"),
        env=environment(tmp_path / "home"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    seen = ""
    while not re.search(r" [1-9]\d+ of 400 files done", seen):
        seen += os.read(control, 65536).decode(errors="replace")
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    seen += read_all(control)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, seen
    assert "Stopping: what is begun is finished and stored; Ctrl-C again stops now." in seen
    assert re.search(r"Interrupted; [^\n]+\n$", seen), seen
    assert "Traceback" not in seen
    assert children
    assert not [child for child in children if child.is_running()]

    told = re.search(r"(\d+) embedded, 0 unchanged, 0 failed, (\d+) left\.", seen)
    assert told, seen
    finished, left = map(int, told.groups())
    assert finished + left == 400
    done = vidsim(tmp_path / "home", "libraries", "--videos")
    assert len(done.stdout.splitlines()) == finished
    assert 5 < finished < 400
    assert b"many: %d videos" % finished in out
    again = vidsim(tmp_path / "home", "ingest", str(folder), "-m", "color")
    assert f"{left} embedded, {finished} unchanged" in again.stderr


LONG_CLIP_FRAMES = 4000


@pytest.mark.acceptance
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_finishes_a_long_file_and_twice_leaves_it(make_clip, tmp_path, times):
    """Without a terminal, as in a script: lines instead of bars, and the same signals."""
    folder = tmp_path / "folder"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    make_clip(
        "folder/long.mp4",
        times=[n / 25 for n in range(LONG_CLIP_FRAMES)],
        images=[noise, 255 - noise],
        codec="libx264",
    )
    process = subprocess.Popen(
        command("ingest", str(folder), "-m", "color", "--workers", "1"),
        env=environment(tmp_path / "home"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    decoder_runs(process)
    process.send_signal(signal.SIGINT)
    for line in process.stderr:
        if line.startswith("Stopping: "):
            break
    else:
        pytest.fail("nothing was said")
    if times == 2:
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert ("folder: 1 video" in out) == (times == 1)
    stored = vidsim(tmp_path / "home", "libraries", "--videos").stdout.splitlines()
    assert stored == (["folder/long.mp4"] if times == 1 else [])
    again = vidsim(tmp_path / "home", "ingest", str(folder), "-m", "color")
    assert again.returncode == 0
    assert ("0 embedded, 1 unchanged" if times == 1 else "1 embedded, 0 unch") in again.stderr


def decoder_runs(process):
    """Waits until a decoder of an ingest has the clip open."""
    while True:
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                if any(f.path.endswith("long.mp4") for f in child.open_files()):
                    return
        assert process.poll() is None
        time.sleep(0.02)


def test_ctrl_c_is_kept_where_the_exception_is_lost():
    before = signal.getsignal(signal.SIGINT)  # ignored in a job of a script's background
    with Bars() as bars:
        bars.start("embedding", 2, "videos")
        with suppress(KeyboardInterrupt):  # as gRPC does
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            bars.advance("embedding", 1)
    assert signal.getsignal(signal.SIGINT) is before


# --- what it imports


def imported(home: Path, *words: str) -> set[str]:
    """Which of the heavy libraries a command has imported at its end."""
    code = f"""if True:
        import atexit, sys
        heavy = {set(LIBRARIES)!r}
        atexit.register(lambda: print(*heavy & set(sys.modules), file=sys.stderr))
        from vidsim.cli import main
        main()"""
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    return set(done.stderr.splitlines()[-1].split())


def test_help_imports_nothing_heavy(tmp_path):
    assert imported(tmp_path, "--help") == set()


def test_a_status_imports_nothing_heavy(home):
    assert imported(home, "status") == {"h5py"}


def test_a_query_by_id_needs_neither_networks_nor_decoders(home):
    assert imported(home, "query", "clips/snow/1.mkv") == {"h5py"}  # which reads the shards


@pytest.mark.acceptance
def test_colours_need_no_network(clips, tmp_path):
    done = imported(tmp_path, "ingest", str(clips), "-m", "color", "--device", "cpu", "--json")
    assert not done & {"torch", "tensorflow", "pymilvus"}


# --- export and import


def test_what_a_lost_shard_held_is_told_where_its_videos_are_left_out(call, tmp_path):
    """An export and a list have fewer videos then, and would look whole."""
    place = Place(tmp_path / "home")
    store(place, embedded("lib/a.mp4"))
    store(place, embedded("lib/b.mp4")).files("lib")[0].unlink()
    for words in (["export", str(tmp_path / "out")], ["libraries", "--videos"], ["libraries"]):
        code, out, err = call(*words, VIDSIM_HOME=str(place.home))
        assert (code, bool(out)) == (0, True)
        assert "000001.h5 is missing" in err


@pytest.mark.acceptance
@pytest.mark.parametrize("layout", ["native", "capstone"])
def test_an_export_in_either_layout_is_imported_again(call, tmp_path, layout):
    code, out, err = call("export", str(tmp_path / "there"), "--layout", layout)
    files = out.split()
    assert (code, err) == (0, "")
    assert all(Path(name).is_file() for name in files)
    other = str(tmp_path / "home")
    code, out, _ = call("import", *files, "--json", VIDSIM_HOME=other)
    (found,) = ImportReport.model_validate_json(out).libraries
    assert (code, found.library, found.imported) == (0, "clips", 3)
    _, out, err = call("import", *files, VIDSIM_HOME=other)
    assert out.startswith("clips: 0 imported, 3 unchanged; 3 videos")
    assert err == "Nothing new to do.\n"


def test_an_import_of_something_else_is_one_sentence(home, tmp_path):
    (tmp_path / "x.h5").write_text("hello")
    done = vidsim(home, "import", str(tmp_path / "x.h5"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {tmp_path}/x.h5 is no HDF5 file that can be read")
    assert done.stderr.count("\n") == 1
    wrong = vidsim(home, "export", str(tmp_path), "--layout", "other")
    assert (wrong.returncode, "not one of 'native', 'capstone'" in wrong.stderr) == (2, True)


# --- folders as they are


@pytest.mark.parametrize("command", ["ingest", "query"])
@pytest.mark.parametrize("kind", ["named pipe", "device", "socket"])
def test_a_path_that_is_no_file_ends_in_a_sentence_and_no_wait(home, tmp_path, command, kind):
    path = tmp_path / "live.ts"
    with (
        tempfile.TemporaryDirectory() as short,  # a socket's path may be of 100 bytes or so
        socket.socket(socket.AF_UNIX) as server,
    ):
        server.bind(f"{short}/s")
        if kind == "named pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("/dev/zero" if kind == "device" else f"{short}/s")
        done = vidsim(home, command, str(path), "-m", "color")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(f"Error: {path} is a {kind}; give a [^\n]+\\.\n", done.stderr), done.stderr


def test_what_is_passed_over_is_counted_and_listed_on_request(call, tmp_path):
    folder = tmp_path / "lib"
    (folder / "@eaDir").mkdir(parents=True)
    (folder / "a.mp4").write_text("damaged")
    (folder / "notes.txt").write_text("a")
    (folder / "list").write_text("a")
    os.mkfifo(folder / "live.ts")
    told = "Passed over: 1 system folder, 2 files that are no media, 1 named pipe"
    words = ("ingest", str(folder), "-m", "color")
    home = str(tmp_path / "home")

    _, _, err = call(*words, VIDSIM_HOME=home)
    assert f"{told} (-v lists them).\n" in err
    assert "notes.txt" not in err

    _, _, err = call(*words, "-v", VIDSIM_HOME=home)
    assert f"{told}.\n" in err
    assert f"  file that is no media: {folder / 'list'}\n" in err
    assert f"  named pipe: {folder / 'live.ts'}\n" in err

    _, out, _ = call(*words, "--json", VIDSIM_HOME=home)
    assert IngestReport.model_validate_json(out).passed_over == {
        "system_folders": [str(folder / "@eaDir")],
        "no_media": [str(folder / "list"), str(folder / "notes.txt")],
        "pipes": [str(folder / "live.ts")],
    }


def test_files_that_moved_are_told(call, clips, tmp_path):
    folder, home = tmp_path / "clips", str(tmp_path / "home")
    shutil.copytree(clips / "snow", folder / "snow")
    words = ("ingest", str(folder), "-m", "color")
    call(*words, VIDSIM_HOME=home)
    (folder / "snow").rename(folder / "ice")
    code, out, err = call(*words, VIDSIM_HOME=home)
    assert code == 0
    assert out.startswith("clips: 2 videos, 2 segments\n")
    assert err == "0 embedded, 0 unchanged, 2 moved, 0 failed.\n"
    _, out, _ = call("query", "clips/ice/1.mkv", "-m", "color", VIDSIM_HOME=home)
    assert "clips/ice/2.mkv" in out


# --- the log


@pytest.mark.acceptance
def test_the_log_is_shown_as_far_as_it_is_asked_for(clips, tmp_path):
    said = {}
    for more in ([], ["-v"], ["-vv"]):
        home = tmp_path / f"home{len(said)}"
        done = vidsim(home, *more, "ingest", str(clips), "-m", "color", "--json")
        assert (done.returncode, IngestReport.model_validate_json(done.stdout).embedded) == (0, 3)
        said[len(said)] = done.stderr
    assert said[0] == ""
    assert "INFO vidsim.ingest.pipeline: clips: 3 to embed" in said[1]
    assert "DEBUG" not in said[1]
    assert "DEBUG vidsim.ingest.pipeline: clips/snow/1.mkv: {'labhist': 1}" in said[2]


@pytest.mark.acceptance
def test_all_of_the_log_is_kept_in_a_file(clips, home, tmp_path):
    file = tmp_path / "log"
    for _ in range(2):
        done = vidsim(home, "query", str(clips / "snow/1.mkv"), VIDSIM_LOG=str(file))
        assert (done.returncode, "DEBUG" in done.stderr) == (0, False)
    assert file.read_text().count("is compared by labhist") == 2
    done = vidsim(home, "libraries", VIDSIM_LOG=str(tmp_path / "none" / "log"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "cannot be written (No such file or directory); name another file." in done.stderr
