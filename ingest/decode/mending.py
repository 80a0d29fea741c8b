"""Correct wrong timestamps from their neighbours and the other streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from .stamps import BACK_S, JUMP_S, OFTEN, SOON, Floats, Line, Stamps, is_smooth

_AHEAD = 8
"""Packets of lookahead that tell a few wrong timestamps from a discontinuity."""

_ENOUGH = 4
"""Packets that suffice to tell where a clock is, even if one of them is wrong."""

_LEAP = 10
"""A step of more than this many usual ones is a leap, not part of a continuous stream."""

_REORDERED = 17
"""Frames by which decoding may precede presentation: H.264 and HEVC keep 16."""


def mended(
    streams: Sequence[Stamps], limit_s: float, on_progress: Callable[[], None]
) -> list[Line]:
    """Return the streams with their wrong timestamps corrected."""
    lines = [_line(stream, limit_s, on_progress) for stream in streams]
    jumps = [_lasting(line, limit_s) for line in lines]  # before anything is moved
    for line in lines:
        others = [(o, at) for o, at in zip(lines, jumps, strict=True) if o is not line]
        _mend_start(line, others, limit_s)
        _mend_single(line, limit_s, on_progress)
    for line in lines:
        beside = [other for other in lines if other is not line]
        _mend_runs(line, beside)
        _mend_end(line, beside)
    return lines


def _line(stamps: Stamps, limit_s: float, on_progress: Callable[[], None]) -> Line:
    """Return a stream with its presentation times corrected to fit its decoding times."""
    decoded, shown = _first_filled(stamps.decoded_s), stamps.shown_s.copy()
    clock = np.where(np.isnan(decoded), shown, decoded)
    usual_s = _usual(clock)
    reordered_s = max(BACK_S, _REORDERED * usual_s)
    # Both timestamps of a packet are from one clock. If they are far apart, the presentation time
    # is the wrong one, since decoding times are checked against each other below.
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
    return Line(
        stamps,
        clock,
        np.where(np.isnan(shown), clock, shown),
        np.zeros(len(clock), np.int64),
        # Presentation times that stand in for decoding times go back by reordering.
        reordered_s if np.isnan(decoded).any() else BACK_S,
        usual_s,
        usually_ahead,
    )


def _usual(clock_s: Floats) -> float:
    steps = np.diff(clock_s[~np.isnan(clock_s)])
    return float(np.median(np.abs(steps))) if len(steps) else 0.0


def _jumps(clock_s: Floats, limit_s: float, back_s: float) -> npt.NDArray[np.int64]:
    """Return the numbers of the packets at which a clock goes back, or ahead by over `limit_s`."""
    steps = np.diff(clock_s)
    return np.flatnonzero((steps < -back_s) | (steps > limit_s)) + 1


def _lasting(line: Line, limit_s: float) -> npt.NDArray[np.int64]:
    """Return the places in the file (`Stamps.place`) of a stream's lasting clock jumps."""
    known = line.known
    clock = line.clock_s[known]
    jumps = _jumps(clock, limit_s, line.back_s)
    stays = [_stays(clock, int(at), limit_s) for at in jumps]
    lasting = known[jumps[np.array(stays, bool)]]
    return np.asarray(line.stamps.place[lasting], np.int64)


def _stays(clock_s: Floats, at: int, limit_s: float) -> bool:
    """Return whether a clock jump at a packet lasts, and is not one wrong timestamp."""
    before_s = float(np.median(clock_s[max(at - _ENOUGH, 0) : at]))
    after_s = float(np.median(clock_s[at : at + _ENOUGH]))
    return after_s < before_s or after_s > before_s + limit_s


def _mend_start(
    line: Line, others: Sequence[tuple[Line, npt.NDArray[np.int64]]], limit_s: float
) -> None:
    """Move the packets before a clock's first jump to just before those after it.

    A clock that restarts does so for all streams. If the others continue, the packets before the
    jump are wrong: up to `_AHEAD` of them unless another stream jumps as well, more only if
    another stream agrees with what comes after.

    Args:
        line: The stream.
        others: The other streams, and the places in the file of their clock jumps.
        limit_s: The longest gap that is not a discontinuity.
    """
    known = line.known
    clock = line.clock_s[known]
    jumps = _jumps(clock, limit_s, line.back_s)
    if not len(jumps):
        return
    first = int(jumps[0])
    if not _stays(clock, first, limit_s):
        return
    behind = int(jumps[1]) if len(jumps) > 1 else len(clock)
    even_s = max(line.back_s, _LEAP * line.usual_s)
    enough = clock[first : min(behind, first + max(first, _AHEAD))]
    if len(enough) < 2 or any(
        not is_smooth(np.diff(part), even_s, line.back_s) for part in (clock[:first], enough)
    ):
        return
    place = line.stamps.place[known]
    soon = 2 * first + SOON
    if any((at <= place[soon]).any() if soon < len(place) else len(at) for _, at in others):
        return
    if first > _AHEAD and not any(
        _keeps_to(other, place[first:behind], clock[first:behind]) for other, _ in others
    ):
        return
    line.move(known[:first], float(clock[first]) - line.usual_s - float(clock[first - 1]))


def _keeps_to(other: Line, place: npt.NDArray[np.int64], clock_s: Floats) -> bool:
    """Return whether another stream continues beside these packets, its clock near theirs."""
    known = other.known
    theirs = other.stamps.place[known]
    chosen = (theirs > place[0]) & (theirs < place[-1])
    between = np.searchsorted(place, theirs[chosen]) - 1
    # The last audio of a piece may come after the first frame of the next, in one batch.
    if len(np.unique(between)) < _ENOUGH - 1:
        return False
    return bool((np.abs(other.clock_s[known[chosen]] - clock_s[between]) <= JUMP_S).all())


def _mend_single(line: Line, limit_s: float, on_progress: Callable[[], None]) -> None:
    """Correct single wrong timestamps from their neighbours."""
    known = line.known
    clock = line.clock_s
    if is_smooth(np.diff(clock[known]), limit_s, line.back_s):
        return
    last: int | None = None
    for at, i in enumerate(known):
        if at % OFTEN == 0:
            on_progress()
        after = clock[known[at + 1 : at + 1 + _AHEAD]]
        before = None if last is None else float(clock[last])
        if _is_wrong(float(clock[i]), before, after, limit_s, line.back_s):
            right = float(after[0]) - line.usual_s if before is None else before + line.usual_s
            ahead, apart = line.ahead_s, line.shown_s[i]
            if abs(apart - right - ahead) < abs(apart - clock[i] - ahead):
                clock[i] = right  # the presentation time is right; libav guessed the other
            else:
                line.move(slice(i, i + 1), right - float(clock[i]))
        last = int(i)


def _mend_runs(line: Line, others: Sequence[Line]) -> None:
    """Move back runs of packets that leap away from their clock, which then returns.

    The evidence is that it returns to just where the run would end without the leaps; a clock
    that restarts may be anywhere.
    """
    known = line.known
    clock = line.clock_s[known]
    step_s = np.diff(clock)
    leaps = np.flatnonzero(np.abs(step_s) > max(line.back_s, _LEAP * line.usual_s)) + 1
    done = 0
    for first, behind in pairwise(leaps.tolist()):
        if first <= done or step_s[first - 1] * step_s[behind - 1] > 0:
            continue
        room_s = float(clock[behind] - clock[first - 1])
        span_s = float(clock[behind - 1] - clock[first]) + 2 * line.usual_s
        place = line.stamps.place[known[[first - 1, behind]]]
        if abs(room_s - span_s) <= max(BACK_S, 2 * line.usual_s) and _run_on(others, place):
            by_s = float(clock[first - 1]) + line.usual_s - float(clock[first])
            line.move(known[first:behind], by_s)
            done = behind


def _run_on(others: Sequence[Line], place: npt.NDArray[np.int64]) -> bool:
    """Return whether the other streams' clocks are continuous between two places in the file."""
    for other in others:
        known = other.known
        first, behind = np.searchsorted(other.stamps.place[known], place)
        # The last packets of a piece may come after the first of another stream in the next.
        within = slice(max(first - _AHEAD, 0), behind + _AHEAD)
        steps = np.diff(other.clock_s[known[within]])
        if not is_smooth(steps, max(BACK_S, _LEAP * other.usual_s), other.back_s):
            return False
    return True


def _mend_end(line: Line, others: Sequence[Line]) -> None:
    """Move the last packets to those before, if they leap ahead after all other streams end."""
    known = line.known
    clock = line.clock_s[known]
    leap_s = max(JUMP_S, _LEAP * line.usual_s)
    leaps = np.flatnonzero(np.diff(clock) > leap_s) + 1
    if not len(leaps) or len(clock) - leaps[-1] > _AHEAD or leaps[-1] < 2 * _AHEAD:
        return
    first = int(leaps[-1])
    before_s, leap_s = float(clock[first - 1]), float(clock[first] - clock[first - 1])
    ends = [float(np.nanmax(other.clock_s)) for other in others if len(other.known)]
    over = bool(ends) and all(abs(end - before_s) <= JUMP_S for end in ends)
    # A frame whose stated duration is that long does last so long.
    if over and line.stamps.duration_s[known[first - 1]] < leap_s / 2:
        line.move(known[first:], line.usual_s - leap_s)


def _first_filled(decoded_s: Floats) -> Floats:
    """Fill in the decoding times before the first known one, which libav leaves out."""
    filled = decoded_s.copy()
    known = np.flatnonzero(~np.isnan(filled))
    if len(known) > 1 and known[0] > 0:
        step = float(np.median(np.diff(filled[known])))
        filled[: known[0]] = filled[known[0]] - step * np.arange(known[0], 0, -1)
    return filled


def _is_reached(shown_s: float, decoded_s: float, around_s: Floats, limit_s: float) -> bool:
    """Return whether decoding times soon reach a packet's far-off presentation time.

    They do at a pause: the frame that ends it may be decoded before it, since frames that are
    shown earlier are predicted from it.

    Args:
        shown_s: The packet's presentation time.
        decoded_s: Its decoding time.
        around_s: Decoding times of the packet before it, itself and the next ones.
        limit_s: The longest gap that is not a discontinuity.
    """
    if not around_s[0] - BACK_S <= decoded_s <= shown_s:
        return False  # the decoding time is the wrong one
    jumps = np.flatnonzero(np.diff(around_s) > limit_s)
    if len(jumps):
        around_s = around_s[: jumps[0] + 1]
    # More than once: if decoding times are missing, libav gives a wrong presentation time to a
    # later packet as its decoding time.
    return bool((around_s >= shown_s).sum() > 1)


def _is_wrong(
    time_s: float, before: float | None, after: Floats, limit_s: float, back_s: float
) -> bool:
    """Return whether a single timestamp is wrong: the clock continues as if it were not there.

    Args:
        time_s: The timestamp.
        before: The one before it, corrected; None at the start.
        after: Those that follow.
        limit_s: The longest gap that is not a discontinuity.
        back_s: The largest step back that is not one.
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
    # It may lie in a pause; it is wrong if the clock then goes back to where it was.
    return bool(after[0] < time_s - back_s and after[0] >= before - back_s)
