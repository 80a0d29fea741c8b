"""What the packets of a stream say of their times, and a stream while it is put in order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BACK_S = 0.5
"""A stamp this much earlier than the one before it in its stream is no jitter. Decoding times
ascend by definition; presentation times, which stand in where there are none, go back by a few
frames."""

JUMP_S = 10.0
"""A gap above this is a jump of the clock in formats whose clock may jump (MPEG-TS and -PS, Ogg;
libav marks them): FFmpeg's ``dts_delta_threshold``."""

PAUSE_S = 3600.0
"""A gap above this is a jump in any format: nobody films an hour of nothing. Other formats hold
pauses, which players keep."""

_LONGEST_SOUND_S = 1.0
"""The last packet of sound lasts no longer than this or ten usual ones: codecs put a fraction of a
second into each, yet some packets say 74 hours."""

_ONLY_SOUND_S = 60.0
"""A packet that is the only one may be long: whoever writes PCM chooses."""

_LONGEST_PICTURE_S = 3600.0
"""The last picture stays on the screen for as long as it says, up to this."""

_PERIOD_S = 0.04
"""From one picture to the next where nothing tells."""

SAME_S = 1e-6
"""Times this close are one: what rounding leaves."""

SOON = 64
"""Another stream goes back at most so many packets later where the clock of all starts again."""

OFTEN = 4096
"""Packets after which a caller is told that work goes on."""


@dataclass(frozen=True)
class Stamps:
    """The packets of one stream in the order in which they lie in the file; seconds.

    Attributes:
        place: (n,) int64 number of each packet among those of all streams.
        decoded_s: (n,) decoding times, NaN where there is none.
        shown_s: (n,) presentation times, NaN where there is none.
        duration_s: (n,) how long each says that it lasts, 0 where it does not say.
        counts: (n,) False for packets that are decoded but not presented (edit lists).
        is_picture: Whether it is the picture.
        padding_s: Sound at the start that the decoder drops (priming).
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
    """A stream that is being put in order: times are moved, packets get a stretch."""

    stamps: Stamps
    clock_s: Floats
    shown_s: Floats
    stretch: npt.NDArray[np.int64]
    back_s: float
    usual_s: float
    ahead_s: float

    @property
    def known(self) -> npt.NDArray[np.int64]:
        """Numbers of the packets whose time is known."""
        return np.flatnonzero(~np.isnan(self.clock_s))

    def move(self, chosen: npt.NDArray[np.int64] | slice, by_s: float | Floats) -> None:
        """Moves both times of these packets."""
        self.clock_s[chosen] += by_s
        self.shown_s[chosen] += by_s

    def moments(self, chosen: npt.NDArray[np.int64] | slice) -> Floats:
        """Ascending moments at which these packets are presented, each once."""
        shown = self.shown_s[chosen]
        return np.unique(shown[self.stamps.counts[chosen] & ~np.isnan(shown)])

    def end_s(self, moments: Floats, chosen: npt.NDArray[np.int64] | slice) -> float:
        """When the last of these packets, presented at `moments`, ends: as it says, if it can."""
        last = np.abs(self.shown_s[chosen] - moments[-1]) < SAME_S
        last &= self.stamps.counts[chosen]
        said = float(self.stamps.duration_s[chosen][last].max(initial=0.0))
        usual = self.period_s(moments)
        longest = max(_LONGEST_SOUND_S, 10 * usual) if len(moments) > 1 else _ONLY_SOUND_S
        if self.stamps.is_picture:
            longest = _LONGEST_PICTURE_S
        return float(moments[-1]) + (said if 0 < said <= longest else usual)

    def period_s(self, moments: Floats) -> float:
        """The usual time from one packet to the next."""
        if len(moments) > 1:
            return float(np.median(np.diff(moments)))
        said = self.stamps.duration_s
        said = said[(said > 0) & (said <= _ONLY_SOUND_S)]
        return float(np.median(said)) if len(said) else _PERIOD_S


def is_smooth(steps: Floats, limit_s: float, back_s: float) -> bool:
    """Whether a clock with these steps runs on."""
    return not len(steps) or bool(steps.min() >= -back_s and steps.max() <= limit_s)
