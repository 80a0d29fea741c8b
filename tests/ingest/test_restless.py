"""Folders that change while they are ingested: once they rest, all is as of a new ingest."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from vidsim.ingest import pipeline
from vidsim.ingest.extract.batching import FailedVideo
from vidsim.ingest.shards.home import Place

from ..helpers import read_only
from ..helpers.clips import write_shades
from ..helpers.ingests import in_step, ingest, pretended, shard_rows, write_files
from ..helpers.restless import Restless, ingest_restless


def embedding_what_is_there(change):
    """Stands in for `embed_all`: rows follow from what a file holds when it is read.

    `change` is called before the first file is read, after all have been listed and hashed.
    """

    def embed(videos, options, progress, meter=None, stop=None):
        change()
        for video in videos:
            try:
                text = Path(video.path).read_text()
            except OSError:
                yield FailedVideo(video, "It is gone.")
                continue
            if text == "damaged":
                yield FailedVideo(video, "It is damaged.", lasting=True)
                continue
            names = [b.name for b in options.backbones.values()]
            content = replace(video, fingerprint=text)
            yield replace(pretended(content, names, options.segment_seconds), video=video)

    return embed


def nothing():
    pass


@pytest.fixture
def ingest_while(monkeypatch, place, tmp_path):
    """Ingests ``lib`` while something is changed; gives the report."""

    def run(change=nothing, into=place):
        monkeypatch.setattr(pipeline, "embed_all", embedding_what_is_there(change))
        return ingest(tmp_path / "lib", into, prune=True)

    return run


@pytest.fixture
def as_new(ingest_while, place, tmp_path):
    """Asserts that the home is as one that is made anew; gives the second ingest's report."""

    def compare():
        report = ingest_while()
        ingest_while(into=Place(tmp_path / "fresh"))
        assert in_step(place) == in_step(Place(tmp_path / "fresh"))
        ours, theirs = (rows_of(each) for each in (place, Place(tmp_path / "fresh")))
        assert ours == theirs
        return report

    return compare


def rows_of(place: Place) -> dict[str, tuple[str, list[float]]]:
    found = shard_rows(place, "lib")["labhist"]["rows"]
    return {row: (of[0], of[2].tolist()) for row, of in found.items()}


def test_rows_of_a_replaced_file_do_not_follow_its_content_to_another_name(
    ingest_while, as_new, tmp_path
):
    folder = write_files(tmp_path / "lib", {"a.mp4": "a", "b.mp4": "old"})

    def replace_b():
        (folder / "b.mp4").rename(folder / "c.mp4")
        (folder / "b.mp4").write_text("new")

    (note,) = ingest_while(replace_b).notes
    assert note == (
        f"{folder}/b.mp4 changed while it was read; the next ingest reads what changed again."
    )
    (folder / "b.mp4").unlink()
    assert as_new().notes == []


def test_two_that_swap_their_names_are_read_again(ingest_while, as_new, tmp_path):
    folder = write_files(tmp_path / "lib", {"a.mp4": "one", "b.mp4": "other"})

    def swap():
        (folder / "a.mp4").rename(folder / "c.mp4")
        (folder / "b.mp4").rename(folder / "a.mp4")
        (folder / "c.mp4").rename(folder / "b.mp4")

    assert "a.mp4 and 1 more changed" in ingest_while(swap).notes[0]
    as_new()


def test_a_change_that_is_taken_back_is_not_taken_for_what_was_read(ingest_while, as_new, tmp_path):
    folder = write_files(tmp_path / "lib", {"a.mp4": "a", "b.mp4": "b"})
    was = (folder / "b.mp4").stat()
    ingest_while(lambda: (folder / "b.mp4").write_text("other"))
    (folder / "b.mp4").write_text("b")
    os.utime(folder / "b.mp4", ns=(was.st_atime_ns, was.st_mtime_ns))
    as_new()


def test_a_file_that_was_damaged_while_it_was_read_is_tried_again(ingest_while, as_new, tmp_path):
    folder = write_files(tmp_path / "lib", {"a.mp4": "a", "b.mp4": "b"})
    was = (folder / "b.mp4").stat()
    report = ingest_while(lambda: (folder / "b.mp4").write_text("damaged"))
    assert [f.path for f in report.failed] == [str(folder / "b.mp4")]
    (folder / "b.mp4").write_text("b")
    os.utime(folder / "b.mp4", ns=(was.st_atime_ns, was.st_mtime_ns))
    assert as_new().failed == []


def test_files_that_vanish_and_come_meanwhile_wait_for_the_next(ingest_while, as_new, tmp_path):
    folder = write_files(tmp_path / "lib", {"a.mp4": "a", "b.mp4": "b"})

    def change():
        (folder / "b.mp4").unlink()
        write_files(folder, {"new/c.mp4": "c"})

    report = ingest_while(change)
    assert (report.videos, [f.reason for f in report.failed]) == (1, ["It is gone."])
    again = as_new()
    assert (again.videos, again.failed) == (2, [])


def test_a_file_that_is_only_read_changes_nothing(ingest_while, place, tmp_path):
    folder = write_files(tmp_path / "lib", {"a.mp4": "a"})
    assert ingest_while(lambda: (folder / "a.mp4").chmod(0o444)).notes == []
    assert ingest_while().unchanged == 1


def test_a_folder_that_may_only_be_read_is_ingested(tmp_path):
    folder = write_shades(tmp_path / "lib", {"a.mkv": 30, "b.mkv": 240})
    (tmp_path / "home").mkdir()
    with read_only.read_only(folder):
        words = ["ingest", str(folder), "-m", "color", "--device", "cpu", "--json"]
        done = read_only.vidsim(tmp_path / "home", words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["embedded"] == 2
    assert sorted(path.name for path in folder.iterdir()) == ["a.mkv", "b.mkv"]


@pytest.mark.acceptance
def test_a_folder_that_never_rests(tmp_path: Path) -> None:
    """`python -m vidsim.tests.helpers.restless N SEED` does it more often."""

    restless = Restless(tmp_path / "lib", seed=1)
    assert [*filter(None, ingest_restless(restless, rounds=6))] == []
    assert restless.changes.total() > 20
