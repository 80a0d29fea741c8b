"""Pages: nothing of a name becomes markup, nothing is fetched, and no missing file stops one."""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest

from vidsim.ingest.decode.pictures import PictureReader, Seen
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.errors import StoreError
from vidsim.schemas.results import (
    DuplicatePair,
    DuplicatesReport,
    FailedFile,
    MatchedMoment,
    ModalityMatch,
    QueryMatch,
    QueryResult,
    Stretch,
)
from vidsim.search.pages.thumbnails import Thumbnails
from vidsim.search.pages.write import write_page

from ...helpers.clips import MakeClip

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\u202e\n.mp4"
PRINTED = HOSTILE.replace("\u202e", "\\u202e").replace("\n", "\\n")


class Read(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, tag: str, name: str) -> list[str]:
        return [v for t, n, v in self.attributes if (t, n) == (tag, name)]


def match(video_id: str, path: str, label: str = "") -> QueryMatch:
    by_frame = ModalityMatch(
        rank=1,
        similarity=0.9,
        likeness=0.8,
        share=1,
        query_start_s=0,
        query_end_s=1,
        start_s=2,
        end_s=3,
    )
    moments = [
        MatchedMoment(
            example="q", query_start_s=0, query_end_s=1, start_s=1.5, end_s=2.5, likeness=0.9
        ),
        MatchedMoment(
            example="q", query_start_s=0, query_end_s=1, start_s=63, end_s=64, likeness=0.8
        ),
    ]
    return QueryMatch(
        rank=1,
        video_id=video_id,
        path=path,
        label=label,
        likeness=0.8,
        word="very alike",
        relative_score=0.5,
        moments=moments,
        modalities={"frame": by_frame},
    )


def answer(*results: QueryMatch, query: str = "query.mp4", **changes: object) -> QueryResult:
    results = [
        found.model_copy(
            update={"moments": [m.model_copy(update={"example": query}) for m in found.moments]}
        )
        for found in results
    ]
    fields = {
        "query": query,
        "examples": [query],
        "example_paths": [query],
        "modalities": ["frame", "audio"],
        "missing_modalities": [],
        "fusion": "calibrated",
        "chance": 0.6,
        "nothing_alike": False,
        "results": results,
    }
    return QueryResult.model_validate(fields | changes)


def test_no_name_becomes_markup(tmp_path: Path) -> None:
    hostile = match(f"lib/{HOSTILE}", f"/videos/{HOSTILE}", HOSTILE)
    result = answer(hostile, query=f"/videos/{HOSTILE}", notes=[HOSTILE])
    page = Read(write_page(result, tmp_path / "page.html", Silent()))
    assert "script" not in page.tags
    assert "img" not in page.tags, "both files are gone"
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(PRINTED) >= 5


def test_names_that_are_no_text_can_be_written(tmp_path: Path) -> None:
    page = Read(write_page(answer(match("lib/\udcff.mp4", "/\udcff")), tmp_path / "p", Silent()))
    assert "lib/\\udcff.mp4" in page.text


def test_a_page_holds_its_pictures_and_asks_for_nothing(
    tmp_path: Path, make_clip: MakeClip
) -> None:
    clip = str(make_clip("a.mkv", times=[n / 25 for n in range(100)]))
    page = Read(write_page(answer(match("lib/a.mkv", clip), query=clip), tmp_path / "p", Silent()))
    sources = page.values("img", "src")
    assert len(sources) == 2
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert page.values("img", "alt") == ["Frame of the query at 0:00", "Frame of lib/a.mkv at 0:02"]
    assert {"link", "script", "iframe"}.isdisjoint(page.tags)
    assert "http:" not in (text := (tmp_path / "p").read_text())
    assert "https:" not in text
    assert "url(" not in text
    assert "default-src 'none'" in text
    assert [tag for tag in page.tags if tag in ("h1", "h2")] == ["h1", "h2"]


def test_links_open_the_video_at_the_moment(tmp_path: Path, make_clip: MakeClip) -> None:
    odd = 'a #1? 100% "é".mkv'
    clip = str(make_clip(odd, times=[n / 25 for n in range(100)]))
    page = Read(write_page(answer(match("lib/a", clip), query=clip), tmp_path / "p", Silent()))
    links = [urlsplit(link) for link in page.values("a", "href")]
    assert {unquote(link.path) for link in links} == {clip}
    assert {link.scheme for link in links} == {"file"}
    assert [link.fragment for link in links] == ["t=0.0", "t=0.0", "t=1.5", "t=63.0"]
    assert {link.query for link in links} == {""}


def test_addresses_stay_as_they_are_and_nothing_else_is_a_link(tmp_path: Path) -> None:
    address = "https://videos.example/watch?v=1&t=2"
    results = [match("a/1", address), match("a/2", "javascript:alert(1)"), match("a/3", "rel.mp4")]
    page = Read(write_page(answer(*results), tmp_path / "p", Silent()))
    assert set(page.values("a", "href")) == {address}
    assert "its file is not on this machine" in page.text


def test_a_file_that_is_gone_or_broken_has_a_note_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_text("no video")
    results = [
        match("a/gone.mp4", str(tmp_path / "gone.mp4")),
        match("a/broken.mp4", str(tmp_path / "broken.mp4")),
    ]
    page = Read(write_page(answer(*results, example_paths=[""]), tmp_path / "p", Silent()))
    assert "No picture: its file is gone" in page.text
    assert "No picture: not a video" in page.text
    assert "No picture: where its file is, is not known" in page.text


class PartlyDecoding(PictureReader):
    """A reader of files of which nothing decodes from second 10 on, or at all where one is bad."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, float]] = []

    def look(self, path: str, times_s: Sequence[float], size: int = 240) -> Seen:
        self.asked += [(Path(path).name, time_s) for time_s in times_s]
        if Path(path).name == "bad":
            return Seen([None], "not a video", unreadable=True)
        shown = times_s[0] < 10
        return Seen([np.zeros((3, 4, 3), np.uint8)]) if shown else Seen([None], "nothing decodes")


def test_a_time_that_does_not_decode_costs_no_other_frame_of_the_file(tmp_path: Path) -> None:
    for name in ("good", "bad"):
        (tmp_path / name).write_text("")
    reader = PartlyDecoding()
    thumbnails = Thumbnails(reader)
    asked = [("good", 11), ("good", 11), ("good", 2), ("bad", 1), ("bad", 2)]
    shown = [thumbnails.at(str(tmp_path / name), time_s, "x") for name, time_s in asked]
    assert ["<img" in html for html in shown] == [False, False, True, False, False]
    assert "nothing decodes" in shown[1]
    assert "not a video" in shown[4]
    assert reader.asked == [("good", 11), ("good", 2), ("bad", 1)], "each once"


@pytest.mark.parametrize("path", ["/" + 5000 * "a", "/a\0b"])
def test_a_path_that_cannot_be_one_is_no_link(tmp_path: Path, path: str) -> None:
    page = Read(write_page(answer(match("a/1", path)), tmp_path / "p", Silent()))
    assert page.values("a", "href") == []
    assert "No picture: its file is gone" in page.text


def test_it_says_that_nothing_is_alike_and_what_was_left_out(tmp_path: Path) -> None:
    result = answer(match("a/1", "/gone"), nothing_alike=True, missing_modalities=["motion"])
    page = Read(write_page(result, tmp_path / "p", Silent()))
    assert "Nothing here is much like it: below 0.60 likeness is chance." in page.text
    assert "The query has no motion (no track, silence, or a still picture)" in page.text
    assert "very alike" in page.text
    assert "none" in page.text, "of the audio that the video lacks"


def test_duplicates(tmp_path: Path, make_clip: MakeClip) -> None:
    clip = str(make_clip("a.mkv", times=[n / 25 for n in range(100)]))
    pair = DuplicatePair(
        first=Stretch(video_id="lib/a", path=clip, start_s=1, end_s=3),
        second=Stretch(video_id=f"lib/{HOSTILE}", path="/gone", start_s=61, end_s=63),
        hash_distance=1.5,
        similarity=0.9,
        coverage=0.8,
    )
    report = DuplicatesReport(
        libraries=["lib"],
        videos=2,
        max_distance=5,
        min_similarity=0.5,
        pairs=[pair],
        failed=[FailedFile(path=HOSTILE, reason="empty file")],
    )
    page = Read(write_page(report, tmp_path / "p", Silent()))
    assert "80% of the shorter one" in page.text
    assert page.values("a", "href") == [f"{Path(clip).as_uri()}#t=1.0"]
    assert len(page.values("img", "src")) == 1
    assert page.text.count(PRINTED) == 2


@pytest.mark.parametrize(("name", "what"), [("", "is a folder"), ("no/p.html", "is no folder")])
def test_what_cannot_be_written_is_told(tmp_path: Path, name: str, what: str) -> None:
    with pytest.raises(StoreError, match=what):
        write_page(answer(), tmp_path / name, Silent())


def test_a_page_replaces_another_whole(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("before")
    write_page(answer(), tmp_path / "p", Silent())
    assert [path.name for path in tmp_path.iterdir()] == ["p"]
    assert (tmp_path / "p").read_text().startswith("<!DOCTYPE html>")
