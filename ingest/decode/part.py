"""Restrict a file's scan to a part of it, and find where decoding may begin for that.

Pure numpy and Python, independent of files and codecs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...schemas.answer import clock
from ...schemas.errors import MediaError
from ...schemas.part import Part
from .scan import Scan
from .timeline import Track

_BEFORE_S = 1.0
"""Seconds of sound that are decoded before a part: codecs need a packet or two to settle."""


def within(found: Scan, part: Part) -> Scan:
    """Restrict what is presented to a part; times stay those of the whole file.

    Raises:
        MediaError: It begins after the end.
    """
    if part.at_all_times:
        return found
    if found.duration_s <= part.start_s:
        raise MediaError(
            f"it lasts {clock(found.duration_s, tenths=True)}, "
            f"and the part begins at {clock(part.start_s, tenths=True)}"
        )
    end_s = np.inf if part.end_s is None else part.end_s
    picture, sound = (
        track and _track_within(track, part.start_s, end_s)
        for track in (found.picture, found.sound)
    )
    return replace(found, picture=picture, sound=sound)


def _track_within(track: Track, start_s: float, end_s: float) -> Track:
    """Restrict `shown_s` and `end_s`; what is on the screen at the start begins with it."""
    shown = track.shown_s[track.shown_s < end_s]
    first = max(int(np.searchsorted(shown, start_s, side="right")) - 1, 0)
    shown = shown[first:] if track.end_s > start_s else shown[:0]
    return replace(track, shown_s=np.maximum(shown, start_s), end_s=min(track.end_s, end_s))


def first_picture(found: Scan, start_s: float) -> int:
    """Return the number of the packet to begin with, so that the frame at `start_s` decodes.

    That is the last key one before; the first packet where frames are timed by counting from it.
    """
    if not start_s or found.picture is None or found.by_dts:
        return 0
    times = found.picture.packets_s
    before = np.flatnonzero(found.keys & (times <= start_s))
    return int(before[np.argmax(times[before])]) if len(before) else 0


def first_sound(track: Track, start_s: float) -> int:
    """Return the number of the packet to begin with for the sound from `start_s` on."""
    before = np.flatnonzero(track.packets_s <= start_s - _BEFORE_S)
    return int(before[-1]) if len(before) else 0
