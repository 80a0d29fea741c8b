"""What the shell is offered: names of libraries, ids, and nothing where nothing can be read."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from vidsim.ingest.shards.home import Place
from vidsim.search import completion
from vidsim.search.completion import clips, library_names, names_and_ids, video_ids

from ..helpers.command_line import vidsim
from ..helpers.embedded_videos import embedded, store

IDS = ["birds/a.mp4", "birds/night/b.mp4", "boats/c.mp4"]


@pytest.fixture
def stored(place: Place) -> Place:
    store(place, *(embedded(i, backbones=("labhist",), seed=n) for n, i in enumerate(IDS)))
    return place


def test_libraries_are_completed_by_name(stored: Place) -> None:
    assert library_names("") == ["birds", "boats"]
    assert library_names("bi") == ["birds"]
    assert library_names("x") == []


def test_ids_are_completed_once_the_library_is_certain(stored: Place) -> None:
    assert video_ids("b") == ["birds/", "boats/"]
    assert video_ids("bi") == IDS[:2]
    assert video_ids("birds/n") == IDS[1:2]
    assert video_ids("bird/") == []


def test_what_can_be_removed_is_a_library_or_an_id(stored: Place) -> None:
    assert names_and_ids("bi") == ["birds"]
    assert names_and_ids("birds/") == IDS[:2]


def test_what_a_shell_would_take_for_more_than_a_name_is_not_offered(stored: Place) -> None:
    names = ["a b", "a;b", "$(b)", "`b`", "a\\b", "a'b", "a*b", "Müller-1"]
    store(stored, *(embedded(f"x/{name}", backbones=("labhist",)) for name in names))
    assert video_ids("x/") == ["x/Müller-1"]


def test_of_many_ids_the_first_and_the_last_are_offered(
    stored: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(stored, *(embedded(f"many/{n:02}.mp4", backbones=("labhist",)) for n in range(20)))
    monkeypatch.setattr(completion, "MOST", 5)
    assert video_ids("many/") == [f"many/{n:02}.mp4" for n in (0, 1, 2, 3, 19)]


def test_a_clip_is_an_id_or_a_file_beside_it(
    stored: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boat.mp4").touch()
    assert clips("boat") == ["boats/c.mp4", "boat.mp4"]
    assert clips("boat.") == [], "files alone are left to the shell"


def test_every_clip_of_a_query_is_completed(stored: Place) -> None:
    for words in ("query boats/c.mp4 birds/n", "query boats/c.mp4 --not birds/n"):
        asked = {"_VIDSIM_COMPLETE": "complete_bash", "COMP_WORDS": f"vidsim {words}"}
        done = vidsim(stored.home, **asked, COMP_CWORD=str(len(words.split())))
        assert done.stdout.split() == ["birds/night/b.mp4"]


def test_nothing_is_said_where_nothing_can_be_read(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDSIM_COMPLETED", "1")
    assert video_ids("") == library_names("") == []
    place.home.mkdir()
    (place.home / "shards").write_text("no folder")
    assert video_ids("") == library_names("") == []
    assert not caplog.records
    assert logging.getLogger("vidsim").isEnabledFor(logging.WARNING)
