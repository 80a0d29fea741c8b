"""The sound of a stretch of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidsim.ingest.decode.sounds import sound_between

from ...helpers.clips import MakeClip


def test_the_sound_of_a_stretch_over_several_segments(make_clip: MakeClip) -> None:
    clip = str(make_clip("a.wav", tone=(440, 25, 16000, 1)))
    whole = sound_between(clip, 0, 25)
    part = sound_between(clip, 8.5, 21.25)
    assert whole is not None
    assert part is not None
    assert len(part) == round(12.75 * 16000)
    assert np.array_equal(part, whole[round(8.5 * 16000) : round(21.25 * 16000)])
    assert np.sqrt((part**2).mean()) == pytest.approx(0.5 / np.sqrt(2), abs=0.01)


def test_none_where_there_is_no_sound(tmp_path: Path, make_clip: MakeClip) -> None:
    silent = make_clip("silent.mkv", times=[n / 25 for n in range(25)])
    assert sound_between(str(silent), 0, 1) is None
    assert sound_between(str(tmp_path / "gone.wav"), 0, 1) is None
    assert sound_between(str(make_clip("a.wav", tone=(440, 1, 16000, 1))), 5, 6) is None
