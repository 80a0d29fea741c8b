"""Opening a video: where it is, what is started, and what is said where nothing can show it."""

from __future__ import annotations

import time
import webbrowser
from pathlib import Path

import psutil
import pytest

from vidsim import Library, LibraryError, MediaError, SettingsError
from vidsim.ingest.shards.home import Place
from vidsim.search.places import address_at

from ..helpers.embedded_videos import audioset_clip, embedded, store


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that holds a video whose file is gone, and one of the web; nothing can be shown."""
    store(Place(tmp_path / "home"), embedded("lib/a.mp4"), audioset_clip("web/b", "Dog", seed=1))
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "VIDSIM_PLAYER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    return tmp_path / "home"


def written_by(player: Path) -> list[str]:
    """The words that a player was started with, as soon as it says."""
    until = time.monotonic() + 20
    while not player.with_suffix(".said").exists() and time.monotonic() < until:
        time.sleep(0.05)
    return player.with_suffix(".said").read_text().splitlines()


def make_player(folder: Path) -> Path:
    player = folder / "player"
    player.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > "$0.part"; mv "$0.part" "$0.said"\n')
    player.chmod(0o755)
    return player


def test_the_player_of_the_settings_gets_the_file_and_the_time(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = make_player(tmp_path)
    clip = tmp_path / "a {seconds} $(id) 'clip'.mp4"
    clip.write_text("")
    monkeypatch.setenv("VIDSIM_PLAYER", f"{player} --start={{seconds}} {{file}}")
    played = Library.open(home).play(clip, at_s=12.5)
    assert (played.path, played.player) == (str(clip), str(player))
    assert written_by(player) == ["--start=12.5", str(clip)]


def test_a_player_without_places_gets_the_file_alone(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = make_player(tmp_path)
    (tmp_path / "a.mp4").write_text("")
    monkeypatch.setenv("VIDSIM_PLAYER", str(player))
    Library.open(home).play(tmp_path / "a.mp4")
    assert written_by(player) == [str(tmp_path / "a.mp4")]


def test_a_player_that_has_ended_leaves_no_process(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.mp4").write_text("")
    monkeypatch.setenv("VIDSIM_PLAYER", str(make_player(tmp_path)))
    before = {child.pid for child in psutil.Process().children()}
    Library.open(home).play(tmp_path / "a.mp4")
    written_by(tmp_path / "player")
    until = time.monotonic() + 20
    while left := {child.pid for child in psutil.Process().children()} - before:
        assert time.monotonic() < until, left
        time.sleep(0.05)


@pytest.mark.parametrize("command", ["no-such-player-anywhere", "'open", "''"])
def test_a_player_that_cannot_be_started_is_told(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "a.mp4").write_text("")
    monkeypatch.setenv("VIDSIM_PLAYER", command)
    with pytest.raises(SettingsError, match="VIDSIM_PLAYER"):
        Library.open(home).play(tmp_path / "a.mp4")


def test_without_a_display_nothing_is_started(home: Path, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_text("")
    played = Library.open(home).play(tmp_path / "a.mp4", at_s=3)
    assert (played.path, played.at_s, played.player) == (str(tmp_path / "a.mp4"), 3, "")
    assert Library.open(home).play(tmp_path / "a.mp4", at_s="1:18.5").at_s == 78.5


def test_a_browser_opens_what_has_no_player(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("PATH", str(tmp_path))  # neither mpv nor vlc
    monkeypatch.setattr(webbrowser, "open", lambda address: not opened.append(address))
    (tmp_path / "a #1.mp4").write_text("")
    with Library.open(home) as library:
        assert library.play(tmp_path / "a #1.mp4", at_s=61.25).player == "browser"
        web = library.play("web/b")
    assert opened == [f"{tmp_path.as_uri()}/a%20%231.mp4#t=61.2", web.path]
    assert web.path.startswith("https://www.youtube.com/")


def test_what_is_not_there_is_told(home: Path) -> None:
    with Library.open(home) as library:
        with pytest.raises(LibraryError, match=r"The file of lib/a.mp4 is gone: /videos/lib/a.mp4"):
            library.play("lib/a.mp4")
        with pytest.raises(LibraryError, match=r"did you mean lib/a.mp4\?"):
            library.play("lib/b.mp4")
        with pytest.raises(LibraryError, match="no library, folder or stored video"):
            library.play("lib")
        with pytest.raises(MediaError, match="--at soon is no time; write seconds"):
            library.play("lib/a.mp4", at_s="soon")


def test_addresses_of_files_are_encoded_and_those_of_the_web_stay() -> None:
    assert address_at("/a b/ü#?.mp4", 2) == "file:///a%20b/%C3%BC%23%3F.mp4#t=2.0"
    assert address_at("https://a.example/?v=1", 2) == "https://a.example/?v=1"
