"""Build one timeline for a file from its packets' timestamps.

Containers promise continuous timestamps; files break the promise. Recordings are concatenated
without renumbering, a transmitter restarts, a 33-bit counter wraps, one timestamp of thousands is
wrong. `straighten` moves each packet's timestamps so that video and audio follow one clock from the
first packet to the last. docs/decoding.md says what is believed, and why.

Pure numpy and Python, independent of files and codecs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .mending import mended
from .stamps import JUMP_S, PAUSE_S, SAME_S, Floats, Stamps
from .stretches import append_stretches, find_stretches

_JITTER_S = 1e-3
"""A decoded frame this close to a packet's presentation time belongs to that packet."""

_PACKETS_UNSEEN = 2
"""Consecutive packets that may lack a frame of their own without being a loss."""


@dataclass(frozen=True)
class Track:
    """One stream on the clock of the file, on which the earliest stream starts at 0.

    Attributes:
        packets_s: (n,) presentation time of each packet in file order, NaN if unknown.
        clock_s: (n,) decoding time of each packet, or its presentation time if it has none.
        shown_s: (m,) ascending times at which something new is presented.
        end_s: When its last packet ends.
        period_s: The usual time from one packet to the next.
    """

    packets_s: Floats
    clock_s: Floats
    shown_s: Floats
    end_s: float
    period_s: float

    @property
    def start_s(self) -> float:
        """Return when it starts; 0 if it is empty."""
        return float(self.shown_s[0]) if len(self.shown_s) else 0.0

    def lost_s(self, decoded_s: Floats, until_s: float) -> list[tuple[float, float]]:
        """Return the intervals before `until_s` of which nothing was decoded.

        Args:
            decoded_s: (k,) ascending times of the decoded frames.
            until_s: Where decoding stopped, or the end.

        Returns:
            (start, end) pairs in seconds. One or two packets without a frame of their own are
            no loss: fields come in pairs, and some codecs send frames that are never shown.
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
    """Put streams onto one clock.

    Args:
        streams: The streams to decode.
        clock_jumps: Whether the container's format allows discontinuities.
        on_progress: Called now and then: a file of hours takes seconds.

    Returns:
        A track per stream; one without timestamps has an empty `shown_s` and ends at 0.
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
    """Return the track of `count` frames without timestamps, at `rate` frames per second."""
    times = np.arange(count, dtype=np.float64) / rate
    return Track(times, times, times, count / rate, 1 / rate)
