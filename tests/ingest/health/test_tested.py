"""What the doctor compares with is what pyproject.toml and the lock say."""

from __future__ import annotations

import runpy

from ...helpers.repository import ROOT


def test_it_is_what_pyproject_and_the_lock_say() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "make_tested.py"))
    said = script["text"]()
    assert (ROOT / "ingest" / "health" / "tested.py").read_text() == said, "run 'make lock'"
