"""Servers that are killed, that race, and whose home is odd: nothing is lost, and all is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from ...helpers.colors import COLORS, write_plain
from ...helpers.command_line import command, environment, vidsim
from ...helpers.read_only import as_anybody, read_only
from ...helpers.web import Server, copied, until

pytestmark = pytest.mark.acceptance

IDS = [f"lib/{name}.mkv" for name in COLORS]


@pytest.fixture
def home(colors: Path, tmp_path: Path) -> Path:
    return copied(colors / "home", tmp_path / "home")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder of so many clips that their ingest takes a while."""
    folder = tmp_path / "root" / "many"
    folder.mkdir(parents=True)
    first = write_plain(folder / "0.mkv", COLORS["red"], [n / 10 for n in range(100)])
    content = first.read_bytes()
    for number in range(1, 60):
        (folder / f"{number}.mkv").write_bytes(content + b"%d" % number)
    return folder


def state(client: httpx2.Client, library: str) -> tuple[Any, Any, Any]:
    """What is listed and answered of a library."""
    stored = client.get("/v1/videos", params={"library": library}).json()
    counts = client.get("/v1/facets", params={"library": library}).json()
    asked = [{"clips": [{"video": each}], "libraries": [library], "k": 3} for each in IDS]
    return stored, counts, [client.post("/v1/query", json=each).json() for each in asked]


def files(folder: Path) -> dict[str, int]:
    """All files but the server's, and their sizes."""
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "server" not in path.relative_to(folder).parts
    }


@contextmanager
def asking(url: str, clip: bytes, threads: int) -> Iterator[list[str]]:
    """Has so many clients ask without a pause, until the block ends; gives what they are told."""
    told: list[str] = []
    over = False

    def ask(number: int) -> None:
        with httpx2.Client(base_url=url, timeout=30) as client:
            for turn in range(10_000):
                if over:
                    return
                new = clip + b"%d %d" % (number, turn)  # none that was embedded before
                with suppress(httpx2.HTTPError):
                    if number % 2:
                        stored = {"clips": [{"video": IDS[turn % 3]}], "k": 2}
                        answer = client.post("/v1/query", json=stored)
                    else:
                        answer = client.post("/v1/query", files={"clip": ("new.mkv", new)})
                    told.append(f"{answer.status_code}")

    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(ask, number) for number in range(threads)]
        try:
            yield told
        finally:
            over = True
            for each in running:
                each.result()


def killed(server: Server) -> None:
    """Kills a server, and waits until its child processes have ended, too."""
    mine = psutil.Process(server.process.pid).children(recursive=True)
    server.kill()
    until(lambda: not [each for each in mine if each.is_running()])


def test_a_server_that_is_killed_amid_50_queries_leaves_all_as_it_was(
    home: Path, colors: Path
) -> None:
    clip = (colors / "lib/blue.mkv").read_bytes()
    with Server(home) as server:
        with server.client() as client:
            before = state(client, "lib")
            assert client.post("/v1/uploads?name=a.mkv", content=clip).status_code == 201
        kept = files(home)
        with asking(server.url, clip, 50) as told:
            until(lambda: told.count("200") > 60)
            assert (home / "server/socket").exists()
            killed(server)
    assert {*told} <= {"200", "429"}
    assert files(home) == kept
    assert [*(home / "server/uploads").iterdir()]
    verified = vidsim(home, "verify")
    assert verified.returncode == 0, verified.stdout
    assert vidsim(home, "query", IDS[0]).returncode == 0, "a socket that nobody serves is passed by"
    with Server(home) as server, server.client() as client, server.inside() as inside:
        assert state(client, "lib") == before == state(inside, "lib")
        assert not [*(home / "server/uploads").iterdir()]
        assert not [*(home / "server").rglob("*.partial")]
        assert server.note()["pid"] == server.process.pid


def test_a_server_that_is_killed_amid_a_job_and_queries_goes_on_from_there(
    home: Path, colors: Path, many: Path
) -> None:
    clip = (colors / "lib/blue.mkv").read_bytes()
    how = {"path": str(many), "modalities": ["color"], "device": "cpu"}
    with Server(home) as server, server.client() as client, server.inside() as inside:
        before = state(client, "lib")
        with asking(server.url, clip, 6) as told:
            job = inside.post("/v1/ingest", json=how).json()["job"]
            until(lambda: _embeds(client, job))
            count = len(told)
            until(lambda: len(told) > count + 3)
            killed(server)
    with Server(home) as server, server.client() as client:
        ended = client.get(f"/v1/ingest/{job}").json()
        assert ended["state"] == "interrupted"
        assert "retry it" in ended["error"]["message"]
        assert state(client, "lib") == before
        with server.inside() as inside:
            again = inside.post(f"/v1/ingest/{job}/retry").json()["job"]
        until(lambda: client.get(f"/v1/ingest/{again}").json()["state"] == "done", within_s=120)
        assert client.get("/v1/videos", params={"library": "many"}).json()["total"] == 60
        assert state(client, "lib") == before
    verified = vidsim(home, "verify")
    assert verified.returncode == 0, verified.stdout


def _embeds(client: httpx2.Client, job: str) -> bool:
    steps = client.get(f"/v1/ingest/{job}").json()["steps"]
    return any(step["stage"] == "embedding" for step in steps)


def test_commands_are_answered_while_the_server_ingests(home: Path, many: Path) -> None:
    words = ["query", IDS[0], "--library", "lib", "--json"]
    alone = json.loads(vidsim(home, *words).stdout)["results"]
    how = {"path": str(many), "modalities": ["color"], "device": "cpu"}
    with Server(home) as server, server.inside() as inside:
        job = inside.post("/v1/ingest", json=how).json()["job"]
        until(lambda: _embeds(inside, job))
        for how_asked in ((), ("--no-server",)):
            found = vidsim(home, *words, *how_asked)
            assert found.returncode == 0, found.stderr
            (note,) = json.loads(found.stdout)["notes"]
            assert "is still writing (ingest of many" in note
            assert json.loads(found.stdout)["results"] == alone
        assert vidsim(home, "libraries").returncode == 0
        assert inside.get(f"/v1/ingest/{job}").json()["state"] == "running", "all of it meanwhile"
        inside.post(f"/v1/ingest/{job}/cancel")


@pytest.mark.parametrize("_", range(3))
def test_of_servers_that_race_one_serves(home: Path, _: int) -> None:
    how: Any = {"env": environment(home), "stderr": subprocess.PIPE, "text": True}
    racing = [subprocess.Popen(command("serve", "--port", "0"), **how) for _ in range(3)]
    until(lambda: sum(each.poll() is not None for each in racing) == 2)
    (serves,) = [each for each in racing if each.poll() is None]
    until(lambda: _answers(home))
    assert _Of(home).note()["pid"] == serves.pid
    for each in racing:
        if each is not serves:
            assert each.returncode == 1
            assert "A server runs on" in _rest(each)
    serves.send_signal(signal.SIGTERM)
    assert serves.wait(30) == 0
    _rest(serves)
    assert not (home / "server/socket").exists()


class _Of(Server):
    """What `Server` reads of a home, without a process of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home


def _answers(home: Path) -> bool:
    with suppress(httpx2.HTTPError, OSError), _Of(home).inside() as inside:
        return bool(inside.get("/healthz").status_code == 200)
    return False


def _rest(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    with process.stderr as said:
        return said.read()


def test_a_home_by_another_name_is_the_same(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.symlink_to(home, target_is_directory=True)
    with Server(other) as server, server.inside() as inside:
        refused = vidsim(home, "serve", "--port", "0")
        assert (refused.returncode, server.url in refused.stderr) == (1, True)
        found = vidsim(home, "query", IDS[0], "--json")
        assert found.stdout == vidsim(home, "query", IDS[0], "--json", "--no-server").stdout
        asked = inside.get("/metrics").text
        assert "vidsim_queries_total{" in asked or inside.get("/v1/videos").json()["total"] == 3


def test_a_server_that_is_stopped_is_not_waited_for(home: Path) -> None:
    words = ["query", IDS[0], "--json"]
    alone = vidsim(home, *words).stdout
    with Server(home) as server:
        server.process.send_signal(signal.SIGSTOP)
        try:
            found = vidsim(home, *words)
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert (found.returncode, found.stdout) == (0, alone)
        assert "does not answer" in found.stderr


def test_a_home_that_may_only_be_read_is_served(home: Path) -> None:
    words = [*as_anybody(), *command("serve", "--port", "0")]
    with read_only(home):
        serving = subprocess.Popen(words, env=environment(home), stderr=subprocess.PIPE, text=True)
        assert serving.stderr
        said = next(line for line in serving.stderr if "http" in line)
        url = next(word for word in said.split() if word.startswith("http"))
        with httpx2.Client(base_url=url, timeout=60) as client:
            assert client.get("/v1/videos").json()["total"] == 3
            asked = {"clips": [{"video": IDS[0]}]}
            assert client.post("/v1/query", json=asked).json()["results"]
            assert client.get("/readyz").status_code == 200
        serving.send_signal(signal.SIGINT)
        assert serving.wait(30) == 0
        serving.stderr.close()
    assert not (home / "server").exists()


def test_a_server_ends_when_told_amid_queries(home: Path, colors: Path) -> None:
    clip = (colors / "lib/blue.mkv").read_bytes()
    with Server(home) as server:
        with asking(server.url, clip, 8) as told:
            until(lambda: told.count("200") > 8)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(30) == 0
            assert time.monotonic() - began < 20
        assert server.process.stderr
        assert "Traceback" not in server.process.stderr.read()
    assert {*told} <= {"200", "429", "503"}
    assert {*os.listdir(home / "server")} <= {"cache", "jobs", "serving.lock"}


def test_a_token_that_changes_ends_the_sessions_of_the_old_one(home: Path) -> None:
    cookies = httpx2.Cookies()
    for token, before in (("first", 401), ("second", 401), ("second", 200)):
        with Server(home, VIDSIM_SERVE_TOKEN=token) as server, server.client() as client:
            client.cookies = cookies
            assert client.get("/v1/videos").status_code == before
            assert client.post("/v1/session", json={"token": token}).status_code == 204
            assert client.get("/v1/videos").status_code == 200
            cookies = client.cookies
