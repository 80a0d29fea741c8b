"""What is decoded of a file of `media_cases`, held against what was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidsim.ingest.decode.events import Opened, SegmentMedia
from vidsim.ingest.decode.lost import Lost
from vidsim.ingest.decode.sampling import sample_times
from vidsim.ingest.decode.segments import DecodeRequest, decode
from vidsim.schemas.modality import SAMPLE_RATE, FrameSampling

from . import media_cases
from .media_cases import Piece, number_of

EIGHT = FrameSampling(8, 96, "stretch")


Decoded = tuple[Opened, list[SegmentMedia], Lost]


def run(path: Path, **wanted: object) -> Decoded:
    fields = {"frames": {"x": EIGHT}, "audio": True, **wanted}
    opened, *media, lost = decode(DecodeRequest(str(path), **fields))  # type: ignore[arg-type]
    assert isinstance(opened, Opened)
    assert isinstance(lost, Lost)
    return opened, [m for m in media if isinstance(m, SegmentMedia)], lost


def moments(
    media: Sequence[SegmentMedia], end_s: float, start_s: float = 0.0
) -> list[tuple[float, int]]:
    """When each picture was wanted, and the number that it carries; the first is at `start_s`."""
    found = []
    for m in media:
        if "x" in m.frames:
            visible = replace(m.segment, start_s=max(start_s, m.segment.start_s))
            times = sample_times(EIGHT, visible)
            found += [(t, number_of(f)) for t, f in zip(times, m.frames["x"]) if t < end_s]
    return found


def heard(media: Sequence[SegmentMedia]) -> list[int | None]:
    """The second that the middle of every whole second of sound comes from."""
    sound = np.concatenate([m.audio for m in media if m.audio is not None])
    quarter = SAMPLE_RATE // 4
    return [
        media_cases.second_of(sound[at + quarter : at + 3 * quarter])
        for at in range(0, len(sound) - SAMPLE_RATE + 1, SAMPLE_RATE)
    ]


def check(path: Path, pieces: Sequence[Piece], frames_off: int = 1) -> Decoded:
    """Holds what is decoded against what was written."""
    opened, media, lost = run(path)
    lead = max(0.0, -pieces[0].sound_after)  # sound before the first picture
    total = lead + sum(piece.seconds for piece in pieces)
    assert opened.duration_s == pytest.approx(total, abs=0.12 * len(pieces))
    starts = lead + np.concatenate([[0.0], np.cumsum([piece.seconds for piece in pieces])])
    begins, number = [], 0
    for start, piece in zip(starts, pieces):
        begins += [start + i / piece.fps for i in range(piece.frames)]
        number += piece.frames
    for time_s, found in moments(media, total, lead):
        wanted = max(0, np.searchsorted(begins, time_s, side="right") - 1)
        late = 0.12 * len(pieces)  # pieces end with the longer of their streams
        fps = max(piece.fps for piece in pieces)
        assert abs(found - wanted) <= frames_off + late * fps, (time_s, found, wanted)
    assert not lost.picture_s
    assert not lost.missing
    return opened, media, lost
