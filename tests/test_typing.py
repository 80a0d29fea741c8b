"""Programs of somebody else that use `Library`, as mypy sees them where vidsim is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from .helpers.readme import shown_python

CLIENT = '''
"""Ingests a folder and lists what is most like a clip."""

from typing import assert_type

from vidsim import IngestReport, Library, QueryMatch, Step, VidsimError


def tell(step: Step) -> None:
    print(step.stage, step.done, step.total)


def most_alike(folder: str, clip: str) -> list[QueryMatch]:
    try:
        with Library.open(progress=tell) as library:
            assert_type(library.ingest(folder, modalities=["color"]), IngestReport)
            return library.query(clip, weights={"color": 1.0}, fusion="rrf").results
    except VidsimError as error:
        raise SystemExit(str(error)) from error
'''

WRONG = """
from vidsim import Library

Library.open().query("clip.avi", fusion="none")
Library.open().query("clip.avi").results[0].modalities["color"].loudness
"""


@pytest.mark.acceptance
@pytest.mark.skipif(find_spec("mypy") is None, reason="needs mypy, which vidsim[test] brings")
def test_programs_elsewhere_are_checked_strictly(tmp_path: Path) -> None:
    for page in ("README.md", "docs/walkthrough.md"):
        (tmp_path / f"{Path(page).stem.lower()}.py").write_text(shown_python(page))
    (tmp_path / "client.py").write_text(CLIENT.lstrip())
    (tmp_path / "wrong.py").write_text(WRONG.lstrip())
    programs = sorted(path.name for path in tmp_path.glob("*.py"))
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *programs],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "MYPYPATH"}},
        capture_output=True,
        text=True,
    )
    said = done.stdout.splitlines()
    assert [line for line in said if not line.startswith("wrong.py:")] == [
        "Found 2 errors in 1 file (checked 4 source files)"
    ], done.stdout + done.stderr
    assert 'wrong.py:3: error: Argument "fusion"' in said[0]
    assert 'wrong.py:4: error: "ModalityMatch" has no attribute "loudness"' in said[1]
