"""Opens a video where a person can watch it, at a time if the player can be told one."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from threading import Thread

from ..ingest.shards.home import open_shards
from ..ingest.sync.stored_videos import Wanted, list_videos, unknown
from ..schemas.errors import LibraryError, SettingsError
from ..schemas.explanation import Played
from .places import address_at, is_address

_PLAYERS = {"mpv": "mpv --start={seconds} {file}", "vlc": "vlc --start-time={seconds} {file}"}
"""Players that can be told when to begin, and how."""


def locate(home: Path, video: str) -> str:
    """Return where a video is: the path of a stored id, or of a file, or an address.

    Raises:
        LibraryError: It is neither stored nor a file, or its file is gone.
        StoreError: A shard cannot be read.
    """
    path = _stored_path(home, video)
    if path is None:
        path = os.path.abspath(video)
        if not os.path.isfile(path):
            shards = open_shards(home)
            raise unknown(video, {name: shards.catalog(name) for name in shards.libraries()})
    if not is_address(path) and not os.path.isfile(path):
        raise LibraryError(f"The file of {video} is gone: {path}; put it back, or ingest again.")
    return path


def _stored_path(home: Path, video: str) -> str | None:
    try:
        found = list_videos(home, Wanted((video,)))
    except LibraryError:
        return None
    return next((each.path for each in found if each.video_id == video), None)


def play(path: str, at_s: float, command: str | None) -> Played:
    """Open a file or an address; where nothing can show it, only say so.

    Args:
        path: The file, or the address.
        at_s: Seconds from its start.
        command: What to start, with ``{file}`` and ``{seconds}``; None for mpv, vlc or a browser.

    Raises:
        SettingsError: The command cannot be started.
    """
    if command is None:
        if not _has_display():
            return Played(path=path, at_s=at_s, player="")
        command = next((line for name, line in _PLAYERS.items() if shutil.which(name)), None)
    if command is None or (is_address(path) and command in _PLAYERS.values()):
        import webbrowser

        shown = webbrowser.open(address_at(path, at_s))
        return Played(path=path, at_s=at_s, player="browser" if shown else "")
    words = _words(command, path, at_s)
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # it stays open when the terminal is closed
        )
    except OSError as error:
        raise SettingsError(
            f"VIDSIM_PLAYER={command} cannot be started ({error.strerror}); correct it or unset it."
        ) from error
    # A player that is never waited for would stay a zombie for as long as a server runs.
    Thread(target=process.wait, name="player", daemon=True).start()
    return Played(path=path, at_s=at_s, player=words[0])


def _words(command: str, path: str, at_s: float) -> list[str]:
    """Return the words of a command, with the file and the time in their places.

    Raises:
        SettingsError: It has an open quotation mark, or no word.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SettingsError(
            f"VIDSIM_PLAYER={command} is no command ({error}); correct it or unset it."
        ) from error
    if not words:
        raise SettingsError("VIDSIM_PLAYER is no command; correct it or unset it.")
    words += [] if any("{file}" in word for word in words) else ["{file}"]
    return [word.replace("{seconds}", f"{at_s:g}").replace("{file}", path) for word in words]


def _has_display() -> bool:
    if sys.platform != "linux":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
