"""Which moments of a segment are looked at, and which decoded frame serves each of them.

Pure numpy and Python: nothing here knows about files or codecs.
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
"""Samples of a patch of sound, 0.975 s at 16 kHz: 96 windows of 25 ms, one every 10 ms, the
last of which ends on the last sample (YAMNet's parameters)."""

_ROUNDING_S = 5e-4
"""A picture that begins this little later is on the screen already: half of Matroska's tick."""

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


def lit_part(
    times: Mapping[str, npt.NDArray[np.float64]],
    flat: Mapping[str, npt.NDArray[np.bool_]],
    visible: Segment,
    samplings: Mapping[str, FrameSampling],
) -> Segment | None:
    """The longest stretch of a segment that shows something, for windows that miss it.

    Args:
        times: Moments that were looked at, by sampling, ascending seconds.
        flat: Which of them show nothing, by sampling.
        visible: The segment they were taken from.
        samplings: Those with ``fps`` are windows around the middle of a segment.

    Returns:
        The stretch between two such moments; None where no window holds a flat frame, or
        nothing longer is shown than within the windows.
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
    """First and last of the longest run of `times` that are all `lit`; (0, 0) without any."""
    runs = np.flatnonzero(np.diff(np.concatenate([[False], lit, [False]])))
    starts, ends = times[runs[::2]], times[runs[1::2] - 1]
    if not len(starts):
        return 0.0, 0.0
    longest = int(np.argmax(ends - starts))
    return float(starts[longest]), float(ends[longest])


class ShownReader(Generic[Item]):
    """Serves ascending moments from a stream of timed items, of which it holds two.

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
        self._shown: tuple[float, Item] | None = None
        self._next: tuple[float, Item] | None = None
        self.last_s: float | None = None
        self.exhausted = False

    def prime(self) -> bool:
        """Reads the first item; False where there is none."""
        if self._next is None and self._shown is None:
            self._next = self._read()
        return self._next is not None or self._shown is not None

    def at(self, time_s: float) -> tuple[float, Item]:
        """When the item on the screen at `time_s` came there, and the item: the last that began.

        Before the first item it is the first.

        Args:
            time_s: Seconds; not earlier than at the call before.

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
