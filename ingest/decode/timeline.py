"""One clock for a file: its packets' stamps, put in order stretch by stretch.

Containers promise stamps that run on; files break it. Recordings are put together without
renumbering, a transmitter starts again, a 33-bit counter wraps, one stamp of thousands is wrong.
`straighten` says by how much each packet's stamp must be moved so that picture and sound run on
one clock from the first packet to the last. docs/decoding.md says what is believed, and why.

Pure numpy and Python: nothing here knows about files or codecs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .mending import mended
from .stamps import JUMP_S, PAUSE_S, SAME_S, Floats, Stamps
from .stretches import append_stretches, find_stretches

_JITTER_S = 1e-3
"""A picture that is decoded this close to where its packet is presented is that packet's."""

_PACKETS_UNSEEN = 2
"""So many packets in a row may have no picture of their own."""


@dataclass(frozen=True)
class Track:
    """One stream on the clock of the file, on which its earliest stream starts at 0.

    Attributes:
        packets_s: (n,) when each packet is presented, in the file's order; NaN where nothing
            tells.
        clock_s: (n,) its decoding time, or where it has none its presentation time.
        shown_s: (m,) ascending moments at which something new is presented.
        end_s: When the last of it ends.
        period_s: The usual time from one packet to the next.
    """

    packets_s: Floats
    clock_s: Floats
    shown_s: Floats
    end_s: float
    period_s: float

    @property
    def start_s(self) -> float:
        """When it starts."""
        return float(self.shown_s[0]) if len(self.shown_s) else 0.0

    def lost_s(self, decoded_s: Floats, until_s: float) -> list[tuple[float, float]]:
        """The stretches before `until_s` of which nothing was decoded.

        Args:
            decoded_s: (k,) ascending moments that were decoded.
            until_s: Where decoding was given up, or the end.

        Returns:
            (start, end) pairs in seconds. One or two packets without a picture of their own are
            no loss: fields come in pairs, and some codecs send what is never shown.
        """
        wanted = self.shown_s[self.shown_s < until_s - SAME_S]
        if not len(wanted):
            return []
        after = np.searchsorted(decoded_s, wanted - _JITTER_S)
        padded = np.append(decoded_s, np.inf)
        missing = padded[after] > wanted + _JITTER_S
        edges = np.flatnonzero(np.diff(np.concatenate([[False], missing, [False]])))
        ends = np.append(wanted, min(until_s, self.end_s))
        return [
            (float(wanted[a]), float(ends[b]))
            for a, b in zip(edges[::2], edges[1::2], strict=True)
            if b - a > _PACKETS_UNSEEN
        ]


def straighten(
    streams: Sequence[Stamps],
    clock_jumps: bool,
    on_progress: Callable[[], None] = lambda: None,
) -> list[Track]:
    """Puts streams onto one clock.

    Args:
        streams: All that may be decoded.
        clock_jumps: Whether the container's format lets its clock jump.
        on_progress: Called now and then: a file of hours takes seconds.

    Returns:
        A track for each; one without any stamp has no moments and ends at 0.
    """
    limit_s = JUMP_S if clock_jumps else PAUSE_S
    lines = mended(streams, limit_s, on_progress)
    find_stretches(lines, limit_s, on_progress)
    append_stretches(lines)
    everything = slice(None)
    moments = [line.moments(everything) for line in lines]
    both = [(m, line) for m, line in zip(moments, lines, strict=True) if len(m)]
    origin = min((float(m[0]) + line.stamps.padding_s for m, line in both), default=0.0)
    return [
        Track(
            line.shown_s - origin,
            line.clock_s - origin,
            m - origin,
            line.end_s(m, everything) - origin if len(m) else 0.0,
            line.period_s(m),
        )
        for line, m in zip(lines, moments, strict=True)
    ]


def count_frames(count: int, rate: float) -> Track:
    """The track of a stream of `count` frames without any stamp, `rate` of which make a second."""
    times = np.arange(count, dtype=np.float64) / rate
    return Track(times, times, times, count / rate, 1 / rate)
