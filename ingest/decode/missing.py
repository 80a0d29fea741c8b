"""Detect what a file has lost: bytes that hold no packets, ends that were cut off.

Demuxers silently skip what they do not understand. Only bytes are evidence of a loss: a gap in
time alone is a pause. Losses move no frame and change no duration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .media_file import media_size, open_media
from .timeline import Track

Spans = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
"""Where packets begin and end in the file."""

_LEAST_S = 1.0
"""Seconds below which gaps and missing ends are not reported."""

_LEAST_PART = 0.02
"""Fraction of the duration below which a missing part is not reported either."""

_FILLED = 0.25
"""A gap in time is a hole in the file if it holds at least this fraction of the bytes that such a
time usually takes; a pause holds next to none."""

_LEAST_BYTES = 1024
"""More bytes than containers write between packets."""

_SAID = frozenset({"matroska,webm", "avi", "flac", "flv"})
"""Formats whose header states the duration; for others libav may estimate it from the bit rate."""

_INDEXED = "mov,mp4,m4a,3gp,3g2,mj2"
"""The format whose header lists every packet."""

_RAW = frozenset({"aac", "mp3"})
"""Formats that consist of packets only."""

_RIFF = frozenset({"avi", "wav"})
"""Formats whose first bytes state the number of bytes that follow, up to 4 GiB."""

_RIFF_MOST = 0x7FFF0000
"""From here on the stated number is a placeholder or wrong."""

_SYNC = 0x47
_SIZES = (188, 192, 204)
_READ_BYTES = 1 << 20


@dataclass
class Bytes:
    """Where the packets of one stream lie in the file.

    Attributes:
        pos: Position of each packet, -1 if unknown.
        size: Size of each packet.
        stamp_s: Presentation timestamp of each packet in seconds, NaN if missing.
        end_s: The latest end that a packet states.
        indexed: Number of packets that the header lists, 0 if it lists none.
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
    """Describe what is known to be missing from a file; "" if nothing is.

    Args:
        path: The file.
        size: Its size in bytes.
        name: Its format, as libav names it.
        header_s: The duration that its header states in seconds, 0 if none.
        chosen: The streams that are used.
        others: The other streams.
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
    """Return (start, end) gaps of over a second in which no packet of any stream begins."""
    times = np.unique(np.concatenate([track.shown_s for track in tracks]))
    # The last packet before a gap is taken to last the usual time.
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
    """Return whether the file holds bytes for a gap, at `rate` bytes per second."""
    if name == "flac":
        return True  # samples are numbered, and unreadable bytes are part of the packet before
    # Packets without a time are ignored.
    after = [pos[track.packets_s >= end_s - 1e-6] for track, (pos, _) in chosen]
    ends = min((int(pos.min()) for pos in after if len(pos)), default=0)
    begins = 0
    for track, (pos, behind) in chosen:
        # Ogg times the first packet of a page by the page before.
        before = behind[(track.packets_s <= start_s + 1e-6) & (pos < ends)]
        begins = max(begins, int(before.max(initial=0)))
    pos, behind = others
    of_others = int((behind - pos)[(pos >= begins) & (pos < ends)].sum())
    empty = ends - begins - of_others
    if empty < max(_LEAST_BYTES, _FILLED * rate * (end_s - start_s)):
        return False
    return name != "mpegts" or not _is_stream(path, begins, ends)


def _filled(of: Bytes) -> npt.NDArray[np.int64]:
    """Return packet positions, unknown ones replaced by that of the packet before."""
    return np.maximum.accumulate(np.array(of.pos, np.int64))


def _spans(of: Bytes) -> Spans:
    """Return where each packet begins and ends; packets of an Ogg page share one position."""
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
    """Return the duration that a file's header states; 0 if none, or not to be trusted."""
    if name == _INDEXED:
        # The minimum, so that every used stream must lack packets.
        said = [
            track.end_s + (of.indexed - len(of.pos)) * track.period_s
            for track, of in chosen
            if len(track.shown_s)
        ]
        return min(said, default=0.0) if len(said) == len(chosen) else 0.0
    if name == "mp3":
        first = max(known[0].pos[0], 0)
        with open_media(path) as file:
            file.seek(max(0, first - 2048))
            before = file.read(min(first, 2048))
        # A frame before the first counts them; without it libav estimates from the bit rate.
        return header_s if b"Xing" in before or b"Info" in before else 0.0
    if name == "matroska,webm":
        # It includes the packets' stated durations, however wrong: bytes must be missing as well.
        there_s = max(track.end_s for track, _ in chosen if len(track.shown_s))
        size = media_size(path)
        rest = max(size, _segment_end(path)) - max(int(_spans(of)[1].max()) for _, of in chosen)
        usual = sum(sum(of.size) for _, of in chosen) / there_s
        return header_s if rest > _FILLED * usual * (header_s - there_s) else 0.0
    return header_s if name in _SAID else 0.0


def _segment_end(path: str) -> int:
    """Return where a Matroska file ends by its header; 0 if unknown."""
    with open_media(path) as file:
        head = file.read(4096)
    at = head.find(b"\x18\x53\x80\x67") + 4
    if at < 4 or at >= len(head) or not head[at]:
        return 0
    length = 9 - head[at].bit_length()
    digits = 7 * length
    said = int.from_bytes(head[at : at + length], "big") & (1 << digits) - 1
    return 0 if said == (1 << digits) - 1 else at + length + said


def _riff(path: str) -> int:
    """Return the size in bytes that a RIFF file states; 0 if unknown."""
    with open_media(path) as file:
        head = file.read(8)
    said = int.from_bytes(head[4:], "little")
    return 8 + said if head.startswith(b"RIFF") and said < _RIFF_MOST else 0


def _tags(path: str, size: int) -> int:
    """Return the bytes of tags at the end of a raw audio file; all of it if they are unknown."""
    with open_media(path) as file:
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
    """Describe what a transport stream has lost where its clock jumps, and at its end."""
    pos = np.concatenate([_filled(of) for of in known if of.pos])
    length = np.concatenate([np.array(of.size, np.int64) for of in known if of.pos])
    order = np.argsort(pos, kind="stable")
    pos, ends = pos[order], np.maximum.accumulate((pos + length)[order])
    if pos[0] < 0:
        return []
    # The rate of the file, not of its packets: half of a stream of low-rate audio is overhead.
    steps = pos[1:] - ends[:-1]
    least = rate * _LEAST_S + 2 * _LEAST_BYTES
    rate = float(ends[-1] - pos[0] - steps[steps > least].sum()) / there_s
    least = max(least, rate * _LEAST_S)
    facts = []
    for at in np.flatnonzero(steps > least):
        start, end = int(ends[at]), int(pos[at + 1])
        # If the clock is continuous, nothing is missing, whatever lies between.
        if _clock_jumps(chosen, end) and not _is_stream(path, start, end):
            where_s = _time_at(chosen, end)
            facts.append(f"about {(end - start) / rate:.1f} s are missing at {where_s:.1f} s")
    left = size - int(ends[-1])
    # Even an uncut stream has some bytes around its last packets.
    if left > least + length.max() / 8:
        if not _is_stream(path, int(ends[-1]), size):
            facts.append(f"about {left / rate:.1f} s are missing at its end")
        elif _has_streams(path, int(ends[-1]), size):
            facts.append(f"the last {left / size:.0%} of it hold other streams, which are not read")
    return facts


def _clock_jumps(chosen: Sequence[tuple[Track, Bytes]], place: int) -> bool:
    """Return whether the timestamps of every stream, as in the file, jump at a byte position."""
    for _, of in chosen:
        pos = _filled(of)
        stamps = np.array(of.stamp_s)
        before, after = stamps[pos < place], stamps[pos >= place]
        before, after = before[~np.isnan(before)], after[~np.isnan(after)]
        if not len(before) or not len(after) or 0 <= after[0] - before[-1] <= _LEAST_S:
            return False
    return True


def _time_at(chosen: Sequence[tuple[Track, Bytes]], place: int) -> float:
    """Return when the first packet from a byte position on is presented."""
    times = [
        float(np.nanmin(track.packets_s[after]))
        for track, of in chosen
        if len(after := np.flatnonzero(_filled(of) >= place))
        and not np.isnan(track.packets_s[after]).all()
    ]
    return min(times, default=0.0)


def _read(path: str, start: int, end: int) -> npt.NDArray[np.uint8]:
    with open_media(path) as file:
        file.seek(start)
        return np.frombuffer(file.read(min(end - start, _READ_BYTES)), np.uint8)


def _is_stream(path: str, start: int, end: int) -> bool:
    """Return whether these bytes are transport stream packets, even if only stuffing."""
    data = _read(path, start, end)
    return _phase(data) is not None


def _phase(data: npt.NDArray[np.uint8]) -> tuple[int, int] | None:
    """Return the packet size and the offset of the first; None if most bytes are no packets."""
    for size in _SIZES:
        for first in range(min(size, len(data))):
            marks = data[first::size]
            if len(marks) > 1 and marks[0] == _SYNC and (marks == _SYNC).mean() > 0.5:
                return size, first
    return None


def _has_streams(path: str, start: int, end: int) -> bool:
    """Return whether most packets in these bytes are not stuffing (PID 0x1FFF)."""
    data = _read(path, start, end)
    phase = _phase(data)
    if phase is None:
        return False
    size, first = phase
    heads = data[first : first + (len(data) - first) // size * size].reshape(-1, size)
    pids = (heads[:, 1].astype(int) & 0x1F) << 8 | heads[:, 2]
    return bool((pids != 0x1FFF).mean() > 0.5)
