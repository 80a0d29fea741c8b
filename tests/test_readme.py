"""What the README shows works."""

from __future__ import annotations

from pathlib import Path

import pytest

from .helpers.readme import run_shown_python


@pytest.mark.acceptance  # it loads all networks
def test_the_python_runs_exactly_as_printed(weights: Path, tmp_path: Path) -> None:
    ranks, video_ids = zip(*run_shown_python(tmp_path, tmp_path / "home"), strict=True)
    assert ranks == (1, 2, 3)
    assert set(video_ids) == {
        "ucf101/Surfing/1.avi",
        "ucf101/Surfing/2.avi",
        "ucf101/YoYo/1.avi",
    }
