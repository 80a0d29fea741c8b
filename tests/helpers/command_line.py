"""The command line, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vidsim.ingest.shards.home import Place

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
