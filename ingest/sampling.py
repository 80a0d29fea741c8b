"""Which moments of a segment are looked at, and which decoded frame serves each of them.

Pure numpy and Python: nothing here knows about files or codecs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ..schemas.modality import FrameSampling
from ..schemas.video import Segment

Item = TypeVar("Item")

PATCH_SAMPLES = 15_600
"""Samples of a patch of sound, 0.975 s at 16 kHz: 96 windows of 25 ms, one every 10 ms, the
last of which ends on the last sample (YAMNet's parameters)."""

HOP_SAMPLES = 15_360
"""Samples from one patch to the next, 0.96 s: their windows follow without a gap."""


def sample_times(sampling: FrameSampling, segment: Segment) -> npt.NDArray[np.float64]:
    """The moments at which a backbone looks at a segment.

    Args:
        sampling: How many frames, and how fast; without ``fps`` they are the midpoints of
            ``count`` equal parts of the segment, with it they lie around its middle.
        segment: The stretch to sample. Where it is shorter than ``count / fps`` seconds
            the frames are spread evenly over it, so none lies outside.

    Returns:
        (count,) float64 seconds from the start of the video, ascending.
    """
    length = segment.end_s - segment.start_s
    steps = np.arange(sampling.count, dtype=np.float64)
    if sampling.fps is None or length < sampling.count / sampling.fps:
        return segment.start_s + (steps + 0.5) / sampling.count * length
    middle = (segment.start_s + segment.end_s) / 2
    return np.asarray(middle + (steps - (sampling.count - 1) / 2) / sampling.fps, np.float64)


class NearestReader(Generic[Item]):
    """Serves ascending moments from a stream of timed items, two of which it holds.

    Attributes:
        last_s: Time of the last item that was read, None before the first.
        exhausted: Whether the stream has ended.
    """

    def __init__(self, items: Iterator[tuple[float, Item]]) -> None:
        """Reads nothing yet.

        Args:
            items: (seconds, item) pairs in presentation order; items that run backwards
                in time are passed over.
        """
        self._items = items
        self._before: tuple[float, Item] | None = None
        self._after: tuple[float, Item] | None = None
        self.last_s: float | None = None
        self.exhausted = False

    def prime(self) -> bool:
        """Reads the first item; False where there is none."""
        if self._before is None and self._after is None:
            self._advance()
        return self._after is not None or self._before is not None

    def at(self, time_s: float) -> Item:
        """The item nearest to `time_s`, the earlier one of two equally near.

        Args:
            time_s: Seconds; not earlier than at the call before.

        Raises:
            ValueError: The stream is empty.
        """
        while not self.exhausted and (self._after is None or self._after[0] < time_s):
            self._advance()
        around = [item for item in (self._before, self._after) if item is not None]
        if not around:
            raise ValueError("no item to choose from")
        return min(around, key=lambda item: abs(item[0] - time_s))[1]

    def _advance(self) -> None:
        for item in self._items:
            if self.last_s is not None and item[0] < self.last_s:
                continue
            if self._after is not None:
                self._before = self._after
            self._after = item
            self.last_s = item[0]
            return
        self.exhausted = True
