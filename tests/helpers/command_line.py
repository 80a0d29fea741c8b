"""The command line, in a process of its own or in this one."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vidsim.cli import main
from vidsim.ingest.shards.home import Place

from .clips import write_shades
from .warm import run


def environment(home: Path, **changes: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k == "VIDSIM_CACHE" or k[:7] != "VIDSIM_"}
    return kept | {"VIDSIM_HOME": str(home), "COLUMNS": "80", "PYTHONUNBUFFERED": ""} | changes


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from vidsim.cli import main; main()", *words]


def environment_of(place: Place) -> dict[str, str]:
    """What has a command use `place`."""
    chosen = {"VIDSIM_URI": place.uri or "", "VIDSIM_INDEX": place.index}
    return os.environ | {"VIDSIM_HOME": str(place.home)} | chosen


def vidsim(home: Path, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Runs the command line in a process of its own, away from any terminal."""
    return run("vidsim.cli:main", words, environment(home, **changes))


def vidsim_that_logs() -> None:
    """What a process runs whose libraries all show whatever they log."""
    logging.basicConfig(level=1)
    main()


Here = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def vidsim_here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Here:
    """Runs the command line as `vidsim` does, in this process, which has loaded most of it."""

    def run_here(home: Path, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        for name, value in environment(home, **changes).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["vidsim", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        code = int(ended.value.code or 0)
        return subprocess.CompletedProcess(words, code, *capfd.readouterr())

    return run_here


def home_of_shades(folder: Path) -> tuple[Path, Path]:
    """Makes a folder of three clips, and a home that holds their colours; gives both."""
    write_shades(folder / "clips", {"snow/1.mkv": 240, "snow/2.mkv": 220, "a.mkv": 30})
    done = vidsim(
        folder / "home", "ingest", str(folder / "clips"), "-m", "color", "--device", "cpu"
    )
    assert done.returncode == 0, done.stderr
    return folder / "clips", folder / "home"
