"""A clock that is set back, files from the future and from before 1970, locks of tomorrow.

What is stored is told apart by content and order, never by the time of the day.
"""

from __future__ import annotations

import json
import os
import time

import pytest

from vidsim.ingest import pipeline
from vidsim.ingest.shards.lock import writing
from vidsim.schemas.errors import StoreError
from vidsim.search.library import Library

from ..helpers.command_line import vidsim
from ..helpers.ingests import in_step, ingest, pretend, shard_rows, write_files

YEAR_S = 365 * 86_400


@pytest.fixture(autouse=True)
def pretending(monkeypatch):
    monkeypatch.setattr(pipeline, "embed_all", pretend)


@pytest.fixture
def set_clock(monkeypatch):
    """Sets the clock of this process by so many seconds."""
    real, real_ns = time.time, time.time_ns

    def by(seconds: int) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + seconds)
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + seconds * 10**9)

    return by


def set_times(folder, seconds):
    for path in folder.rglob("*.mp4"):
        os.utime(path, (seconds, seconds))


@pytest.mark.parametrize("by_s", [-YEAR_S, -60, YEAR_S])
def test_a_clock_that_was_set_between_two_ingests(place, tmp_path, set_clock, by_s):
    folder = write_files(tmp_path / "lib", {"a.mp4": "a", "b.mp4": "b", "c.mp4": "c"})
    ingest(folder, place)
    set_clock(by_s)
    write_files(folder, {"b.mp4": "B", "d.mp4": "d"})  # of the same length
    os.utime(folder / "b.mp4", (time.time(), time.time()))
    (folder / "c.mp4").rename(folder / "e.mp4")
    report = ingest(folder, place)
    assert (report.embedded, report.moved, report.unchanged) == (2, 1, 1)
    newer = shard_rows(place, "lib")["labhist"]["rows"]
    assert len({of[0] for of in newer.values()}) == 4
    in_step(place)
    set_clock(0)
    assert ingest(folder, place).unchanged == 4
    with Library(place) as library:
        assert library.verify(sample="all").damage == []
        found = library.query("lib/b.mp4", modalities="color")
        assert (len(found.results), found.notes) == (3, [])


@pytest.mark.parametrize("seconds", [-YEAR_S, 0, 4 * 10**9])
def test_files_of_any_date(place, tmp_path, seconds):
    folder = write_files(tmp_path / "lib", {"a.mp4": "a", "b.mp4": "b"})
    set_times(folder, seconds)
    assert ingest(folder, place).embedded == 2
    assert ingest(folder, place).unchanged == 2
    write_files(folder, {"b.mp4": "B"})
    set_times(folder, seconds - 1)  # an older file in the place of a newer one
    assert ingest(folder, place).embedded == 1
    in_step(place)
    with Library(place) as library:
        assert [v.video_id for v in library.videos()] == ["lib/a.mp4", "lib/b.mp4"]


def test_a_home_that_was_written_in_the_future(place, tmp_path):
    folder = write_files(tmp_path / "lib", {"a.mp4": "a", "b.mp4": "b"})
    ingest(folder, place)
    for path in place.home.rglob("*"):
        os.utime(path, (4 * 10**9, 4 * 10**9))
    write_files(folder, {"b.mp4": "B", "c.mp4": "c"})
    assert ingest(folder, place).embedded == 2
    in_step(place)
    asked = vidsim(place.home, "query", "lib/b.mp4", "--json")
    assert asked.returncode == 0, asked.stderr
    assert len(json.loads(asked.stdout)["results"]) == 2


def test_who_holds_a_lock_since_tomorrow_is_told(place, set_clock):
    set_clock(86_400)
    with writing(place.home, "ingest of lib"):
        set_clock(0)
        with pytest.raises(StoreError, match=r"is in use: process \d+ \(ingest of lib\)"):
            writing(place.home, "another").__enter__()
