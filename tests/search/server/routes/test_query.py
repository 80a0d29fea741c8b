"""Asking over HTTP: the answers of the library, for clips that are stored or sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from vidsim.search.library import Library

from ....helpers.colors import BLUE, RED, write_plain
from ....helpers.web import client_of, copied


@pytest.fixture(scope="module")
def home(colors: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copied(colors / "home", tmp_path_factory.mktemp("query") / "home")


@pytest.fixture(scope="module")
def client(home: Path) -> Iterator[TestClient]:
    with client_of(home, max_upload_mb=1) as client:
        yield client


@pytest.fixture(scope="module")
def blue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plain(tmp_path_factory.mktemp("clips") / "new.mkv", BLUE)


def send(client: TestClient, file: Path, name: str = "my clip.mkv") -> str:
    answer = client.post("/v1/uploads", params={"name": name}, content=file.read_bytes())
    assert answer.status_code == 201, answer.text
    return str(answer.json()["upload"])


def ask(client: TestClient, *clips: dict[str, str], **options: Any) -> dict[str, Any]:
    answer = client.post("/v1/query", json={"clips": clips, **options})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_stored_video_is_answered_as_in_python(client: TestClient, home: Path) -> None:
    with Library.open(home) as library:
        wanted = library.query("lib/red.mkv", k=2).model_dump(mode="json")
    assert ask(client, {"video": "lib/red.mkv"}, k=2) == wanted
    answer = client.get("/v1/videos/lib%2Fred.mkv/neighbours", params={"k": 2})
    assert answer.json() == wanted


def test_a_clip_that_was_sent_is_known_by_its_name(client: TestClient, blue: Path) -> None:
    upload = {"upload": send(client, blue, "../<b>my clip.mkv")}
    found = ask(client, upload)
    assert found["results"][0]["video_id"] == "lib/blue.mkv"
    assert found["results"][0]["word"] == "same footage"
    assert found["query"] == "../<b>my clip.mkv"
    assert "uploads" not in json.dumps(found)


def test_a_form_is_answered_and_its_file_is_not_kept(
    client: TestClient, home: Path, blue: Path
) -> None:
    before = list((home / "server/uploads").iterdir())
    answer = client.post(
        "/v1/query",
        files={"clip": ("new.mkv", blue.read_bytes())},
        data={"options": json.dumps({"k": 1})},
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert [each["video_id"] for each in found["results"]] == ["lib/blue.mkv"]
    assert list((home / "server/uploads").iterdir()) == before


def test_two_clips_of_one_name_are_told_apart(
    client: TestClient, tmp_path: Path, blue: Path
) -> None:
    red = write_plain(tmp_path / "red.mkv", RED)
    first, second = send(client, blue, "a.mkv"), send(client, red, "a.mkv")
    found = ask(client, {"upload": first}, {"upload": second})
    assert found["examples"] == ["a.mkv", "a.mkv (2)"]
    assert set(found["results"][0]["modalities"]["color"]["to_examples"]) == {"a.mkv", "a.mkv (2)"}


def test_part_and_negatives_reach_the_library(client: TestClient, blue: Path) -> None:
    upload = {"upload": send(client, blue)}
    found = ask(client, upload, start_s=0.5, end_s=1.0, region=[0, 0, 0.5, 0.5], k=3)
    assert found["results"][0]["video_id"] == "lib/blue.mkv"
    without = ask(client, {"video": "lib/red.mkv"}, **{"not": [{"video": "lib/blue.mkv"}]})
    assert without["negatives"] == ["lib/blue.mkv"]


def test_two_clips_are_compared(client: TestClient, blue: Path) -> None:
    pair = {"first": {"upload": send(client, blue, "mine.mkv")}, "second": {"video": "lib/red.mkv"}}
    found = client.post("/v1/compare", json=pair).json()
    assert [found["first"]["name"], found["second"]["name"]] == ["mine.mkv", "lib/red.mkv"]
    assert found["first"]["path"] == "mine.mkv"
    assert 0 <= found["likeness"] < 1


def test_no_id_is_taken_for_a_file(client: TestClient, blue: Path) -> None:
    for name in (str(blue), "/etc/passwd", "../../etc/passwd", "lib/../lib/red.mkv"):
        answer = client.post("/v1/query", json={"clips": [{"video": name}]})
        assert answer.status_code == 404
        assert answer.json()["error"]["kind"] == "LibraryError"


def test_what_is_not_understood_is_told(client: TestClient) -> None:
    red = [{"video": "lib/red.mkv"}]
    for body, said in (
        ({"clips": []}, "clips"),
        ({"clips": [{}]}, "give either 'video' or 'upload'"),
        ({"clips": red, "k": 0}, "k"),
        ({"clips": red, "filter": "label =="}, "filter"),
        ({"clips": red, "weights": {"color": -1}}, "weights"),
        ({"clips": red, "modalities": ["smell"]}, "modalities"),
        ({"clips": red, "nonsense": 1}, "nonsense"),
    ):
        answer = client.post("/v1/query", json=body)
        assert answer.status_code == 422, answer.text
        assert said in answer.json()["error"]["message"]
    assert client.post(
        "/v1/query", content=b"{", headers={"content-type": "application/json"}
    ).json()


def test_a_clip_that_cannot_be_read_is_told_by_its_name(client: TestClient, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"no video at all" * 100)
    sent = {"name": "holiday.mp4"}
    for answer in (
        client.post("/v1/uploads", params=sent, content=broken.read_bytes()),
        client.post("/v1/query", files={"clip": ("holiday.mp4", broken.read_bytes())}),
    ):
        assert answer.status_code == 422
        said = answer.json()["error"]["message"]
        assert "holiday.mp4" in said
        assert "/uploads/" not in said


def test_a_clip_may_be_too_long(home: Path, tmp_path: Path, blue: Path) -> None:
    with client_of(copied(home, tmp_path / "home"), max_clip_s=1.0) as client:
        answer = client.post("/v1/uploads", params={"name": "a.mkv"}, content=blue.read_bytes())
        assert answer.status_code == 413
        assert "a.mkv lasts 0:02" in answer.json()["error"]["message"]
        assert not list((tmp_path / "home/server/uploads").iterdir())


def test_an_upload_has_limits(client: TestClient, home: Path) -> None:
    before = list((home / "server/uploads").iterdir())
    large = client.post("/v1/uploads", params={"name": "a.mp4"}, content=bytes(1_000_001))
    assert large.status_code == 413
    assert "a.mp4" in large.json()["error"]["message"]
    streamed = client.post("/v1/uploads", content=iter([bytes(600_000)] * 2))
    assert streamed.status_code == 413
    assert client.post("/v1/uploads", content=b"").status_code == 422
    assert list((home / "server/uploads").iterdir()) == before


def test_an_upload_is_gone_when_it_was_deleted(client: TestClient, blue: Path) -> None:
    upload = send(client, blue)
    assert client.delete(f"/v1/uploads/{upload}").status_code == 204
    answer = client.post("/v1/query", json={"clips": [{"upload": upload}]})
    assert answer.status_code == 404
    assert "send it again" in answer.json()["error"]["message"]
    for odd in ("..", "..%2F..%2Fshards", "."):
        client.delete(f"/v1/uploads/{odd}")
    assert ask(client, {"video": "lib/red.mkv"})["results"]


def test_videos_are_listed_by_facets(client: TestClient) -> None:
    def ids(**params: Any) -> list[str]:
        answer = client.get("/v1/videos", params=params)
        assert answer.status_code == 200, answer.text
        return [video["video_id"] for video in answer.json()["videos"]]

    assert ids() == ["lib/blue.mkv", "lib/green.mkv", "lib/red.mkv"]
    assert ids(contains="RE", reverse=True) == ["lib/red.mkv", "lib/green.mkv"]
    assert ids(limit=1, offset=1) == ["lib/green.mkv"]
    assert ids(library="other") == ids(min_s=100) == ids(until="2001") == ids(damaged=True) == []
    assert ids(since="2001", max_s=100, folder="lib", library="lib", label="") == ids()
    assert ids(filter='video_id == "lib/red.mkv"') == ["lib/red.mkv"]
    counts = client.get("/v1/facets", params={"contains": "e"}).json()
    assert counts["libraries"] == {"lib": 3}
    assert sum(counts["durations"].values()) == 3


def test_facets_narrow_a_query(client: TestClient) -> None:
    def ids(**facets: Any) -> list[str]:
        found = ask(client, {"video": "lib/red.mkv"}, exclude_self=False, **facets)
        return sorted(each["video_id"] for each in found["results"])

    everything = ["lib/blue.mkv", "lib/green.mkv", "lib/red.mkv"]
    assert ids(labels=[""], min_s=1, max_s=60, since="2001") == everything
    assert ids(min_s=60) == ids(labels=["snow"]) == ids(until="2001-01-01") == []
    assert ids(max_s=60, filter='video_id != "lib/blue.mkv"') == everything[1:]


def test_a_region_of_a_stored_video_is_of_its_file(client: TestClient) -> None:
    found = ask(client, {"video": "lib/red.mkv"}, region=[0, 0, 0.5, 1], modalities=["color"])
    assert found["examples"] == ["lib/red.mkv"]
    assert "lib/red.mkv" not in {each["video_id"] for each in found["results"]}


def test_an_upload_can_be_looked_at_again(client: TestClient, blue: Path) -> None:
    answer = client.post("/v1/uploads", params={"name": "b.mkv"}, content=blue.read_bytes())
    sent = answer.json()
    assert client.get(f"/v1/uploads/{sent['upload']}").json() == sent
    assert (sent["kind"], sent["sound"]) == ("video", False)
    assert client.get("/v1/uploads/none").status_code == 404
