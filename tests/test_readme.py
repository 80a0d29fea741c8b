"""What the README shows works."""

from __future__ import annotations

from pathlib import Path

import pytest

from .helpers.readme import run_shown_python


@pytest.mark.acceptance  # it loads all networks
def test_the_python_runs_exactly_as_printed(weights: Path, tmp_path: Path) -> None:
    lines = run_shown_python(tmp_path, tmp_path / "home")
    assert [words[0] for words in lines] == ["1", "2", "3"]
    assert {words[2] for words in lines} == {
        "ucf101/Surfing/1.avi",
        "ucf101/Surfing/2.avi",
        "ucf101/YoYo/1.avi",
    }
