"""Commands at once, in processes of their own: correct, or refused with who holds the home."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vidsim.ingest.shards.home import Place
from vidsim.schemas.results import IngestReport, QueryResult, VerifyReport

from .helpers.clips import write_shades
from .helpers.command_line import command, environment_of
from .helpers.web import Server, until

WORDS = ["-m", "color", "--device", "cpu"]
MANY = 60


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two folders of many clips."""
    found = []
    for name in ("one", "two"):
        write_shades(tmp_path / name, {"a.mkv": 30, "b.mkv": 200})
        first = tmp_path / name / "a.mkv"
        for number in range(MANY):
            os.link(first, tmp_path / name / f"{number:03}.mkv")
        found.append(tmp_path / name)
    return found


def start(place: Place, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*words),
        env=environment_of(place),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
    out, err = process.communicate(timeout=240)
    assert "Traceback" not in err, err
    return subprocess.CompletedProcess([], process.returncode, out, err)


def ran(place: Place, *words: str) -> subprocess.CompletedProcess[str]:
    return ended(start(place, *words))


def writes(place: Place) -> bool:
    """Whether a process has said that it holds the home."""
    return (place.home / "writing.json").exists()


def all_right(place: Place) -> None:
    done = ran(place, "verify", "--deep", "--json")
    assert done.returncode == 0, done.stderr
    report = VerifyReport.model_validate_json(done.stdout)
    assert (report.damage, sum(c.wrong for c in report.comparisons)) == ([], 0)


REFUSED = r"is in use: process {pid} \(ingest of one[^)]*\) has been writing since \d\d:\d\d\. Wait"


@pytest.mark.acceptance
def test_of_two_ingests_one_is_refused_and_waits_where_told(
    target_place: Place, folders: list[Path]
) -> None:
    one, two = folders
    first = start(target_place, "ingest", str(one), *WORDS, "--json")
    until(lambda: writes(target_place))
    refused = ran(target_place, "ingest", str(two), *WORDS)
    assert refused.returncode == 1
    assert re.search(REFUSED.format(pid=first.pid), refused.stderr), refused.stderr
    waited = ran(target_place, "ingest", str(two), *WORDS, "--wait", "--json")
    assert "Waiting for it to end." in waited.stderr
    reports = [IngestReport.model_validate_json(done.stdout) for done in (ended(first), waited)]
    assert [r.failed for r in reports] == [[], []]
    assert all(r.videos >= MANY for r in reports)
    all_right(target_place)


@contextmanager
def asking(place: Place, *words: str) -> Iterator[list[subprocess.CompletedProcess[str]]]:
    """Runs a command again and again beside what the block does; gives what came of each."""
    done: list[subprocess.CompletedProcess[str]] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            done.append(ran(place, *words))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        until(lambda: done)
        yield done
        until_now = len(done)
        until(lambda: len(done) > until_now)
    finally:
        over.set()
        thread.join()


@pytest.mark.acceptance
def test_queries_beside_an_ingest_and_a_removal_are_right(
    target_place: Place, folders: list[Path]
) -> None:
    one, two = folders
    assert ran(target_place, "ingest", str(one), *WORDS).returncode == 0
    with asking(target_place, "query", "one/000.mkv", "-k", "200", "--json") as answers:
        assert ran(target_place, "ingest", str(two), *WORDS).returncode == 0
        assert ran(target_place, "remove", "two", "--yes").returncode == 0
        assert ran(target_place, "remove", "one/01*.mkv", "--yes").returncode == 0
    assert {a.returncode for a in answers} == {0}, [a.stderr for a in answers if a.returncode]
    found = [
        {r.video_id for r in QueryResult.model_validate_json(a.stdout).results} for a in answers
    ]
    gone = {f"one/01{digit}.mkv" for digit in range(10)}
    assert gone <= found[0]
    assert not gone & found[-1]
    assert not any(name.startswith("two/") for name in found[-1])
    stays = {f"one/{number:03}.mkv" for number in range(20, MANY)}
    assert all(stays <= names for names in found), "what nobody removed is always there"
    all_right(target_place)


@pytest.mark.acceptance
def test_a_server_of_the_home_is_asked_or_its_job_is_named(
    place: Place, folders: list[Path]
) -> None:
    one, two = folders
    assert ran(place, "ingest", str(one), *WORDS).returncode == 0
    with (
        Server(place.home, "--root", str(two)),
        asking(place, "query", "one/000.mkv", "-k", "200", "--json") as answers,
    ):
        job = start(place, "ingest", str(two), *WORDS, "--json")
        until(lambda: writes(place))
        held = json.loads((place.home / "writing.json").read_text())["pid"]
        assert held != job.pid, "it is the server's"
        refused = ran(place, "ingest", str(one), *WORDS, "--no-server", "--retry")
        if refused.returncode:  # else the job was faster
            assert f"is in use: process {held} (" in refused.stderr
        removed = ran(place, "remove", "one/01*.mkv", "--yes", "--wait")
        assert removed.returncode == 0, removed.stderr
        report = IngestReport.model_validate_json(ended(job).stdout)
        assert (report.library, report.failed) == ("two", [])
    assert {a.returncode for a in answers} == {0}, [a.stderr for a in answers if a.returncode]
    last = {r.video_id for r in QueryResult.model_validate_json(answers[-1].stdout).results}
    assert not {f"one/01{digit}.mkv" for digit in range(10)} & last
    assert any(name.startswith("two/") for name in last)
    all_right(place)
