"""A file decoded twice, and in parts: only what wanted pictures are made from, and all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from vidsim.ingest.decode import segments
from vidsim.ingest.decode.events import Opened, SegmentMedia
from vidsim.ingest.decode.lost import Lost, together
from vidsim.ingest.decode.segments import DecodeRequest, decode
from vidsim.schemas.errors import MediaError
from vidsim.schemas.modality import FrameSampling

USUAL = {
    "color": FrameSampling(20, 64, "stretch"),
    "frame": FrameSampling(8, 64, "stretch"),
    "motion": FrameSampling(32, 64, "stretch", fps=25.0),
}
"""How often backbones look at a segment."""

RARE = {"x": FrameSampling(1, 64, "stretch")}

Events = list[Opened | SegmentMedia | Lost | str]


def decode_both_ways(
    path: Path,
    frames: Mapping[str, FrameSampling] = USUAL,
    segment_seconds: float = 10.0,
    audio: bool = True,
) -> tuple[Events, list[bool]]:
    """Decodes a file both ways and asserts that the same comes out, bit for bit.

    Returns:
        What came out; and for each time that pictures were decoded whether it was only what
        wanted ones are made from: not, where that was tried in vain.
    """
    request = DecodeRequest(str(path), frames, audio, segment_seconds)
    ways: list[bool] = []

    def noting(name: str, is_selective: bool):
        function = getattr(segments, name)

        def call(*args, **named):
            ways.append(is_selective)
            return function(*args, **named)

        return patch.object(segments, name, call)

    with noting("selected_frames", True), noting("video_frames", False):
        found = _events(request)
    whole = _events(replace(request, every_picture=True))
    assert_same(found, whole, path)
    opened = found[0]
    if isinstance(opened, Opened) and any(ways) and opened.segments > 1:
        assert_same(_in_two_parts(request, opened.segments // 2), whole, path)
    return found, ways


def _in_two_parts(request: DecodeRequest, first: int) -> Events:
    """Decodes a file as two decoders do, and puts together what they give."""
    opened, *before = _events(request, first)
    same, *behind = _events(replace(request, first_segment=first))
    assert isinstance(opened, Opened)
    assert opened == same
    both = [*before, *behind]
    lost = together([event for event in both if isinstance(event, Lost)])
    return [opened, *(event for event in both if not isinstance(event, Lost)), lost]


def _place(event: Opened | SegmentMedia | Lost | str) -> float:
    """Segments at which a decoder looks again come later, and sooner in a part."""
    if isinstance(event, SegmentMedia):
        return event.segment.index
    return -1 if isinstance(event, Opened) else float("inf")


def _plain(event: Opened | SegmentMedia | Lost | str) -> Opened | SegmentMedia | Lost | str:
    """Whether a file may be divided is known only where its pictures are read for that."""
    return replace(event, divisible=False) if isinstance(event, Opened) else event


def assert_same(found: Events, wanted: Events, path: Path) -> None:
    """Asserts that the same came out twice."""
    assert len(found) == len(wanted), path
    found, wanted = sorted(found, key=_place), sorted(wanted, key=_place)
    for one, other in zip(found, wanted, strict=True):
        if not isinstance(one, SegmentMedia) or not isinstance(other, SegmentMedia):
            assert _plain(one) == _plain(other), path
            continue
        assert one.segment == other.segment, path
        assert one.frames.keys() == other.frames.keys(), path
        for name, pictures in one.frames.items():
            assert np.array_equal(pictures, other.frames[name]), (path, one.segment, name)
        assert np.array_equal(one.audio, other.audio), path


def _events(request: DecodeRequest, end: int | None = None) -> Events:
    found: Events = []
    try:
        found.extend(decode(request, until=lambda: end))
    except MediaError as error:
        found.append(str(error))
    return found
