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
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BACK_S = 0.5
"""A stamp this much earlier than the one before it in its stream is no jitter. Decoding times
ascend by definition; presentation times, which stand in where there are none, go back by a few
frames."""

JUMP_S = 10.0
"""A gap above this is a jump of the clock in formats whose clock may jump (MPEG-TS and -PS, Ogg;
libav marks them): FFmpeg's ``dts_delta_threshold``."""

_PAUSE_S = 3600.0
"""A gap above this is a jump in any format: nobody films an hour of nothing. Other formats hold
pauses, which players keep."""

_AHEAD = 8
"""Packets looked ahead to tell a few wrong stamps from a clock that has jumped."""

_IN_STEP_S = 1.0
"""Streams of a new stretch that would overlap the old by more are moved on, whichever leads."""

_LONGEST_SOUND_S = 1.0
"""The last packet of sound lasts no longer than this or ten usual ones: codecs put a fraction of a
second into each, yet some packets say 74 hours."""

_ONLY_SOUND_S = 60.0
"""A packet that is the only one may be long: whoever writes PCM chooses."""

_LONGEST_PICTURE_S = 3600.0
"""The last picture stays on the screen for as long as it says, up to this."""

_PERIOD_S = 0.04
"""From one picture to the next where nothing tells."""

_SAME_S = 1e-6
"""Times this close are one: what rounding leaves."""

_JITTER_S = 1e-3
"""A picture that is decoded this close to where its packet is presented is that packet's."""

_PACKETS_UNSEEN = 2
"""So many packets in a row may have no picture of their own."""

_REORDERED = 17
"""A picture is decoded at most so many pictures before it is shown: H.264 and HEVC keep 16."""

_OFTEN = 4096
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
        wanted = self.shown_s[self.shown_s < until_s - _SAME_S]
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


@dataclass
class _Line:
    """A stream that is being put in order: times are moved, packets get a stretch."""

    stamps: Stamps
    clock_s: Floats
    shown_s: Floats
    stretch: npt.NDArray[np.int64]
    back_s: float

    def move(self, chosen: npt.NDArray[np.bool_] | slice, by_s: float | Floats) -> None:
        self.clock_s[chosen] += by_s
        self.shown_s[chosen] += by_s

    def moments(self, chosen: npt.NDArray[np.int64] | slice) -> Floats:
        """Ascending moments at which these packets are presented, each once."""
        shown = self.shown_s[chosen]
        return np.unique(shown[self.stamps.counts[chosen] & ~np.isnan(shown)])

    def end_s(self, moments: Floats, chosen: npt.NDArray[np.int64] | slice) -> float:
        """When the last of these packets, presented at `moments`, ends: as it says, if it can."""
        last = np.abs(self.shown_s[chosen] - moments[-1]) < _SAME_S
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
    limit_s = JUMP_S if clock_jumps else _PAUSE_S
    lines = [_mended(stream, limit_s, on_progress) for stream in streams]
    _find_stretches(lines, limit_s, on_progress)
    _append_stretches(lines)
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


def _mended(stamps: Stamps, limit_s: float, on_progress: Callable[[], None]) -> _Line:
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
            if count % _OFTEN == 0:
                on_progress()
            around = decoded[max(i - 1, 0) : i + 1 + _REORDERED]
            far[i] = not _is_reached(float(shown[i]), float(decoded[i]), around, limit_s)
        near = ahead[~far & ~np.isnan(ahead)]
        shown[far] = decoded[far] + (float(np.median(near)) if len(near) else 0.0)
    line = _Line(
        stamps,
        clock,
        np.where(np.isnan(shown), clock, shown),
        np.zeros(len(clock), np.int64),
        # Presentation times, where they stand in, go back by as many as are reordered.
        reordered_s if np.isnan(decoded).any() else BACK_S,
    )
    if not _is_smooth(steps, limit_s, line.back_s):
        last: int | None = None
        for at, i in enumerate(known):
            if at % _OFTEN == 0:
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


def _is_smooth(steps: Floats, limit_s: float, back_s: float) -> bool:
    return not len(steps) or bool(steps.min() >= -back_s and steps.max() <= limit_s)


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
        smooth = _is_smooth(np.diff(after), limit_s, back_s)
        return abs(float(after[0]) - time_s) > limit_s and smooth
    goes_on = (after >= before - back_s) & (after <= before + limit_s)
    if not goes_on.any():
        return False
    if time_s < before - back_s or time_s > before + limit_s:
        return True
    # Within a pause that might be: wrong if the clock goes back afterwards, to where it was.
    return bool(after[0] < time_s - back_s and after[0] >= before - back_s)


def _find_stretches(
    lines: Sequence[_Line], limit_s: float, on_progress: Callable[[], None]
) -> None:
    """Numbers the stretches in which the clock runs on, over all streams."""
    if all(
        _is_smooth(np.diff(line.clock_s[~np.isnan(line.clock_s)]), limit_s, line.back_s)
        for line in lines
    ):
        return
    places = np.concatenate([line.stamps.place for line in lines])
    owners = np.repeat(np.arange(len(lines)), [len(line.clock_s) for line in lines])
    within = np.concatenate([np.arange(len(line.clock_s)) for line in lines])
    # Of each stretch the last clock of every stream in it.
    stretches: list[dict[int, float]] = [{}]
    now = [0] * len(lines)
    for count, i in enumerate(np.argsort(places, kind="stable")):
        if count % _OFTEN == 0:
            on_progress()
        stream, at = int(owners[i]), int(within[i])
        line = lines[stream]
        time_s = float(line.clock_s[at])
        if not np.isnan(time_s):
            now[stream] = _choose(stretches, now[stream], stream, time_s, limit_s, line.back_s)
        line.stretch[at] = now[stream]


def _choose(
    stretches: list[dict[int, float]],
    now: int,
    stream: int,
    time_s: float,
    limit_s: float,
    back_s: float,
) -> int:
    """The stretch to which the next packet of a stream belongs, perhaps a new one."""
    for number in range(now, len(stretches)):
        lasts = stretches[number]
        apart = abs(time_s - max(lasts.values(), default=time_s))
        if stream in lasts:
            # A picture may stay on the screen for as long as the sound goes on.
            runs_on = time_s <= lasts[stream] + limit_s or apart <= JUMP_S
            fits = time_s >= lasts[stream] - back_s and runs_on
        else:  # streams may start far apart, but only at the start of the file
            fits = apart <= (JUMP_S if number else _PAUSE_S)
        if fits:
            lasts[stream] = max(time_s, lasts.get(stream, time_s))
            return number
    stretches.append({stream: time_s})
    return len(stretches) - 1


def _append_stretches(lines: Sequence[_Line]) -> None:
    """Moves every stretch to where the ones before it end, all its streams alike."""
    count = 1 + max((int(line.stretch.max(initial=0)) for line in lines), default=0)
    moves = np.zeros(count)
    ends: dict[int, float] = {}  # of each stream so far, on the clock of the file
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
    """Numbers of the packets of each stretch."""
    order = np.argsort(stretch, kind="stable")
    return np.split(order, np.searchsorted(stretch[order], np.arange(1, count)))


def _move(lines: Sequence[_Line], heads: dict[int, float], ends: dict[int, float]) -> float:
    """By how much a stretch that starts at `heads` is moved to follow what ends at `ends`."""
    moves = {k: ends[k] - head for k, head in heads.items() if k in ends}
    move = max(moves.values(), default=max(ends.values()) - min(heads.values()))
    # Pictures follow each other without a gap, unless the sound would overlap by much.
    lead = next((m for k, m in moves.items() if lines[k].stamps.is_picture), None)
    return lead if lead is not None and move - lead <= _IN_STEP_S else move
