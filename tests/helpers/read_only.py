"""Homes that may only be read, also where the tests run as root, who may write anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from .warm import run

_DROP = "-dac_override,-dac_read_search"
"""The capabilities by which root passes over permissions; ``capabilities(7)``."""


def as_anybody() -> list[str]:
    """What to put before a command so that permissions count for it; skips where nothing does."""
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    words = [setpriv or "setpriv", f"--bounding-set={_DROP}", f"--inh-caps={_DROP}"]
    if setpriv is None or subprocess.run([*words, "true"], capture_output=True).returncode:
        pytest.skip("root may write anywhere, and setpriv (util-linux) cannot change that here")
    return words


def vidsim(home: Path, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs a command line of vidsim for which permissions count."""
    environment = os.environ | {"VIDSIM_HOME": str(home)}
    return run("vidsim.cli:main", words, environment, before=as_anybody())


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Takes the right to write in a folder, and to write what is in it, from its owner too."""
    kept = {path: path.stat().st_mode for path in [folder, *folder.rglob("*")]}
    for path, mode in kept.items():
        path.chmod(mode & 0o555)
    try:
        yield
    finally:
        for path, mode in kept.items():
            path.chmod(mode)
