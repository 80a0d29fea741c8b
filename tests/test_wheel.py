"""A wheel holds all of vidsim, and works where there is no clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .helpers.clips import MakeClip
from .helpers.repository import ROOT

NO_PART = {"tests", "docs"}
"""Folders of the repository that no wheel holds."""

BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"


def part_of_vidsim() -> set[str]:
    """Files of the repository that a wheel should hold, by their path in it."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py", "*.yaml", "py.typed"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return {f for f in listed if Path(f).parts[0] not in NO_PART and (ROOT / f).exists()}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a wheel of this tree holds."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    for name in part_of_vidsim() | {"pyproject.toml", "README.md", "LICENSE"}:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    built = subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=tree, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("vidsim-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def run(unpacked: Path, code: str, *words: str, **environment: str) -> str:
    """Runs Python where the wheel's vidsim is found before any other."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *words],
        cwd=unpacked.parent,
        env={**os.environ, **environment, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_wheel_holds_every_module_and_all_that_they_read(unpacked: Path) -> None:
    held = {p.relative_to(unpacked / "vidsim").as_posix() for p in unpacked.rglob("vidsim/**/*")}
    assert part_of_vidsim() - held == set()
    assert not {h for h in held if Path(h).parts[0] in NO_PART}


def test_it_shows_its_help(unpacked: Path) -> None:
    assert "ingest" in run(unpacked, "from vidsim.cli import main; main()", "--help")


@pytest.mark.acceptance
def test_it_ingests_a_clip(unpacked: Path, make_clip: MakeClip, tmp_path: Path) -> None:
    clip = make_clip(times=[i / 25 for i in range(25)])
    code = "from vidsim.cli import main; import vidsim; print(vidsim.__file__); main()"
    words = ["ingest", str(clip), "--library", "lib", "-m", "color", "--device", "cpu", "--json"]
    printed = run(unpacked, code, *words, VIDSIM_HOME=str(tmp_path / "home"))
    assert printed.startswith(f"{unpacked / 'vidsim' / '__init__.py'}\n")
    assert '"embedded": 1' in printed
