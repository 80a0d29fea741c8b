"""Ingest jobs of a server in a process of its own: killed amid one, and asked meanwhile."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from ....helpers.colors import COLORS, write_plain
from ....helpers.command_line import command, environment, vidsim
from ....helpers.web import Server, copied, until

pytestmark = pytest.mark.acceptance

HOW = {"modalities": ["color"], "device": "cpu"}
URL = "/v1/ingest"


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A root with a folder of so many clips that their ingest takes a while."""
    folder = tmp_path / "root" / "many"
    folder.mkdir(parents=True)
    times = [n / 10 for n in range(100)]
    first = write_plain(folder / "0.mkv", COLORS["red"], times)
    for number in range(1, 60):
        with shutil.copy(first, folder / f"{number}.mkv").open("ab") as file:
            file.write(b"%d" % number)  # no copy of the others
    return folder.parent


@pytest.fixture
def home(colors: Path, tmp_path: Path) -> Path:
    return copied(colors / "home", tmp_path / "home")


def folder_of(client: httpx2.Client, name: str) -> str:
    """The id of a folder in one of the roots."""
    for root in client.get("/v1/folders").json()["folders"]:
        found = client.get("/v1/folders", params={"parent": root["folder"]}).json()
        for each in found["folders"]:
            if each["name"] == name:
                return str(each["folder"])
    raise AssertionError(name)


def job_now(client: httpx2.Client, job: str) -> Any:
    return client.get(f"{URL}/{job}").json()


def embeds(client: httpx2.Client, job: str) -> bool:
    return any(step["stage"] == "embedding" for step in job_now(client, job)["steps"])


def open_files(client: httpx2.Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("process_open_fds"))


def heard(client: httpx2.Client, job: str) -> Iterator[Any]:
    with client.stream("GET", f"{URL}/{job}/events") as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


def test_a_killed_server_says_interrupted_and_a_retry_completes(home: Path, clips: Path) -> None:
    with Server(home, "--root", str(clips)) as server:
        with server.client() as client:
            body = {"folder": folder_of(client, "many"), **HOW}
            started = client.post(URL, json=body, headers={"idempotency-key": "once"})
            job = started.json()["job"]
            until(lambda: embeds(client, job))
            mine = psutil.Process(server.process.pid).children(recursive=True)
        server.kill()
    until(lambda: not [each for each in mine if each.is_running()])
    with Server(home, "--root", str(clips)) as server, server.client() as client:
        assert job_now(client, job)["state"] == "interrupted"
        assert client.get("/v1/videos", params={"library": "lib"}).json()["total"] == 3
        same = client.post(URL, json=body, headers={"idempotency-key": "once"})
        assert same.json()["job"] == job
        again = client.post(f"{URL}/{job}/retry").json()["job"]
        told = [*heard(client, again)]
        assert told[-1]["state"] == "done", told[-1]["error"]
        assert told[-1]["report"]["videos"] == 60
        assert client.get("/v1/videos", params={"library": "many"}).json()["total"] == 60


def test_queries_are_answered_while_a_job_runs_and_two_follow_it(home: Path, clips: Path) -> None:
    with Server(home, "--root", str(clips)) as server, server.client() as client:
        job = client.post(URL, json={"folder": folder_of(client, "many"), **HOW}).json()["job"]
        before = open_files(client)
        for _ in range(10):  # who goes away leaves nothing behind
            with client.stream("GET", f"{URL}/{job}/events") as answer:
                next(answer.iter_lines())
        until(lambda: open_files(client) <= before + 2)
        with ThreadPoolExecutor(2) as threads:
            following = [threads.submit(lambda: [*heard(client, job)]) for _ in range(2)]
            until(lambda: embeds(client, job))
            asked = {"clips": [{"video": "lib/red.mkv"}], "modalities": ["color"]}
            answer = client.post("/v1/query", json=asked)
            assert answer.json()["results"]
            assert job_now(client, job)["state"] == "running"
            for each in following:
                told = each.result()
                assert told[-1]["state"] == "done"
                assert len(told) > 3
        assert client.get("/v1/videos", params={"library": "many"}).json()["total"] == 60


def test_a_cancelled_job_ends_at_once_and_keeps_what_was_done(home: Path, clips: Path) -> None:
    with Server(home, "--root", str(clips)) as server, server.client() as client:
        job = client.post(URL, json={"folder": folder_of(client, "many"), **HOW}).json()["job"]
        until(lambda: embeds(client, job))
        client.post(f"{URL}/{job}/cancel")
        until(lambda: job_now(client, job)["state"] == "cancelled", within_s=9)
        again = client.post(f"{URL}/{job}/retry").json()["job"]
        until(lambda: job_now(client, again)["state"] == "done", within_s=60)
        assert client.get("/v1/videos", params={"library": "many"}).json()["total"] == 60


def test_a_server_that_is_told_to_end_does_so_amid_a_job_that_is_followed(
    home: Path, clips: Path
) -> None:
    with Server(home, "--root", str(clips)) as server, server.client() as client:
        job = client.post(URL, json={"folder": folder_of(client, "many"), **HOW}).json()["job"]
        following = heard(client, job)
        next(following)
        until(lambda: embeds(client, job))
    assert server.process.returncode == 0
    with Server(home) as server, server.client() as client:
        assert job_now(client, job)["state"] == "interrupted"


def test_the_command_has_the_server_ingest_and_prints_its_report(home: Path, clips: Path) -> None:
    words = ["ingest", str(clips / "many"), "-m", "color", "--device", "cpu", "--json"]
    with Server(home) as server, server.client() as client:
        done = vidsim(home, *words)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout)
        assert (report["embedded"], report["videos"]) == (60, 60)
        (job,) = client.get(URL).json()["jobs"]
        assert job["report"].pop("timing")
        assert report.pop("timing")
        assert job["report"] == report
        vidsim(home, *words, "--no-server")
        assert len(client.get(URL).json()["jobs"]) == 1


def test_an_interrupted_command_cancels_its_job(home: Path, clips: Path) -> None:
    words = ["ingest", str(clips / "many"), "-m", "color", "--device", "cpu"]
    with Server(home) as server, server.client() as client:
        with subprocess.Popen(
            command(*words), env=environment(home), stderr=subprocess.PIPE, text=True
        ) as asking:
            job = until(lambda: client.get(URL).json()["jobs"])[0]["job"]
            until(lambda: embeds(client, job))
            asking.send_signal(signal.SIGINT)
            assert asking.wait(20) == 130
            assert asking.stderr
            assert "Interrupted; the same command goes on" in asking.stderr.read()
        until(lambda: job_now(client, job)["state"] == "cancelled")


def test_a_command_whose_server_is_killed_says_so(home: Path, clips: Path) -> None:
    words = ["ingest", str(clips / "many"), "-m", "color", "--device", "cpu"]
    with (
        Server(home) as server,
        server.client() as client,
        subprocess.Popen(
            command(*words), env=environment(home), stderr=subprocess.PIPE, text=True
        ) as asking,
    ):
        job = until(lambda: client.get(URL).json()["jobs"])[0]["job"]
        until(lambda: embeds(client, job))
        server.kill()
        assert asking.wait(20) == 1
        assert asking.stderr
        assert "The server ended before" in asking.stderr.read()
    assert vidsim(home, *words).returncode == 0, "without a server it goes on from there"
