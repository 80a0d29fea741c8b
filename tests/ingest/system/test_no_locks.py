"""A home on a file system without locks: nothing is written to it unlocked, and that is said."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ...helpers import commands
from ...helpers.command_line import command, environment, home_of_shades

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(shutil.which("cc") is None, reason="locks are refused by a library"),
]


@pytest.fixture(scope="module")
def no_locks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is preloaded: HDF5 locks files in C."""
    library = tmp_path_factory.mktemp("locks") / "no_locks.so"
    source = Path(commands.__file__).with_name("no_locks.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library


@pytest.fixture(scope="module")
def shades(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return home_of_shades(tmp_path_factory.mktemp("shades"))


def run(
    home: Path, no_locks: Path, *words: str, **changes: str
) -> subprocess.CompletedProcess[str]:
    variables = environment(home, LD_PRELOAD=str(no_locks), **changes)
    return subprocess.run(command(*words), env=variables, capture_output=True, text=True)


@pytest.mark.parametrize("words", [["ingest", "CLIPS", "-m", "color"], ["reindex"], ["compact"]])
def test_nothing_is_written_without_a_lock(
    shades: tuple[Path, Path], no_locks: Path, words: list[str]
) -> None:
    clips, home = shades
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}
    done = run(home, no_locks, *(str(clips) if word == "CLIPS" else word for word in words))
    assert done.returncode == 1
    assert done.stderr == (
        f"Error: The home {home} cannot be locked for writing, as its file system has no locks; "
        "mount it with locks, or set VIDSIM_HOME to a folder on a disk of this machine.\n"
    )
    after = {path: path.stat().st_mtime_ns for path in home.rglob("*") if path.is_file()}
    assert after == before


def test_what_is_there_is_read_once_a_person_says_that_nobody_writes(
    shades: tuple[Path, Path], no_locks: Path
) -> None:
    clips, home = shades
    words = ["query", str(clips / "a.mkv"), "--no-server", "--json"]
    refused = run(home, no_locks, *words)
    assert refused.returncode == 1
    assert "has no locks; set HDF5_USE_FILE_LOCKING=FALSE while no other" in refused.stderr
    found = run(home, no_locks, *words, HDF5_USE_FILE_LOCKING="FALSE")
    assert found.returncode == 0, found.stderr
    with_locks = subprocess.run(
        command(*words), env=os.environ | environment(home), capture_output=True, text=True
    )
    assert found.stdout == with_locks.stdout
