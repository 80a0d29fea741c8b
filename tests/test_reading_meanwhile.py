"""Three processes read a home in every way while another one ingests into it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .helpers import read_only
from .helpers.command_line import command, environment, vidsim

Run = Callable[[Path, list[str]], subprocess.CompletedProcess[str]]

WAYS = ("query", "libraries", "export", "verify")


def vidsim_words(home: Path, words: list[str]) -> subprocess.CompletedProcess[str]:
    return vidsim(home, *words)


def read(home: Path, way: str, scratch: Path, run: Run = vidsim_words) -> int | None:
    """Reads in one way; returns how many videos were seen, None before the first was finished."""
    listed = run(home, ["libraries", "--videos", "--json"])
    assert listed.returncode == 0, listed.stderr
    ids = [video["video_id"] for video in json.loads(listed.stdout)]
    if not ids:
        return None
    words = {
        "query": ["query", ids[0], "--json"],
        "libraries": ["libraries", "--json"],
        "export": ["export", str(scratch / "export")],
        "verify": ["verify", "--json"],
    }[way]
    done = run(home, words)
    assert done.returncode == 0, (way, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    if way == "query":
        assert {r["video_id"] for r in json.loads(done.stdout)["results"]} - {ids[0]} or len(
            ids
        ) == 1
    if way == "verify":
        assert json.loads(done.stdout)["damage"] == []
    return len(ids)


@pytest.mark.acceptance
@pytest.mark.timeout(900)
def test_what_readers_see_only_grows(weights: Path, shared_data: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    videos = shared_data / "capstone70"
    ingest = subprocess.Popen(
        command("ingest", str(videos), "-m", "color,frame", "--json"),
        env=environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    seen: list[list[int]] = []
    notes = []

    def reader(number: int) -> list[int]:
        found = []
        turn = number
        while ingest.poll() is None:
            (scratch := tmp_path / f"{number}-{turn}").mkdir()
            if (count := read(home, WAYS[turn % len(WAYS)], scratch)) is not None:
                found.append(count)
            notes.append(vidsim(home, "libraries").stderr)
            turn += 1
            time.sleep(1)
        return found

    try:
        with ThreadPoolExecutor(3) as pool:
            seen = list(pool.map(reader, range(3)))
    finally:
        ingest.kill()
    report = json.loads(ingest.communicate()[0])
    assert (report["videos"], report["failed"]) == (70, [])
    assert all(counts == sorted(counts) for counts in seen)
    assert any(count < 70 for counts in seen for count in counts), "nothing was read in between"
    assert any("is still writing (ingest of capstone70" in note for note in notes)
    (scratch := tmp_path / "after").mkdir()
    assert [read(home, way, scratch) for way in WAYS] == [70] * 4
    with read_only.read_only(home):
        assert [read(home, way, scratch, read_only.vidsim) for way in WAYS] == [70] * 4
