"""Ingest by HTTP: folders by id, jobs that are followed, and nothing by a path."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from vidsim.search.server.jobs.process import IngestProcess
from vidsim.search.server.routes import jobs

from ....helpers.ingest_workers import run_here
from ....helpers.web import client_of, copied, until

URL = "/v1/ingest"


@pytest.fixture
def home(colors: Path, tmp_path: Path) -> Path:
    return copied(colors / "home", tmp_path / "home")


@pytest.fixture
def may_end(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Has jobs run without a process, until they are told to end or may."""
    may = threading.Event()
    monkeypatch.setattr(IngestProcess, "run", run_here(may))
    return may


@pytest.fixture
def client(home: Path, may_end: threading.Event) -> Iterator[TestClient]:
    with client_of(home) as found:
        yield found


def posted(client: TestClient, key: str = "", **body: Any) -> Any:
    headers = {"Content-Type": "application/json"} | ({"Idempotency-Key": key} if key else {})
    return client.post(URL, content=json.dumps(body), headers=headers)


def events(text: str) -> list[dict[str, Any]]:
    """The jobs that a stream of events tells."""
    found = []
    for event in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in event.splitlines())
        if fields and "" not in fields:
            assert fields["event"] == "job"
            found.append(json.loads(fields["data"]))
    return found


def test_a_known_library_is_ingested_again(client: TestClient, colors: Path) -> None:
    answer = posted(client, library="lib", modalities=["color"], prune=True)
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"{URL}/{job['job']}"
    assert (job["folder"], job["library"]) == (str(colors / "lib"), "lib")
    assert (job["options"]["modalities"], job["options"]["prune"]) == (["color"], True)
    assert client.get(URL).json()["jobs"][0]["job"] == job["job"]


def test_a_folder_is_ingested_by_its_id(client: TestClient, colors: Path) -> None:
    (folder,) = client.get("/v1/folders").json()["folders"]
    assert posted(client, folder=folder["folder"]).json()["library"] == "lib"
    named = posted(client, folder=folder["folder"], name="other").json()
    assert (named["folder"], named["library"]) == (str(colors / "lib"), "other")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"path": "/etc"}, 403),
        ({"folder": "/etc"}, 404),
        ({"folder": "../../etc"}, 404),
        ({"library": "../lib"}, 404),
        ({"library": "lib", "name": "../up"}, 422),
        ({"library": "lib", "name": "a\0b"}, 422),
        ({"library": "lib", "name": "\ud800"}, 422),
        ({"library": "lib", "path": "/etc"}, 422),
        ({}, 422),
        ({"library": "lib", "modalities": ["smell"]}, 422),
        ({"library": "lib", "modalities": []}, 422),
        ({"library": "lib", "workers": 0}, 422),
        ({"library": "lib", "segment_seconds": 1e99}, 422),
        ({"library": "lib", "unknown": 1}, 422),
    ],
)
def test_what_is_not_allowed_is_refused(client: TestClient, body: Any, status: int) -> None:
    answer = posted(client, **body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"].endswith(".")
    assert client.get(URL).json()["jobs"] == []


def test_by_the_homes_own_socket_a_folder_is_named_by_its_path(
    home: Path, colors: Path, may_end: threading.Event
) -> None:
    with client_of(home, trusted=True) as client:
        assert posted(client, path=str(colors / "lib")).json()["library"] == "lib"
        assert posted(client, path="lib").status_code == 404


def test_a_key_is_honoured(client: TestClient) -> None:
    job = posted(client, key="k", library="lib").json()
    assert posted(client, key="k", library="lib").json()["job"] == job["job"]
    assert posted(client, key="k", library="lib", prune=True).status_code == 409
    assert len(client.get(URL).json()["jobs"]) == 1


@pytest.mark.acceptance
def test_two_listeners_see_a_job_to_its_end(
    client: TestClient, may_end: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_ALIVE_S", 0.25)
    job = posted(client, library="lib").json()["job"]
    with ThreadPoolExecutor(2) as threads:
        heard = [threads.submit(client.get, f"{URL}/{job}/events") for _ in range(2)]
        until(lambda: client.get(f"{URL}/{job}").json()["steps"])
        time.sleep(0.8)
        may_end.set()
        for answer in (each.result() for each in heard):
            assert answer.headers["content-type"].startswith("text/event-stream")
            told = events(answer.text)
            assert [told[0]["state"], told[-1]["state"]] == ["running", "done"]
            assert told[-1]["report"]["library"] == "lib"
            assert "id: ended" in answer.text
            assert ": the job goes on" in answer.text
    again = client.get(f"{URL}/{job}/events")
    assert [each["state"] for each in events(again.text)] == ["done"]
    last = client.get(f"{URL}/{job}/events", headers={"last-event-id": "ended"})
    assert (last.status_code, last.text) == (204, "")


def test_a_job_is_cancelled_and_retried(client: TestClient) -> None:
    job = posted(client, library="lib").json()["job"]
    assert client.post(f"{URL}/{job}/retry").status_code == 409
    assert client.post(f"{URL}/{job}/cancel").status_code == 200
    until(lambda: client.get(f"{URL}/{job}").json()["state"] == "cancelled")
    again = client.post(f"{URL}/{job}/retry")
    assert again.status_code == 202
    assert again.json()["retry_of"] == job


@pytest.mark.parametrize("name", ["nothing", "..%2F..%2Fsettings", "%00", "a" * 500])
def test_there_is_no_other_job(client: TestClient, name: str) -> None:
    for method, path in (("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")):
        assert client.request(method, f"{URL}/{name}{path}").status_code == 404


def test_a_folder_that_may_not_be_ingested_is_not_retried(
    home: Path, tmp_path: Path, may_end: threading.Event
) -> None:
    (tmp_path / "elsewhere").mkdir()
    with client_of(home, trusted=True) as client:
        job = posted(client, path=str(tmp_path / "elsewhere")).json()["job"]
        client.post(f"{URL}/{job}/cancel")
        until(lambda: client.get(f"{URL}/{job}").json()["state"] == "cancelled")
    with client_of(home) as client:
        assert client.post(f"{URL}/{job}/retry").status_code == 403
    with client_of(home, trusted=True) as client:
        assert client.post(f"{URL}/{job}/retry").status_code == 202
