"""What is not in a file any more: bytes that hold no packets, ends that were cut off.

A demuxer passes over what it does not understand and says nothing of it. That something is gone is
believed only where bytes tell it: a gap in time alone is a pause. Nothing of this moves a picture
or changes a duration.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .timeline import Track

Spans = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Where packets begin and end in the file."""

_LEAST_S = 1.0
"""Gaps and ends shorter than this are not told."""

_LEAST_PART = 0.02
"""Nor is what a header says more than is there, by less than this."""

_FILLED = 0.25
"""A gap in time is one in the file if it has this part of the bytes that such a time usually has:
a pause has next to none."""

_LEAST_BYTES = 1024
"""What containers write between packets is less."""

_SAID = frozenset({"matroska,webm", "avi", "flac", "flv"})
"""Formats whose headers name the length; of others libav may reckon it from the rate."""

_INDEXED = "mov,mp4,m4a,3gp,3g2,mj2"
"""The format whose header lists every packet."""

_RAW = frozenset({"aac", "mp3"})
"""Formats of packets alone."""

_RIFF = frozenset({"avi", "wav"})
"""Formats whose first bytes say how many follow, up to 4 GiB."""

_RIFF_MOST = 0x7FFF0000
"""Above this they say that it was not known yet, or not what is meant."""

_SYNC = 0x47
_SIZES = (188, 192, 204)
_READ_BYTES = 1 << 20


@dataclass
class Bytes:
    """Where the packets of one stream lie in the file.

    Attributes:
        pos: Of each packet where it begins; -1 where that is unknown.
        size: And how long it is.
        stamp_s: What it says of its time, NaN where it says nothing.
        end_s: The latest end that any of them names.
        indexed: Packets that the header lists; 0 where it lists none.
    """

    pos: list[int] = field(default_factory=list)
    size: list[int] = field(default_factory=list)
    stamp_s: list[float] = field(default_factory=list)
    end_s: float = 0.0
    indexed: int = 0


def missing(
    path: str,
    size: int,
    name: str,
    header_s: float,
    chosen: Sequence[tuple[Track, Bytes]],
    others: Sequence[Bytes],
) -> str:
    """What is known to be missing of a file, in words; "" where nothing is.

    Args:
        path: The file.
        size: Its bytes.
        name: Its format, as libav names it.
        header_s: The length that its header names, 0 where it names none.
        chosen: The streams that are used.
        others: Those that are not.
    """
    tracks = [track for track, _ in chosen if len(track.shown_s)]
    there_s = max((track.end_s for track in tracks), default=0.0)
    total = sum(sum(of.size) for _, of in chosen)
    if not tracks or not total or there_s <= 0:
        return ""
    rate = total / there_s
    known = [*(of for _, of in chosen), *others]
    facts = []
    if name != _INDEXED and name not in _RAW:
        spans = [(track, _spans(of)) for track, of in chosen]
        pos = np.array([at for of in others for at in of.pos], np.int64)
        beside = pos, pos + np.array([length for of in others for length in of.size], np.int64)
        holes = [
            (start, end)
            for start, end in _gaps(tracks)
            if _is_hole(path, name, spans, beside, start, end, rate)
        ]
        if holes:
            where = ", ".join(f"{start:.1f}-{end:.1f}" for start, end in holes)
            lost_s = sum(end - start for start, end in holes)
            facts.append(f"of {there_s:.1f} s, {lost_s:.1f} s are missing ({where})")
    said_s = _said_s(path, name, header_s, chosen, known)
    if said_s - max(there_s, *(of.end_s for of in known)) > max(_LEAST_S, _LEAST_PART * said_s):
        facts.append(f"its header says {said_s:.1f} s, {there_s:.1f} s are there")
    elif name in _RAW:
        unread = size - max(chosen[0][1].pos[0], 0) - total - _tags(path, size)
        if unread > rate * max(_LEAST_S, _LEAST_PART * there_s):
            facts.append(f"about {unread / rate:.1f} s are missing")
    elif name in _RIFF and (cut := _riff(path) - size) > rate * _LEAST_S:
        facts.append(f"about {cut / rate:.1f} s are missing at its end")
    elif name == "mpegts" and not facts:
        facts += _of_stream(path, size, chosen, known, rate, there_s)
    return "; ".join(facts)


def _gaps(tracks: Sequence[Track]) -> list[tuple[float, float]]:
    """Stretches of at least a second in which nothing of any stream begins."""
    times = np.unique(np.concatenate([track.shown_s for track in tracks]))
    # What begins last before a gap lasts as long as is usual.
    usual_s = min(track.period_s for track in tracks)
    wide = np.flatnonzero(np.diff(times) > _LEAST_S + usual_s)
    periods = max(track.period_s for track in tracks)
    return [(float(times[i]), float(times[i + 1])) for i in wide if periods < _LEAST_S]


def _is_hole(
    path: str,
    name: str,
    chosen: Sequence[tuple[Track, Spans]],
    others: Spans,
    start_s: float,
    end_s: float,
    rate: float,
) -> bool:
    """Whether the file has bytes for a stretch without packets, `rate` of which make a second."""
    if name == "flac":
        return True  # samples are counted, and what does not decode lies in the packet before
    # Of packets whose time is unknown nothing is said.
    after = [pos[track.packets_s >= end_s - 1e-6] for track, (pos, _) in chosen]
    ends = min((int(pos.min()) for pos in after if len(pos)), default=0)
    begins = 0
    for track, (pos, behind) in chosen:
        # Ogg's first packet of a page is timed by the page before.
        before = behind[(track.packets_s <= start_s + 1e-6) & (pos < ends)]
        begins = max(begins, int(before.max(initial=0)))
    pos, behind = others
    of_others = int((behind - pos)[(pos >= begins) & (pos < ends)].sum())
    empty = ends - begins - of_others
    if empty < max(_LEAST_BYTES, _FILLED * rate * (end_s - start_s)):
        return False
    return name != "mpegts" or not _is_stream(path, begins, ends)


def _filled(of: Bytes) -> npt.NDArray[np.int64]:
    """Positions, those that are unknown being that of the packet before."""
    return np.maximum.accumulate(np.array(of.pos, np.int64))


def _spans(of: Bytes) -> Spans:
    """Where each packet begins and ends; those of a page have one position."""
    pos, total = _filled(of), np.cumsum(of.size)
    first = np.searchsorted(pos, pos)
    return pos, pos + total - np.where(first > 0, total[first - 1], 0)


def _said_s(
    path: str,
    name: str,
    header_s: float,
    chosen: Sequence[tuple[Track, Bytes]],
    known: Sequence[Bytes],
) -> float:
    """The length that the header of a file names, 0 where it is none to be believed."""
    if name == _INDEXED:
        # Of every stream that is used some packets are not there.
        said = [
            track.end_s + (of.indexed - len(of.pos)) * track.period_s
            for track, of in chosen
            if len(track.shown_s)
        ]
        return min(said, default=0.0) if len(said) == len(chosen) else 0.0
    if name == "mp3":
        first = max(known[0].pos[0], 0)
        with open(path, "rb") as file:
            file.seek(max(0, first - 2048))
            before = file.read(min(first, 2048))
        # The frame before the first counts them; without it libav reckons from the rate.
        return header_s if b"Xing" in before or b"Info" in before else 0.0
    if name == "matroska,webm":
        # It counts what a packet says that it lasts, however wrong: bytes must be missing as well.
        there_s = max(track.end_s for track, _ in chosen if len(track.shown_s))
        size = os.path.getsize(path)
        rest = max(size, _segment_end(path)) - max(int(_spans(of)[1].max()) for _, of in chosen)
        usual = sum(sum(of.size) for _, of in chosen) / there_s
        return header_s if rest > _FILLED * usual * (header_s - there_s) else 0.0
    return header_s if name in _SAID else 0.0


def _segment_end(path: str) -> int:
    """Where a Matroska file says that it ends, 0 where it does not know."""
    with open(path, "rb") as file:
        head = file.read(4096)
    at = head.find(b"\x18\x53\x80\x67") + 4
    if at < 4 or at >= len(head) or not head[at]:
        return 0
    length = 9 - head[at].bit_length()
    digits = 7 * length
    said = int.from_bytes(head[at : at + length], "big") & (1 << digits) - 1
    return 0 if said == (1 << digits) - 1 else at + length + said


def _riff(path: str) -> int:
    """The bytes that a RIFF file says that it has, 0 where it does not know."""
    with open(path, "rb") as file:
        head = file.read(8)
    said = int.from_bytes(head[4:], "little")
    return 8 + said if head.startswith(b"RIFF") and said < _RIFF_MOST else 0


def _tags(path: str, size: int) -> int:
    """Bytes at the end of a file of raw sound that are no sound; all where they are not known."""
    with open(path, "rb") as file:
        file.seek(max(0, size - 4096))
        tail = file.read()
    if any(mark in tail for mark in (b"APETAGEX", b"LYRICS", b"3DI", b"ID3")):
        return size
    return 128 if tail[-128:].startswith(b"TAG") else 0


def _of_stream(
    path: str,
    size: int,
    chosen: Sequence[tuple[Track, Bytes]],
    known: Sequence[Bytes],
    rate: float,
    there_s: float,
) -> list[str]:
    """What a transport stream has lost where its clock does not tell it, and at its end."""
    pos = np.concatenate([_filled(of) for of in known if of.pos])
    length = np.concatenate([np.array(of.size, np.int64) for of in known if of.pos])
    order = np.argsort(pos, kind="stable")
    pos, ends = pos[order], np.maximum.accumulate((pos + length)[order])
    if pos[0] < 0:
        return []
    # Of the file, not of what is in it: half of a stream with slow sound is wrapping.
    steps = pos[1:] - ends[:-1]
    least = rate * _LEAST_S + 2 * _LEAST_BYTES
    rate = float(ends[-1] - pos[0] - steps[steps > least].sum()) / there_s
    least = max(least, rate * _LEAST_S)
    facts = []
    for at in np.flatnonzero(steps > least):
        start, end = int(ends[at]), int(pos[at + 1])
        # Where the clock runs on nothing is missing, whatever lies between.
        if _clock_jumps(chosen, end) and not _is_stream(path, start, end):
            where_s = _time_at(chosen, end)
            facts.append(f"about {(end - start) / rate:.1f} s are missing at {where_s:.1f} s")
    left = size - int(ends[-1])
    # The last packets of a stream that is not cut have some bytes around them.
    if left > least + length.max() / 8:
        if not _is_stream(path, int(ends[-1]), size):
            facts.append(f"about {left / rate:.1f} s are missing at its end")
        elif _has_streams(path, int(ends[-1]), size):
            facts.append(f"the last {left / size:.0%} of it hold other streams, which are not read")
    return facts


def _clock_jumps(chosen: Sequence[tuple[Track, Bytes]], place: int) -> bool:
    """Whether the stamps of every stream, as they are in the file, jump at a place in it."""
    for _, of in chosen:
        pos = _filled(of)
        stamps = np.array(of.stamp_s)
        before, after = stamps[pos < place], stamps[pos >= place]
        before, after = before[~np.isnan(before)], after[~np.isnan(after)]
        if not len(before) or not len(after) or 0 <= after[0] - before[-1] <= _LEAST_S:
            return False
    return True


def _time_at(chosen: Sequence[tuple[Track, Bytes]], place: int) -> float:
    """When the first packet from a place in the file on is presented."""
    times = [
        float(np.nanmin(track.packets_s[after]))
        for track, of in chosen
        if len(after := np.flatnonzero(_filled(of) >= place))
        and not np.isnan(track.packets_s[after]).all()
    ]
    return min(times, default=0.0)


def _read(path: str, start: int, end: int) -> npt.NDArray[np.uint8]:
    with open(path, "rb") as file:
        file.seek(start)
        return np.frombuffer(file.read(min(end - start, _READ_BYTES)), np.uint8)


def _is_stream(path: str, start: int, end: int) -> bool:
    """Whether there are packets of a transport stream, if only empty ones."""
    data = _read(path, start, end)
    return _phase(data) is not None


def _phase(data: npt.NDArray[np.uint8]) -> tuple[int, int] | None:
    """Size of packets and where the first begins, None where most of it is none."""
    for size in _SIZES:
        for first in range(min(size, len(data))):
            marks = data[first::size]
            if len(marks) > 1 and marks[0] == _SYNC and (marks == _SYNC).mean() > 0.5:
                return size, first
    return None


def _has_streams(path: str, start: int, end: int) -> bool:
    """Whether most of the packets there are no stuffing."""
    data = _read(path, start, end)
    phase = _phase(data)
    if phase is None:
        return False
    size, first = phase
    heads = data[first : first + (len(data) - first) // size * size].reshape(-1, size)
    pids = (heads[:, 1].astype(int) & 0x1F) << 8 | heads[:, 2]
    return bool((pids != 0x1FFF).mean() > 0.5)
