"""A file decoded twice: only what wanted pictures are made from, and all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np

from vidsim.ingest.decode import segments
from vidsim.ingest.decode.segments import DecodeRequest, Lost, Opened, SegmentMedia, decode
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
    assert_same(found, _events(replace(request, every_picture=True)), path)
    return found, ways


def assert_same(found: Events, wanted: Events, path: Path) -> None:
    """Asserts that the same came out twice."""
    assert len(found) == len(wanted), path
    for one, other in zip(found, wanted, strict=True):
        if not isinstance(one, SegmentMedia) or not isinstance(other, SegmentMedia):
            assert one == other, path
            continue
        assert one.segment == other.segment, path
        assert one.frames.keys() == other.frames.keys(), path
        for name, pictures in one.frames.items():
            assert np.array_equal(pictures, other.frames[name]), (path, one.segment, name)
        assert np.array_equal(one.audio, other.audio), path


def _events(request: DecodeRequest) -> Events:
    found: Events = []
    try:
        found.extend(decode(request))
    except MediaError as error:
        found.append(str(error))
    return found
