"""Stamps that are wrong, put where their neighbours and the other streams say."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .stamps import BACK_S, OFTEN, Floats, Line, Stamps, is_smooth

_AHEAD = 8
"""Packets looked ahead to tell a few wrong stamps from a clock that has jumped."""

_REORDERED = 17
"""A picture is decoded at most so many pictures before it is shown: H.264 and HEVC keep 16."""


def mended(stamps: Stamps, limit_s: float, on_progress: Callable[[], None]) -> Line:
    """A stream whose single wrong stamps stand where their neighbours say."""
    decoded, shown = _first_filled(stamps.decoded_s), stamps.shown_s.copy()
    clock = np.where(np.isnan(decoded), shown, decoded)
    known = np.flatnonzero(~np.isnan(clock))
    steps = np.diff(clock[known])
    usual = float(np.median(np.abs(steps))) if len(steps) else 0.0
    reordered_s = max(BACK_S, _REORDERED * usual)
    # Both stamps of a packet are one clock's: a presentation time far from its decoding time is
    # the one that is wrong, since decoding times are held against each other below.
    ahead = shown - decoded
    usually_ahead = float(np.nanmedian(ahead)) if not np.isnan(ahead).all() else np.nan
    if not np.isnan(usually_ahead):
        far = np.abs(ahead - usually_ahead) > reordered_s
        for count, i in enumerate(np.flatnonzero(far)):
            if count % OFTEN == 0:
                on_progress()
            around = decoded[max(i - 1, 0) : i + 1 + _REORDERED]
            far[i] = not _is_reached(float(shown[i]), float(decoded[i]), around, limit_s)
        near = ahead[~far & ~np.isnan(ahead)]
        shown[far] = decoded[far] + (float(np.median(near)) if len(near) else 0.0)
    line = Line(
        stamps,
        clock,
        np.where(np.isnan(shown), clock, shown),
        np.zeros(len(clock), np.int64),
        # Presentation times, where they stand in, go back by as many as are reordered.
        reordered_s if np.isnan(decoded).any() else BACK_S,
    )
    if not is_smooth(steps, limit_s, line.back_s):
        last: int | None = None
        for at, i in enumerate(known):
            if at % OFTEN == 0:
                on_progress()
            after = clock[known[at + 1 : at + 1 + _AHEAD]]
            before = None if last is None else float(clock[last])
            if _is_wrong(float(clock[i]), before, after, limit_s, line.back_s):
                right = float(after[0]) - usual if before is None else before + usual
                if abs(shown[i] - right - usually_ahead) < abs(shown[i] - clock[i] - usually_ahead):
                    clock[i] = right  # its presentation time is right: libav has guessed the other
                else:
                    line.move(slice(i, i + 1), right - float(clock[i]))
            last = int(i)
    return line


def _first_filled(decoded_s: Floats) -> Floats:
    """Decoding times with those before the first known one, which libav leaves out, filled in."""
    filled = decoded_s.copy()
    known = np.flatnonzero(~np.isnan(filled))
    if len(known) > 1 and known[0] > 0:
        step = float(np.median(np.diff(filled[known])))
        filled[: known[0]] = filled[known[0]] - step * np.arange(known[0], 0, -1)
    return filled


def _is_reached(shown_s: float, decoded_s: float, around_s: Floats, limit_s: float) -> bool:
    """Whether decoding soon gets to where a packet is presented, far ahead of its own decoding.

    So it is at a pause: the picture that ends it may be decoded before it, since those that are
    shown before are made from it.

    Args:
        shown_s: When it is presented.
        decoded_s: When it is decoded.
        around_s: When the packet before it, it and the next ones are decoded.
        limit_s: The largest gap that is none of the clock.
    """
    if not around_s[0] - BACK_S <= decoded_s <= shown_s:
        return False  # its decoding time is the one that is wrong
    jumps = np.flatnonzero(np.diff(around_s) > limit_s)
    if len(jumps):
        around_s = around_s[: jumps[0] + 1]
    # Twice: where decoding times are missing, libav gives a wrong presentation time to a later
    # packet as its decoding time.
    return bool((around_s >= shown_s).sum() > 1)


def _is_wrong(
    time_s: float, before: float | None, after: Floats, limit_s: float, back_s: float
) -> bool:
    """Whether a stamp is wrong by itself: the clock goes on afterwards as if it were not there.

    Args:
        time_s: The stamp.
        before: The one before it, put right; None at the start.
        after: Those that follow.
        limit_s: The largest gap that is none of the clock.
        back_s: The largest step back that is none.
    """
    if not len(after):
        return before is not None and time_s > before + limit_s
    if before is None:
        smooth = is_smooth(np.diff(after), limit_s, back_s)
        return abs(float(after[0]) - time_s) > limit_s and smooth
    goes_on = (after >= before - back_s) & (after <= before + limit_s)
    if not goes_on.any():
        return False
    if time_s < before - back_s or time_s > before + limit_s:
        return True
    # Within a pause that might be: wrong if the clock goes back afterwards, to where it was.
    return bool(after[0] < time_s - back_s and after[0] >= before - back_s)
