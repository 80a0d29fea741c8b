"""Timestamps of a stream's packets, as in the file and while they are corrected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BACK_S = 0.5
"""A timestamp earlier than the previous one of its stream by more than this is not jitter. Decoding
times ascend by definition; presentation times, which stand in for missing ones, go back by a few
frames."""

JUMP_S = 10.0
"""A longer gap is a discontinuity in formats that allow them (MPEG-TS and -PS, Ogg; libav marks
them): FFmpeg's ``dts_delta_threshold``."""

PAUSE_S = 3600.0
"""A longer gap is a discontinuity in any format: nobody films an hour of nothing. Shorter ones in
other formats are pauses, which players keep."""

_LONGEST_SOUND_S = 1.0
"""The last audio packet lasts at most this or ten usual ones, whichever is longer: codecs put a
fraction of a second into each, yet some packets state 74 hours."""

_ONLY_SOUND_S = 60.0
"""A single audio packet may be this long: with PCM the writer chooses its length."""

_LONGEST_PICTURE_S = 3600.0
"""The last frame stays on the screen for its stated duration, up to this."""

_PERIOD_S = 0.04
"""Time from one frame to the next if nothing states it."""

SAME_S = 1e-6
"""Times this close are equal up to rounding."""

SOON = 64
"""Packets within which another stream goes back too if the clock of all streams restarts."""

OFTEN = 4096
"""Packets between two calls of `on_progress`."""


@dataclass(frozen=True)
class Stamps:
    """The packets of one stream in file order, in seconds.

    Attributes:
        place: (n,) int64 number of each packet among those of all streams.
        decoded_s: (n,) decoding timestamps, NaN if missing.
        shown_s: (n,) presentation timestamps, NaN if missing.
        duration_s: (n,) stated durations, 0 if missing.
        counts: (n,) False for packets that are decoded but not presented (edit lists).
        is_picture: Whether it is a video stream.
        padding_s: Audio at the start that the decoder drops (priming).
    """

    place: npt.NDArray[np.int64]
    decoded_s: Floats
    shown_s: Floats
    duration_s: Floats
    counts: npt.NDArray[np.bool_]
    is_picture: bool
    padding_s: float = 0.0


@dataclass
class Line:
    """A stream during correction: times are moved, and packets are assigned to stretches."""

    stamps: Stamps
    clock_s: Floats
    shown_s: Floats
    stretch: npt.NDArray[np.int64]
    back_s: float
    usual_s: float
    ahead_s: float

    @property
    def known(self) -> npt.NDArray[np.int64]:
        """Return the numbers of the packets whose time is known."""
        return np.flatnonzero(~np.isnan(self.clock_s))

    def move(self, chosen: npt.NDArray[np.int64] | slice, by_s: float | Floats) -> None:
        """Move both times of these packets."""
        self.clock_s[chosen] += by_s
        self.shown_s[chosen] += by_s

    def moments(self, chosen: npt.NDArray[np.int64] | slice) -> Floats:
        """Return the distinct times at which these packets are presented, ascending."""
        shown = self.shown_s[chosen]
        return np.unique(shown[self.stamps.counts[chosen] & ~np.isnan(shown)])

    def end_s(self, moments: Floats, chosen: npt.NDArray[np.int64] | slice) -> float:
        """Return when the last of these packets, at `moments`, ends: as stated, if plausible."""
        last = np.abs(self.shown_s[chosen] - moments[-1]) < SAME_S
        last &= self.stamps.counts[chosen]
        said = float(self.stamps.duration_s[chosen][last].max(initial=0.0))
        usual = self.period_s(moments)
        longest = max(_LONGEST_SOUND_S, 10 * usual) if len(moments) > 1 else _ONLY_SOUND_S
        if self.stamps.is_picture:
            longest = _LONGEST_PICTURE_S
        return float(moments[-1]) + (said if 0 < said <= longest else usual)

    def period_s(self, moments: Floats) -> float:
        """Return the usual time from one packet to the next."""
        if len(moments) > 1:
            return float(np.median(np.diff(moments)))
        said = self.stamps.duration_s
        said = said[(said > 0) & (said <= _ONLY_SOUND_S)]
        return float(np.median(said)) if len(said) else _PERIOD_S


def is_smooth(steps: Floats, limit_s: float, back_s: float) -> bool:
    """Return whether a clock with these steps is continuous."""
    return not len(steps) or bool(steps.min() >= -back_s and steps.max() <= limit_s)
