"""What a decoder that was taken over may tell: numbers that are none are no answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vidsim.ingest.decode import pool
from vidsim.ingest.decode.events import Failed, Finished, Opened, SegmentMedia
from vidsim.ingest.decode.pool import decode_all
from vidsim.ingest.decode.segments import DecodeRequest

from ...helpers.pretended_child import PretendedChild, message

OPENED = {
    "duration_s": 2.0,
    "segments": 1,
    "has_video": False,
    "has_audio": True,
    "divisible": False,
    "megapixels": 0.0,
}
SEGMENT = {"index": 0, "start_s": 0.0, "end_s": 2.0}
LOST = {"picture_s": [], "sound_s": 0, "breaks_off": False}
DONE = {"segments": 1, "cpu_s": 0.1, "lost": LOST}
SOUND = np.zeros(16, np.float32)


def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: bytes) -> list[Any]:
    monkeypatch.setattr(pool, "Child", PretendedChild)
    monkeypatch.setattr(PretendedChild, "said", said)
    request = DecodeRequest(str(tmp_path / "a.wav"), {}, audio=True)
    return [event for _, event in decode_all([(0, request)], 1)]


def said(
    opened: Any = None, segment: Any = None, sound: np.ndarray = SOUND, done: Any = None
) -> bytes:
    return (
        message("opened", OPENED | (opened or {}))
        + message("segment", SEGMENT | (segment or {}), audio=sound)
        + message("done", DONE | (done or {}))
    )


def test_a_right_answer_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    events = told(monkeypatch, tmp_path, said())
    assert [type(event) for event in events] == [Opened, SegmentMedia, Finished]


@pytest.mark.parametrize(
    "answer",
    [
        said(opened={"duration_s": float("nan")}),
        said(opened={"duration_s": float("inf")}),
        said(opened={"duration_s": 10**400}),
        said(opened={"megapixels": 10**400}),
        said(opened={"segments": 10**400}),
        said(opened={"segments": -1}),
        message("segment", SEGMENT, audio=SOUND) + message("opened", OPENED),
        message("done", DONE),
        said(segment={"start_s": float("nan")}),
        said(segment={"start_s": 3.0}),
        said(segment={"end_s": 10**400}),
        said(segment={"index": -1}),
        said(segment={"index": 10**6}),
        said(segment={"index": float("inf")}),
        said(sound=np.array([0, np.nan], np.float32)),
        said(done={"cpu_s": float("nan")}),
        said(done={"lost": LOST | {"sound_s": float("inf")}}),
        said(done={"lost": LOST | {"picture_s": [[0, 10**400]]}}),
    ],
)
def test_numbers_that_are_none_end_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: bytes
) -> None:
    last = told(monkeypatch, tmp_path, answer)[-1]
    assert last == Failed("the decoder answered with something unreadable")
