"""Split packets into stretches of one continuous clock, and append these to one timeline."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from .stamps import JUMP_S, OFTEN, PAUSE_S, SOON, Line, is_smooth

_IN_STEP_S = 1.0
"""Audio of a new stretch may overlap the old by up to this; beyond, the stretch starts later."""


_NOT_BEGUN = -1
"""The stretch of a stream that has had no packet with a timestamp yet."""


def find_stretches(lines: Sequence[Line], limit_s: float, on_progress: Callable[[], None]) -> None:
    """Assign each packet its stretch of a continuous clock, numbered over all streams."""
    if all(
        is_smooth(np.diff(line.clock_s[~np.isnan(line.clock_s)]), limit_s, line.back_s)
        for line in lines
    ):
        return
    places = np.concatenate([line.stamps.place for line in lines])
    owners = np.repeat(np.arange(len(lines)), [len(line.clock_s) for line in lines])
    within = np.concatenate([np.arange(len(line.clock_s)) for line in lines])
    # Per stretch, the latest time of each stream in it.
    stretches: list[dict[int, float]] = [{}]
    now = [_NOT_BEGUN] * len(lines)
    latest = [-1] * len(lines)
    for count, i in enumerate(np.argsort(places, kind="stable")):
        if count % OFTEN == 0:
            on_progress()
        stream, at = int(owners[i]), int(within[i])
        line = lines[stream]
        time_s = float(line.clock_s[at])
        latest[stream] = at
        if np.isnan(time_s):
            pass
        elif now[stream] == _NOT_BEGUN and _restarts(lines, latest, stretches[-1], time_s):
            stretches.append({stream: time_s})
            now[stream] = len(stretches) - 1
        else:
            now[stream] = _choose(stretches, now[stream], stream, time_s, limit_s, line.back_s)
        line.stretch[at] = max(now[stream], 0)


def _restarts(
    lines: Sequence[Line], latest: Sequence[int], lasts: dict[int, float], time_s: float
) -> bool:
    """Return whether a stream begins at `time_s` just before the others' clocks go back to it.

    Args:
        lines: The streams.
        latest: Number of the latest packet of each stream.
        lasts: Latest time of each stream in the newest stretch.
        time_s: Time of the first packet of the stream that begins.
    """
    for stream, last_s in lasts.items():
        line = lines[stream]
        if time_s >= last_s - line.back_s:
            continue
        soon = line.clock_s[latest[stream] + 1 : latest[stream] + 1 + SOON]
        if bool(((soon < last_s - line.back_s) & (np.abs(soon - time_s) < last_s - time_s)).any()):
            return True
    return False


def _choose(
    stretches: list[dict[int, float]],
    now: int,
    stream: int,
    time_s: float,
    limit_s: float,
    back_s: float,
) -> int:
    """Return the stretch to which the next packet of a stream belongs, perhaps a new one."""
    # A stream that begins in the middle of a file most likely belongs to the newest stretch.
    begins = now == _NOT_BEGUN
    numbers = range(len(stretches) - 1, -1, -1) if begins else range(now, len(stretches))
    for number in numbers:
        lasts = stretches[number]
        newest = max(lasts.values(), default=time_s)
        apart = abs(time_s - newest)
        if stream in lasts:
            # A frame may stay on the screen for as long as the audio continues.
            runs_on = time_s <= lasts[stream] + limit_s or apart <= JUMP_S
            fits = time_s >= lasts[stream] - back_s and runs_on
        elif number:
            fits = apart <= JUMP_S
        else:  # only at the start of a file may streams start far apart
            fits = -limit_s <= time_s - newest <= PAUSE_S
        if fits:
            lasts[stream] = max(time_s, lasts.get(stream, time_s))
            return number
    stretches.append({stream: time_s})
    return len(stretches) - 1


def append_stretches(lines: Sequence[Line]) -> None:
    """Shift every stretch to where those before it end, all its streams by the same amount."""
    count = 1 + max((int(line.stretch.max(initial=0)) for line in lines), default=0)
    moves = np.zeros(count)
    ends: dict[int, float] = {}  # per stream so far, on the clock of the file
    members = [_by_stretch(line.stretch, count) for line in lines]
    for number in range(count):
        heads: dict[int, float] = {}
        tails: dict[int, float] = {}
        for k, line in enumerate(lines):
            mine = line.moments(members[k][number])
            if len(mine):
                heads[k] = float(mine[0])
                tails[k] = line.end_s(mine, members[k][number])
        if number and heads and ends:
            moves[number] = _move(lines, heads, ends)
        for k, tail in tails.items():
            ends[k] = max(ends.get(k, tail + moves[number]), tail + moves[number])
    if count > 1:
        for line in lines:
            line.move(slice(None), moves[line.stretch])


def _by_stretch(stretch: npt.NDArray[np.int64], count: int) -> list[npt.NDArray[np.int64]]:
    """Return the numbers of the packets of each stretch."""
    order = np.argsort(stretch, kind="stable")
    return np.split(order, np.searchsorted(stretch[order], np.arange(1, count)))


def _move(lines: Sequence[Line], heads: dict[int, float], ends: dict[int, float]) -> float:
    """Return the shift by which a stretch that starts at `heads` follows what ends at `ends`."""
    moves = {k: ends[k] - head for k, head in heads.items() if k in ends}
    move = max(moves.values(), default=max(ends.values()) - min(heads.values()))
    # Frames follow each other without a gap, unless the audio would overlap by much.
    lead = next((m for k, m in moves.items() if lines[k].stamps.is_picture), None)
    return lead if lead is not None and move - lead <= _IN_STEP_S else move
