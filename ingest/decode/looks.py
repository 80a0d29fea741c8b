"""Look at the pictures of a segment: which moments, and whether its windows show something."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from ...schemas.embedding import ByteArray
from ...schemas.modality import FrameSampling
from ...schemas.video import Segment
from .flat import flat_frames
from .picture import Picture
from .sampling import ShownReader, lit_part, sample_times
from .timeline import Track

_PROBE = FrameSampling(count=20, size=112, fit="stretch")
"""Sampling added to a segment for which only windows around its middle are requested: as many
frames as `color` takes, with a quarter of the pixels of the networks' inputs."""


def visible_part(picture: Track, end_s: float, segment: Segment) -> Segment | None:
    """Return the part of a segment in which something is on the screen, None if there is none."""
    start, end = max(segment.start_s, picture.start_s), min(segment.end_s, end_s)
    if start > end or (start == end and segment.end_s > segment.start_s):
        return None
    return Segment(segment.index, start, end)


def pictures_of(
    frames: ShownReader[Picture], samplings: Mapping[str, FrameSampling], visible: Segment
) -> tuple[dict[str, ByteArray], Segment | None]:
    """Return the frames of a segment, and a better part of it for windows around its middle.

    Returns:
        (count, size, size, 3) uint8 RGB by name; and the part, None if the windows are fine.
    """
    windowed = windows(samplings)
    looked_at = _with_probe(samplings)
    times = {name: sample_times(sampling, visible) for name, sampling in looked_at.items()}
    pictures = frames_at(frames, looked_at, times)
    wanted = {name: pictures[name] for name in samplings}
    if not windowed:
        return wanted, None
    ends = (pictures[name][[0, -1]] for name in windowed)
    if not any(flat_frames(of).any() for of in ends):
        return wanted, None  # nearly always, and a cheap check
    flat = {name: flat_frames(of) for name, of in pictures.items()}
    return wanted, lit_part(times, flat, visible, looked_at)


def frames_at(
    frames: ShownReader[Picture],
    samplings: Mapping[str, FrameSampling],
    times: Mapping[str, npt.NDArray[np.float64]],
) -> dict[str, ByteArray]:
    """Return the frames on the screen at `times` by name, each (count, size, size, 3) uint8 RGB."""
    pictures = {
        name: np.empty((s.count, s.size, s.size, 3), np.uint8) for name, s in samplings.items()
    }
    moments = sorted((time, name, row) for name in times for row, time in enumerate(times[name]))
    for time, name, row in moments:
        _, picture = frames.at(time)
        pictures[name][row] = picture.fitted(samplings[name])
    return pictures


def moments(
    segments: Iterable[Segment], samplings: Mapping[str, FrameSampling], picture: Track
) -> npt.NDArray[np.float64]:
    """Return all times at which `pictures_of` looks into segments, in no order."""
    visible = (visible_part(picture, picture.end_s, segment) for segment in segments)
    looked_at = _with_probe(samplings).values()
    found = [sample_times(s, part) for part in visible if part is not None for s in looked_at]
    return np.concatenate(found) if found else np.zeros(0)


def windows(samplings: Mapping[str, FrameSampling]) -> dict[str, FrameSampling]:
    """Return those samplings that are windows around a segment's middle."""
    return {name: s for name, s in samplings.items() if s.fps is not None}


def _with_probe(samplings: Mapping[str, FrameSampling]) -> dict[str, FrameSampling]:
    alone = samplings and len(windows(samplings)) == len(samplings)
    return {**samplings, "": _PROBE} if alone else {**samplings}
