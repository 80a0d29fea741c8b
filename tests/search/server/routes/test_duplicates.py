"""Duplicates by HTTP: groups, decisions that change them, and a list to take away."""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from vidsim.ingest import pipeline
from vidsim.ingest.shards.home import Place
from vidsim.ingest.system.step import Step
from vidsim.schemas.errors import StoreError
from vidsim.schemas.results import DuplicatePair, DuplicatesReport, Stretch
from vidsim.search.library import Library
from vidsim.search.server.routes import duplicates

from ....helpers.ingests import ingest, pretend, write_files
from ....helpers.web import client_of, copied

URL = "/v1/duplicates"
DECISIONS = f"{URL}/decisions"
A, B, C = (f"lib/{name}.mp4" for name in "abc")


@pytest.fixture
def home(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of three identical files, two others that are identical, and one alone."""
    texts = dict.fromkeys(("a.mp4", "b.mp4", "c.mp4"), "same")
    texts |= {"x/1.mp4": "others", "x/2.mp4": "others", "alone.mp4": "alone"}
    monkeypatch.setattr(pipeline, "embed_all", pretend)
    ingest(write_files(tmp_path / "lib", texts), place)
    return place.home


@pytest.fixture
def client(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(duplicates, "_LOOK_S", -1.0)  # there is nothing to see
    with client_of(home) as found:
        yield found


def groups(client: TestClient, **asked: Any) -> list[list[str]]:
    """The ids of each group."""
    found = client.get(URL, params=asked).json()
    return [sorted(video["video_id"] for video in group["videos"]) for group in found["groups"]]


def decide(client: TestClient, first: str, second: str, decision: Any, **more: Any) -> Any:
    body = {"first": first, "second": second, "decision": decision, **more}
    return client.put(DECISIONS, json=body)


def test_groups_are_what_pairs_lead_to(client: TestClient) -> None:
    found = client.get(URL).json()
    assert groups(client) == [[A, B, C], ["lib/x/1.mp4", "lib/x/2.mp4"]]
    assert (found["total"], found["videos"], found["decided"]) == (2, 6, 0)
    first = found["groups"][0]
    assert len(first["pairs"]) == 3
    assert all(pair["identical"] and pair["decision"] is None for pair in first["pairs"])
    video = first["videos"][0]
    assert video["size"] == 4
    assert video["bitrate"] == video["size"] * 8 / video["duration_s"]
    assert (video["width"], video["height"]) == (None, None)
    assert groups(client, limit=1, offset=1) == [["lib/x/1.mp4", "lib/x/2.mp4"]]
    assert client.get(URL, params={"library": "nothing"}).status_code == 404


def test_decisions_part_groups_and_survive_a_restart(client: TestClient, home: Path) -> None:
    for other in (A, B):
        assert decide(client, C, other, "not the same").status_code == 200
    kept = decide(client, A, B, "keep", keep=B).json()["decision"]
    assert (kept["first"], kept["second"], kept["keep"]) == (A, B, B)
    client.close()
    with client_of(home) as again:
        assert groups(again) == [[A, B], ["lib/x/1.mp4", "lib/x/2.mp4"]]
        assert groups(again, undecided=True) == [["lib/x/1.mp4", "lib/x/2.mp4"]]
        assert again.get(URL).json()["decided"] == 3
        assert len(again.get(DECISIONS).json()["decisions"]) == 3
        decide(again, A, C, None)
        assert groups(again)[0] == [A, B, C]


def test_a_decision_about_what_is_not_stored_is_refused(client: TestClient) -> None:
    assert decide(client, A, "lib/../../etc/passwd", "keep").status_code == 404
    assert decide(client, A, A, "keep").status_code == 422
    assert decide(client, A, B, "keep", keep=C).status_code == 422
    assert decide(client, A, B, "not the same", keep=B).status_code == 422
    assert decide(client, A, B, "delete").status_code == 422


def test_pages_and_decisions_search_once(
    client: TestClient, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = []
    search = Library.duplicates

    def counted(self: Library, *libraries: str, **options: Any) -> Any:
        searched.append(libraries)
        return search(self, *libraries, **options)

    monkeypatch.setattr(Library, "duplicates", counted)
    for offset in range(3):
        client.get(URL, params={"offset": offset})
    decide(client, A, B, "not the same")
    client.get(f"{URL}.csv")
    client.get(URL, params={"library": "lib"})  # which are all there are
    assert searched == [()]
    client.get(URL, params={"max_distance": 3})
    assert len(searched) == 2
    write_files(tmp_path / "lib", {"alone too.mp4": "alone"})
    ingest(tmp_path / "lib", place)
    assert groups(client)[-1] == ["lib/x/1.mp4", "lib/x/2.mp4"]
    assert len(searched) == 3


def test_the_list_to_take_away_has_all_pairs_and_decisions(client: TestClient) -> None:
    decide(client, A, C, "keep", keep=C)
    answer = client.get(f"{URL}.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    rows = [*csv.DictReader(answer.text.splitlines())]
    found = {(row["first_video_id"], row["second_video_id"]): row for row in rows}
    assert len(rows) == len(found) == 4
    stay = {pair: (row["first_stays"], row["second_stays"]) for pair, row in found.items()}
    assert found[A, C]["decision"] == "keep"
    assert (stay[A, C], stay[A, B], stay[B, C]) == (("no", "yes"), ("no", ""), ("", ""))
    assert found[A, B]["decision"] == ""
    assert found[A, B]["group"] == found[B, C]["group"]
    assert len({row["group"] for row in rows}) == 2


def test_of_a_group_one_stays_where_one_is_kept(client: TestClient) -> None:
    for first, second, keep in ((A, C, C), (B, C, C), (A, B, B)):  # as the page decides
        decide(client, first, second, "keep", keep=keep)
    rows = [*csv.DictReader(client.get(f"{URL}.csv").text.splitlines())]
    stay = {
        row[f"{side}_video_id"]
        for row in rows
        for side in ("first", "second")
        if row[f"{side}_stays"] == "yes"
    }
    assert stay == {C}


def test_a_search_that_takes_long_says_how_far_it_is(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_end = threading.Event()
    search = Library.duplicates

    def slow(self: Library, *libraries: str, progress: Any, **options: Any) -> Any:
        progress(Step("comparing hashes", 1, 4, "videos"))
        may_end.wait(10)
        return search(self, *libraries, progress=progress, **options)

    monkeypatch.setattr(Library, "duplicates", slow)
    for url in (URL, f"{URL}.csv"):
        answer = client.get(url, params={"wait_s": 0.2})
        assert (answer.status_code, answer.headers["retry-after"]) == (202, "1")
        (stage,) = answer.json()["stages"]
        assert stage["said"].startswith("1 of 4 videos")
    assert decide(client, A, B, "keep").status_code == 200
    may_end.set()
    assert groups(client)[0] == [A, B, C]


def test_what_failed_is_tried_again(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Library, *_: str, **__: Any) -> Any:
        raise StoreError("The disk is away; see to that.")

    with monkeypatch.context() as broken:
        broken.setattr(Library, "duplicates", fail)
        for _ in range(2):
            assert client.get(URL).status_code == 503
    assert groups(client)[0] == [A, B, C]


def test_the_video_with_most_pixels_comes_first(
    colors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = {
        name: Stretch(video_id=f"lib/{name}.mkv", path="", start_s=0, end_s=1)
        for name in ("blue", "red")
    }
    pair = DuplicatePair(
        first=sides["blue"], second=sides["red"], hash_distance=1, similarity=0.9, coverage=1
    )
    report = DuplicatesReport(
        libraries=["lib"], videos=2, max_distance=14, min_similarity=0.8, pairs=[pair], failed=[]
    )
    monkeypatch.setattr(Library, "duplicates", lambda *_, **__: report)
    home = copied(colors / "home", tmp_path / "home")
    with client_of(home) as client:
        (group,) = client.get(URL).json()["groups"]
        assert {(video["width"], video["height"]) for video in group["videos"]} == {(64, 48)}
        monkeypatch.setattr(
            duplicates, "_pixels", lambda *_: {"lib/red.mkv": (9, 9), "lib/blue.mkv": (8, 8)}
        )
        (group,) = client.get(URL).json()["groups"]
        assert [video["video_id"] for video in group["videos"]] == ["lib/red.mkv", "lib/blue.mkv"]
