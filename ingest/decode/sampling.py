"""Choose the sample times of a segment, and the decoded frame on the screen at each.

Pure numpy and Python, independent of files and codecs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ...schemas.modality import FrameSampling
from ...schemas.video import Segment

Item = TypeVar("Item")

PATCH_SAMPLES = 15_600
"""Samples per audio patch, 0.975 s at 16 kHz: 96 windows of 25 ms, one every 10 ms, the last of
which ends on the last sample (YAMNet's parameters)."""

_ROUNDING_S = 5e-4
"""A frame that begins this little later counts as on the screen: half of Matroska's tick."""

HOP_SAMPLES = 15_360
"""Samples from one patch to the next, 0.96 s, so that their windows follow without a gap."""


def sample_times(sampling: FrameSampling, segment: Segment) -> npt.NDArray[np.float64]:
    """Return the times at which a backbone samples a segment.

    Args:
        sampling: Number and rate of the frames: without ``fps``, the midpoints of ``count``
            equal parts of the segment; with it, a window around the segment's middle.
        segment: The segment to sample. If it is shorter than ``count / fps`` seconds, the
            frames are spread evenly over it, so none lies outside.

    Returns:
        (count,) float64 seconds from the start of the video, ascending.
    """
    length = segment.end_s - segment.start_s
    steps = np.arange(sampling.count, dtype=np.float64)
    if sampling.fps is None or length < sampling.count / sampling.fps:
        return segment.start_s + (steps + 0.5) / sampling.count * length
    middle = (segment.start_s + segment.end_s) / 2
    return np.asarray(middle + (steps - (sampling.count - 1) / 2) / sampling.fps, np.float64)


def lit_part(
    times: Mapping[str, npt.NDArray[np.float64]],
    flat: Mapping[str, npt.NDArray[np.bool_]],
    visible: Segment,
    samplings: Mapping[str, FrameSampling],
) -> Segment | None:
    """Return the longest part of a segment that shows something, if its windows miss it.

    Args:
        times: Sample times by sampling, ascending seconds.
        flat: Whether the frame at each time is flat, by sampling.
        visible: The sampled segment.
        samplings: The samplings; those with ``fps`` are windows around the segment's middle.

    Returns:
        The part between two sample times; None if no window has a flat frame, or if no such
        part is longer than those within the windows.
    """
    windows = [name for name, sampling in samplings.items() if sampling.fps is not None]
    if not any(flat[name].any() for name in windows):
        return None
    moment = np.concatenate([*times.values()])
    order = np.argsort(moment, kind="stable")
    start, end = _longest(moment[order], ~np.concatenate([*flat.values()])[order])
    within = (_longest(times[name], ~flat[name]) for name in windows)
    if end - start <= max(last - first for first, last in within):
        return None
    return Segment(visible.index, start, end)


def _longest(times: npt.NDArray[np.float64], lit: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Return the first and last of the longest run of `times` that is all `lit`; (0, 0) if none."""
    runs = np.flatnonzero(np.diff(np.concatenate([[False], lit, [False]])))
    starts, ends = times[runs[::2]], times[runs[1::2] - 1]
    if not len(starts):
        return 0.0, 0.0
    longest = int(np.argmax(ends - starts))
    return float(starts[longest]), float(ends[longest])


def shown_at(
    begins_s: npt.NDArray[np.float64], times_s: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Return which items a `ShownReader` gives at some times, and always the first.

    Args:
        begins_s: (n,) when the items begin, ascending.
        times_s: When they are looked at, in any order.

    Returns:
        Ascending numbers of items.
    """
    found = np.searchsorted(begins_s, np.append(times_s, -np.inf) + _ROUNDING_S, side="right") - 1
    return np.unique(np.maximum(found, 0))


class ShownReader(Generic[Item]):
    """Looks up items by ascending time in a timed stream, holding two of them.

    Attributes:
        last_s: Time of the last item read, None before the first.
        exhausted: Whether the stream has ended.
    """

    def __init__(self, items: Iterator[tuple[float, Item]]) -> None:
        """Wrap a stream, without reading from it yet.

        Args:
            items: (seconds, item) pairs in presentation order; items that go back in time are
                skipped.
        """
        self._items = items
        self._shown: tuple[float, Item] | None = None
        self._next: tuple[float, Item] | None = None
        self.last_s: float | None = None
        self.exhausted = False

    def prime(self) -> bool:
        """Read the first item; return False if there is none."""
        if self._next is None and self._shown is None:
            self._next = self._read()
        return self._next is not None or self._shown is not None

    def at(self, time_s: float) -> tuple[float, Item]:
        """Return (start, item) of the item on the screen at `time_s`, the last that began.

        Before the first item, return the first.

        Args:
            time_s: Seconds, not less than in the previous call.

        Raises:
            ValueError: The stream is empty.
        """
        if not self.prime():
            raise ValueError("no item to choose from")
        while self._next is not None and (
            self._shown is None or self._next[0] <= time_s + _ROUNDING_S
        ):
            self._shown, self._next = self._next, self._read()
        assert self._shown is not None
        return self._shown

    def _read(self) -> tuple[float, Item] | None:
        for item in self._items:
            if self.last_s is None or item[0] >= self.last_s:
                self.last_s = item[0]
                return item
        self.exhausted = True
        return None
