"""Split lists: read as people and programs write them; every entry is matched or named."""

from __future__ import annotations

import codecs

import numpy as np
import pytest

from vidsim.ingest.exchange.audioset import read_class_names
from vidsim.ingest.exchange.export import export
from vidsim.ingest.shards.home import open_shards
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.errors import LibraryError
from vidsim.schemas.evaluation import EvaluationReport
from vidsim.search.evaluation.evaluate import EvaluateOptions, evaluate
from vidsim.search.evaluation.protocols import group, official
from vidsim.search.evaluation.split_lists import Names, read_split

from ...helpers.embedded_videos import embedded

pytestmark = pytest.mark.usefixtures("h5_in_thread")

IDS = [
    *(f"ucf/YoYo/v_YoYo_g{g:02}_c01.avi" for g in range(1, 4)),
    *(f"ucf/HandstandPushups/v_HandStandPushups_g{g:02}_c01.avi" for g in range(1, 4)),
    "ucf/snow/clip 2.mp4",
    "ucf/snow/take.one.mov",
    "ucf/snow/#5, the best.mp4",
    "ucf/Café/été.webm",
    "ucf/sea/both.mp4",
    "ucf/sea/both.mkv",
    "ucf/sea/Case.mp4",
    "ucf/sea/case.mp4",
]
FIRST = "ucf/YoYo/v_YoYo_g01_c01.avi"


def read(tmp_path, data: str | bytes):
    path = tmp_path / "list.txt"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return read_split(path, Names(IDS), IDS)


def named(tmp_path, data: str | bytes) -> list[str]:
    matched = read(tmp_path, data)
    assert not matched.missing
    return [IDS[place] for place in matched.videos]


# --- around the names

TWO = "YoYo/v_YoYo_g01_c01.avi 101\nHandstandPushups/v_HandStandPushups_g02_c01.avi 37\n"


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF8 + TWO.encode(),
        codecs.BOM_UTF16_LE + TWO.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TWO.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + TWO.encode("utf-32-le"),
        TWO.encode("utf-16-le"),
        TWO.encode("utf-16-be"),
        TWO.replace("\n", "\r\n").encode(),
        TWO.replace("\n", "\r").encode(),
        TWO.rstrip("\n").encode(),
        TWO.replace("\n", "\n\n  \n").encode(),
        TWO.replace("\n", "  \t \n").encode(),
        ("# a comment\n; one more\n// and one\n" + TWO).encode(),
        ("\ufeff" + TWO.replace("\nH", "\n\ufeffH")).encode(),
        TWO.replace("/", "\\").encode(),
        TWO.replace("/", "\\").replace("YoYo\\", "D:\\data\\UCF-101\\YoYo\\").encode(),
        TWO.replace("YoYo/", "./YoYo/").encode(),
        TWO.replace("YoYo/", "/data/UCF-101/YoYo/").encode(),
        TWO.replace(" ", ",").encode(),
        TWO.replace(" ", ", ").encode(),
        TWO.replace(" ", ";").encode(),
        TWO.replace(" ", "\t").encode(),
        TWO.replace(" ", " 150 ").encode(),
        TWO.replace(" 101", "").replace(" 37", "").encode(),
        TWO.replace("101", "YoYo").encode(),
        TWO.replace(" 101", ",YoYo").replace(" 37", ",HandstandPushups").encode(),
        ("video,label\n" + TWO.replace(" ", ",")).encode(),
        "".join(f'"{a}" {n}\n' for a, n in (x.split(" ") for x in TWO.splitlines())).encode(),
        "".join(f"'{a}',{n}\n" for a, n in (x.split(" ") for x in TWO.splitlines())).encode(),
        "".join(f'"{x.split(" ")[0]}"\n' for x in TWO.splitlines()).encode(),
        "".join(f"{i},{x.replace(' ', ',')}\n" for i, x in enumerate(TWO.splitlines())).encode(),
        "".join(f"{n} {a}\n" for a, n in (x.split(" ") for x in TWO.splitlines())).encode(),
        TWO.replace("\n", " # good\n").encode(),
    ],
)
def test_what_is_around_a_name_does_not_matter(tmp_path, data):
    assert named(tmp_path, data) == [FIRST, IDS[4]]


@pytest.mark.parametrize(
    ("entry", "video_id"),
    [
        ("YoYo/v_YoYo_g01_c01", FIRST),
        ("v_YoYo_g01_c01", FIRST),
        ("v_YoYo_g01_c01.avi", FIRST),
        ("YoYo/v_YoYo_g01_c01.mp4 101", FIRST),
        ("yoyo/V_YOYO_G01_C01.AVI", FIRST),
        ("ucf/YoYo/v_YoYo_g01_c01.avi", FIRST),
        ("HandStandPushups/v_HandStandPushups_g01_c01.avi", IDS[3]),
        ("HandstandPushups/v_HandstandPushups_g01_c01.avi", IDS[3]),
        ("handstandpushups\\v_handstandpushups_g01_c01", IDS[3]),
        ("snow/clip 2.mp4", IDS[6]),
        ("snow/clip 2", IDS[6]),
        ("snow/clip 2 7", IDS[6]),
        ("snow/take.one", IDS[7]),
        ("snow/take.one.avi 3", IDS[7]),
        ("snow/#5, the best.mp4", IDS[8]),
        ('"snow/#5, the best.mp4",3', IDS[8]),
        ("Cafe\u0301/e\u0301te\u0301.webm", IDS[9]),
        ("sea/both.mkv", IDS[11]),
        ("sea/Case.mp4", IDS[12]),
        ("sea/case", IDS[13]),
    ],
)
def test_an_entry_means_the_video_that_it_is_nearest_to(tmp_path, entry, video_id):
    assert named(tmp_path, entry) == [video_id]


def test_other_code_pages_are_read(tmp_path):
    assert named(tmp_path, "Café/été.webm 3\n".encode("cp1252")) == [IDS[9]]


@pytest.mark.parametrize("entry", ["sea/both", "sea/both.avi", "both", "sea/CASE.mp4"])
def test_an_entry_that_means_several_videos_is_named(tmp_path, entry):
    with pytest.raises(LibraryError, match=f"the entry {entry}, which means several") as caught:
        read(tmp_path, f"{entry} 4\n")
    assert "ucf/sea/" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_number_that_may_be_of_the_name_or_of_the_class_is_named(tmp_path):
    ids = ["u/snow/clip 2.mp4", "u/snow/clip.mp4"]
    path = tmp_path / "list.txt"
    path.write_text("snow/clip 2\n")
    with pytest.raises(LibraryError, match="several videos .u/snow/clip 2.mp4, u/snow/clip.mp4"):
        read_split(path, Names(ids), ids)


def test_the_same_name_in_another_class_is_no_match(tmp_path):
    matched = read(tmp_path, "rain/clip 2.mp4\nYoYo/v_YoYo_g09_c01.avi\n")
    assert matched.missing == ("rain/clip 2.mp4", "YoYo/v_YoYo_g09_c01.avi")


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# nothing\n", codecs.BOM_UTF8])
def test_a_list_of_nothing_is_one_sentence(tmp_path, data):
    with pytest.raises(LibraryError, match="names no video; give a text file"):
        read(tmp_path, data)


@pytest.mark.parametrize(
    "data", [bytes(range(256)) * 3, b"\0\0\0\x20ftypisom\0\0\0\0avc1\xff", b"\x89PNG\r\n\x1a\n\0"]
)
def test_a_video_is_no_list(tmp_path, data):
    with pytest.raises(LibraryError, match="is no list of videos: it is no text"):
        read(tmp_path, data)


def test_a_list_that_may_not_be_read_names_the_permission(tmp_path, monkeypatch):
    from pathlib import Path

    def refused(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refused)
    with pytest.raises(LibraryError, match="may not be read.*chmod"):
        read(tmp_path, b"")


# --- in the protocols and the report


@pytest.fixture
def lists(tmp_path):
    def write(train: str, test: str):
        (tmp_path / "train.txt").write_text(train)
        (tmp_path / "test.txt").write_text(test)
        return tmp_path / "train.txt", tmp_path / "test.txt"

    return write


GONE = "".join(f"YoYo/v_YoYo_g{g}_c01.avi 1\n" for g in range(50, 58))


def test_what_is_missing_is_named_with_the_option(lists):
    files = lists(f"{FIRST}\n{GONE}", IDS[1])
    with pytest.raises(LibraryError) as caught:
        official(IDS, *files)
    said = str(caught.value)
    assert "(8 of 9: YoYo/v_YoYo_g50_c01.avi, " in said
    assert "YoYo/v_YoYo_g54_c01.avi and 3 more)" in said
    assert "--allow-missing" in said
    assert "\n" not in said


def test_what_is_missing_is_left_out_where_that_is_allowed(lists):
    protocol = official(IDS, *lists(f"{FIRST}\n{GONE}", IDS[1]), allow_missing=True)
    assert np.flatnonzero(protocol.gallery).tolist() == [0]
    assert np.flatnonzero(protocol.queries).tolist() == [1]
    assert protocol.notes[0].startswith(
        "official: what train.txt names and the export lacks is left out (8 of 9: YoYo/v_YoYo_g50"
    )
    with pytest.raises(LibraryError, match="names no video that the export has"):
        official(IDS, *lists(GONE, IDS[1]), allow_missing=True)


def test_names_that_were_matched_by_likeness_are_counted(lists):
    protocol = official(IDS, *lists("YoYo/v_YoYo_g01_c01.mp4\n" + IDS[2], IDS[1]))
    assert protocol.notes[0] == (
        "official: in train.txt, names of another case or file ending were matched "
        f"(1 of 2, the first is YoYo/v_YoYo_g01_c01.mp4 with {FIRST})."
    )


def test_a_group_is_the_same_whatever_the_case_of_its_class():
    ids = ["u/H/v_HandStandPushups_g01_c01.avi", "u/H/v_HandstandPushups_g01_c02.avi"]
    assert len(set(group([*ids, "u/H/v_YoYo_g01_c01.avi"]).groups.tolist())) == 2


@pytest.fixture
def exports(tmp_path):
    """An export of two classes of UCF101 whose folders and files differ in case."""
    made = [
        embedded(f"ucf/{folder}/v_{name}_g{g:02}_c01.avi", seed=g, label=folder)
        for folder, name in (("HandstandPushups", "HandStandPushups"), ("YoYo", "YoYo"))
        for g in range(1, 5)
    ]
    open_shards(tmp_path / "home").write("ucf", made, {"labhist": "", "efficientnet_lite0": ""})
    export(tmp_path / "home", tmp_path / "export", [], Silent())
    return tmp_path / "export"


def entries(groups, lines="{folder}/v_{name}_g{g:02}_c01.avi {n}\r\n") -> str:
    return "".join(
        lines.format(folder=folder, name=name, g=g, n=n)
        for n, (folder, name) in enumerate(
            (("HandstandPushups", "HandStandPushups"), ("YoYo", "YoYo")), 1
        )
        for g in groups
    )


def test_lists_of_another_machine_give_the_same_figures(exports, lists):
    def figures(*texts: str):
        train, test = lists(*texts)
        options = EvaluateOptions(("official",), train_list=train, test_list=test, resamples=20)
        return evaluate(exports, options, Silent()).report.figures

    plain = figures(entries((2, 3, 4)), entries((1,)))
    windows = "\ufeff" + entries((2, 3, 4)).replace("/", "\\").lower()
    assert figures(windows, "\ufeff" + entries((1,), "{folder}/v_{name}_g{g:02}_c01\r")) == plain


def test_allow_missing_at_the_command_line(exports, lists, tmp_path, vidsim_here):
    train, test = lists(entries((2, 3, 4, 9)), entries((1,)))
    words = ["evaluate", str(exports), "--protocol", "official", "--json"]
    words += ["--train-list", str(train), "--test-list", str(test)]
    refused = vidsim_here(tmp_path / "home", *words)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "v_YoYo_g09_c01.avi" in refused.stderr
    assert "--allow-missing" in refused.stderr
    done = vidsim_here(tmp_path / "home", *words, "--allow-missing")
    assert done.returncode == 0, done.stderr
    notes = EvaluationReport.model_validate_json(done.stdout).notes
    assert any("is left out (2 of 8: " in note for note in notes)
    assert "left out (2 of 8: " in done.stderr


@pytest.mark.parametrize(
    "line", ["1 " * 50_000, "," * 100_000, "a" + " " * 100_000 + "b", '"' + "a," * 100_000, "," * 9]
)
def test_a_line_of_anything_is_an_entry_that_matches_nothing(tmp_path, line):
    path = tmp_path / "list.txt"
    path.write_text(f"snow/a.avi 1\n{line}\n" * 50)
    ids = ("lib/snow/a.avi",)
    found = read_split(path, Names(ids), ids)
    assert (found.videos, found.entries, len(found.missing)) == ((0,), 100, 50)


# --- classes of AudioSet

TABLE = 'index,mid,display_name\n0,/m/09x0r,"Speech"\n1,/m/1,"Sound, of a kind"\n'


@pytest.mark.parametrize(
    "data",
    [
        codecs.BOM_UTF16_LE + TABLE.encode("utf-16-le"),
        codecs.BOM_UTF8 + TABLE.encode(),
        TABLE.replace("\n", "\r").encode(),
        TABLE.replace("\n", "\r\n\r\n").encode(),
        TABLE.replace("index,mid,display_name", "Index, MID, Display_Name").encode(),
        ("# of 2017\n" + TABLE).encode(),
        TABLE.replace(",/", "\t/").replace(',"', '\t"').replace("x,mid,", "x\tmid\t").encode(),
        TABLE.replace(",/", ";/").replace(',"', ';"').replace("x,mid,", "x;mid;").encode(),
    ],
)
def test_a_class_list_is_read_as_programs_write_it(tmp_path, data):
    path = tmp_path / "names.csv"
    path.write_bytes(data)
    assert read_class_names(path) == {0: "Speech", 1: "Sound, of a kind"}
