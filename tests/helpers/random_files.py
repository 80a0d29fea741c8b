"""Random files of which is known what is on the screen, and heard, at which second.

Pictures carry their number, and the sound's pitch tells its second (`media_cases`). Second 0 is
the start of whichever stream begins first, as in `vidsim.ingest.decode.timeline`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from . import media_cases
from .media_cases import TICKS, Piece

RATES = [*map(Fraction, (1, 2, 5, 10, 12.5, 15, 24, 25, 30, 50, 60))]
MPEG2_RATES = [*map(Fraction, (24, 25, 30, 50, 60))]
"""The whole ones that MPEG-2 can name."""

PICTURES = {
    "ts": ["mpeg4", "mpeg2video", "libx264"],
    "mpg": ["mpeg2video"],
    "mkv": ["mpeg4", "mpeg2video", "libx264", "mjpeg"],
    "mp4": ["mpeg4", "libx264"],
    "avi": ["mpeg4", "libx264", "mjpeg"],
}
SOUNDS = {
    "ts": ["mp2", "aac"],
    "mpg": ["mp2"],
    "mkv": ["pcm_s16le", "mp2", "aac"],
    "mp4": ["aac"],
    "avi": ["pcm_s16le", "mp2"],
}

UNSTAMPED = 2.5
"""By so many pictures may a program stream be wrong: only one of several has a stamp in it, from
which libav counts the others."""

PACKET_S = 0.1
"""No packet of these sounds is longer."""

AT_THE_END = 4
"""So many pictures at the end come evenly: of one that is reordered only what is decoded after it
tells that it comes after a pause, and has no wrong stamp."""

DTS_AHEAD_S = 14.0
"""Matroska keeps no decoding time, but the muxer wants it to be before the presentation: so far,
that a wrong presentation time still comes after it."""


@dataclass(frozen=True)
class Truth:
    """What a file must decode to; times in seconds.

    Attributes:
        built: What was built, for whoever reads of a failure.
        shown_s: When each picture comes on the screen.
        picture_end_s: When the last one leaves it.
        heard_s: (start, end) stretches of sound.
        slack_s: By how much a picture or sound may be early or late.
        lost: (first, behind the last) numbers of the pictures of which nothing is left.
        unsure: (first, behind the last) numbers of pictures which may be lost or spoiled.
    """

    built: str
    shown_s: Sequence[float]
    picture_end_s: float
    heard_s: Sequence[tuple[float, float]]
    slack_s: float = 0.0
    lost: tuple[int, int] = (0, 0)
    unsure: tuple[int, int] = (0, 0)

    @property
    def duration_s(self) -> float:
        return max(self.picture_end_s, *(end for _, end in self.heard_s))

    def begins_s(self, number: int) -> float:
        """When a picture comes on the screen; the one behind the last: when that leaves it."""
        return [*self.shown_s, self.picture_end_s][number]


@dataclass(frozen=True)
class Plan:
    """A file of one piece.

    Attributes:
        container: By its extension.
        codec: Of the picture.
        sound_codec: Of the sound.
        rate: Pictures a second by the headers; the last picture stays for as long.
        gop: Pictures from one that stands alone to the next.
        reordered: Whether there are B-frames.
        shown_s: When each picture comes on the screen.
        heard_s: Start and end of the sound.
        silent_s: Start and end of a gap in it, none where they are the same.
        clock: What the file's clock says at second 0.
    """

    container: str
    codec: str
    sound_codec: str
    rate: Fraction
    gop: int
    reordered: bool
    shown_s: tuple[float, ...]
    heard_s: tuple[float, float]
    silent_s: tuple[float, float] = (0.0, 0.0)
    clock: float = 0.0

    def __str__(self) -> str:
        fields = {**vars(self), "shown_s": f"{len(self.shown_s)} from {self.shown_s[0]:.3f} s on"}
        return ", ".join(f"{name}={value}" for name, value in fields.items())

    @property
    def truth(self) -> Truth:
        first, last = self.heard_s
        gap = (self.silent_s[0] - PACKET_S, self.silent_s[1] + PACKET_S)
        split = self.silent_s[0] < self.silent_s[1]
        heard = [(first, gap[0]), (gap[1], last)] if split else [self.heard_s]
        end_s = self.shown_s[-1] + float(1 / self.rate)
        slack_s = UNSTAMPED / float(self.rate) if self.container == "mpg" else 0.0
        return Truth(str(self), self.shown_s, end_s, heard, slack_s)


Packets = list[tuple[float, float, av.Packet]]
"""When each is decoded and presented, in seconds of the line."""


def write(path: Path, plan: Plan, spoil: Callable[[Packets, Packets], None] | None = None) -> Path:
    """Writes what was planned; `spoil` may change times of pictures and sound before."""
    with av.open(str(path), "w", format=media_cases.MUXERS[plan.container]) as output:
        video = media_cases.add_video(output, plan.codec, plan.rate, plan.gop, plan.reordered)
        sound = media_cases.add_sound(output, plan.sound_codec)
        if plan.container == "mp4":  # others have clocks of their own
            video.time_base = Fraction(1, TICKS)
        pictures, sounds = _pictures(video, plan), _sounds(sound, plan)
        if spoil:
            spoil(pictures, sounds)
        for decoded_s, shown_s, packet in sorted([*pictures, *sounds], key=lambda timed: timed[0]):
            media_cases.retime(packet, plan.clock + decoded_s, plan.clock + shown_s)
            output.mux(packet)
    return path


def _pictures(video: av.VideoStream, plan: Plan) -> Packets:
    """Pictures are coded at an even rate, then moved to where they are wanted."""
    packets = media_cases.encode_pictures(video, range(len(plan.shown_s)))
    ends = [*plan.shown_s[1:], plan.shown_s[-1] + float(1 / plan.rate)]
    timed = []
    for packet in packets:
        pts, dts = (round(t * packet.time_base * plan.rate) for t in (packet.pts, packet.dts))
        # Decoding starts before the first picture is shown, where pictures are reordered.
        decoded_s = plan.shown_s[max(dts, 0)] + float(min(dts, 0) / plan.rate)
        packet.duration = round((ends[pts] - plan.shown_s[pts]) / packet.time_base)
        timed.append((decoded_s, plan.shown_s[pts], packet))
    return timed


def _sounds(sound: av.AudioStream, plan: Plan) -> Packets:
    start, end = plan.heard_s
    packets = media_cases.encode_sound(sound, start, end - start)
    if plan.container not in ("mkv", "mp4"):  # which say what of the start is to be dropped
        start -= float(packets[0].pts * packets[0].time_base)
    timed = [(start + float(p.pts * p.time_base), p) for p in packets]
    silent_s, heard_s = plan.silent_s
    if silent_s < heard_s:
        timed = [(at, p) for at, p in timed if at + PACKET_S <= silent_s or at >= heard_s]
    return [(at, at, packet) for at, packet in timed]


def any_plan(chance: random.Random, containers: Sequence[str], rates: Sequence[Fraction]) -> Plan:
    """A file whose pictures come at an even rate, and whose sound has no gap."""
    container = chance.choice(containers)
    codec = chance.choice(PICTURES[container])
    rate = chance.choice(MPEG2_RATES if codec == "mpeg2video" else rates)
    if (container, codec, rate) == ("ts", "mpeg4", Fraction(25, 2)):
        rate = Fraction(25)  # libav takes the last picture for half as long
    count = max(6, round(chance.uniform(2.0, 10.0) * rate))
    length = float(count / rate)
    pictures_after = sound_after = 0.0
    if container != "avi":  # in which all streams begin together
        late = chance.choice([0.0, 0.25, chance.uniform(0.0, 1.0), chance.uniform(0.0, 15.0)])
        pictures_after, sound_after = chance.choice([(late, 0.0), (0.0, late)])
    ends = max(pictures_after + length + chance.choice([0.0, chance.uniform(-3, 3)]), 1.0)
    return Plan(
        container,
        codec,
        chance.choice(SOUNDS[container]),
        rate,
        chance.randint(5, 12),
        codec != "mjpeg" and chance.random() < 0.5,
        tuple(pictures_after + float(i / rate) for i in range(count)),
        (sound_after, max(ends, sound_after + 1.0)),
        clock=round(chance.uniform(0, 90_000), 2) if container == "ts" else 0.0,
    )


def joined(chance: random.Random, path: Path) -> Truth:
    """Pieces with clocks of their own, put together without renumbering."""
    container = chance.choice(["ts", "mpg"])
    codec = chance.choice(PICTURES[container])
    reordered = chance.random() < 0.5
    pieces: list[Piece] = []
    for _ in range(chance.randint(1, 4)):
        rates = MPEG2_RATES if codec == "mpeg2video" else RATES
        # How far pictures are reordered is judged by the usual rate of the whole file.
        rate = chance.choice([rate for rate in rates if rate >= 10 or not reordered])
        # A few pictures whose clock is another's, after which the first goes on, are wrong stamps.
        seconds = max(10, round(chance.uniform(2.0, 5.0) * rate)) / rate
        while True:
            clock = round(chance.choice([0.0, chance.uniform(0, 60), chance.uniform(0, 95_000)]), 2)
            # Clocks that happen to go on where the piece before ended would be one stretch.
            if not pieces or not -25 < clock - pieces[-1].clock < pieces[-1].seconds + 25:
                break
        late = round(chance.choice([0.0, 0.0, chance.uniform(-0.3, 0.3)]), 2)
        pieces.append(Piece(float(seconds), rate, clock, late))
    media_cases.write(path.with_suffix(f".{container}"), pieces, codec, reordered=reordered)
    shown_s: list[float] = []
    start = lead = max(0.0, -pieces[0].sound_after)
    for piece in pieces:
        shown_s += [start + float(i / piece.fps) for i in range(piece.frames)]
        start += piece.seconds
    return Truth(
        f"{codec}, reordered={reordered}, {pieces}",
        shown_s,
        start,
        [(lead, start - 0.3)],
        # Pieces end with the longer of their streams.
        slack_s=0.12 * len(pieces) + (0.1 if container == "mpg" else 0.0),
    )


def even(chance: random.Random, path: Path) -> Truth:
    """One piece at one rate, its streams up to 15 s apart."""
    plan = any_plan(chance, list(PICTURES), RATES)
    write(path.with_suffix(f".{plan.container}"), plan)
    return plan.truth


def uneven(chance: random.Random, path: Path) -> Truth:
    """Pictures that come when they like."""
    plan = any_plan(chance, ["ts", "mkv", "mp4"], [Fraction(25)])
    steps = [chance.choice([0.02, 0.04, chance.uniform(0.02, 0.8)]) for _ in plan.shown_s[:60]]
    times = plan.shown_s[0] + np.cumsum([0.0, *steps, *[0.04] * AT_THE_END])
    plan = replace(plan, shown_s=tuple(np.round(times, 3).tolist()))
    write(path.with_suffix(f".{plan.container}"), plan)
    return plan.truth


def paused(chance: random.Random, path: Path) -> Truth:
    """Seconds in which no picture comes, or no sound."""
    plan = any_plan(chance, ["ts", "mkv", "mp4"], RATES)
    pause = chance.uniform(1.0, 9.0 - float(1 / plan.rate))
    if chance.random() < 0.5:
        at = chance.randrange(1, max(2, len(plan.shown_s) - AT_THE_END))
        moved = (time + (pause if i >= at else 0.0) for i, time in enumerate(plan.shown_s))
        plan = replace(plan, shown_s=tuple(moved))
    else:
        start = plan.heard_s[0] + chance.uniform(0.5, 4.0)
        end = max(plan.heard_s[1], start + pause + 1.0)
        plan = replace(plan, heard_s=(plan.heard_s[0], end), silent_s=(start, start + pause))
    write(path.with_suffix(f".{plan.container}"), plan)
    return plan.truth


def misdated(chance: random.Random, path: Path) -> Truth:
    """One presentation time that is wrong, of a picture or of sound."""
    plan = any_plan(chance, ["ts", "mkv"], [rate for rate in RATES if rate >= 10])
    of_picture = chance.random() < 0.5
    step = float(1 / plan.rate) if of_picture else PACKET_S
    # Less is what pictures may be reordered by, or the jitter that stamps are allowed.
    least = max(0.5 + 2 * step, 21 * step if of_picture else 0.0)
    near = chance.choice([-1, 1]) * chance.uniform(least, 12.0)
    by_s = chance.choice([near, near, chance.uniform(1, 12) * 3600])
    part = chance.random()
    path = path.with_suffix(f".{plan.container}")
    if plan.container == "ts":
        write(path, plan)
        media_cases.patch(path, lambda content: _misdate(content, of_picture, part, by_s))
    else:
        plan = replace(plan, clock=2 * DTS_AHEAD_S)

        def spoil(pictures: Packets, sounds: Packets) -> None:
            for packets in (pictures, sounds):
                packets[:] = [(at - DTS_AHEAD_S, shown, packet) for at, shown, packet in packets]
            chosen = pictures if of_picture else sounds
            number = _not_an_end(part, len(chosen))
            at, shown, packet = chosen[number]
            chosen[number] = (at, shown + by_s, packet)

        write(path, plan, spoil)
    what = "picture" if of_picture else "sound"
    built = f"{plan}; a stamp of the {what} at {part:.3f} of it is wrong by {by_s:.3f} s"
    # Of a picture whose own stamp is lost its place is known up to the reordering.
    slack_s = 3 * step if plan.reordered and of_picture else 0.0
    return replace(plan.truth, built=built, slack_s=slack_s)


def _not_an_end(part: float, count: int) -> int:
    """The number at a part of `count`: a wrong stamp at an end may be a pause, or a late start."""
    return min(max(1, int(part * count)), count - 2)


def _misdate(content: bytearray, of_picture: bool, part: float, by_s: float) -> None:
    """Moves one presentation time in a transport stream; its decoding time stays."""
    stream_id = 0xE0 if of_picture else 0xC0
    places = []
    for at in range(0, len(content), 188):
        body = at + 4 + (1 + content[at + 4] if content[at + 3] & 0x20 else 0)
        starts = content[at + 1] & 0x40 and content[body : body + 3] == b"\0\0\1"
        if starts and content[body + 3] == stream_id:
            places.append(body + 9)
    place = places[_not_an_end(part, len(places))]
    a, b, c, d, e = content[place : place + 5]
    pts = (a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1
    pts = (pts + round(by_s * TICKS)) % 2**33
    content[place : place + 5] = bytes(
        [
            a & 0xF0 | pts >> 29 & 0xE | 1,
            pts >> 22 & 0xFF,
            pts >> 14 & 0xFF | 1,
            pts >> 7 & 0xFF,
            pts << 1 & 0xFF | 1,
        ]
    )


def damaged(chance: random.Random, path: Path) -> Truth:
    """Noise in the place of some pictures."""
    plan = any_plan(chance, ["mkv", "mp4", "avi"], [rate for rate in RATES if rate >= 5])
    path = write(path.with_suffix(f".{plan.container}"), plan)
    with av.open(str(path)) as container:
        packets = [(bytes(p), p.is_keyframe) for p in container.demux(video=0) if p.size]
    count = len(packets)
    # The first pictures stay: without any, the file has nothing to be held against.
    first = chance.randrange(min(plan.gop, count - 1), count)
    behind = chance.choice([chance.randint(first + 1, count), count])

    def change(content: bytearray) -> None:
        at = 0
        for number, (data, _) in enumerate(packets):
            at = content.index(data, at)
            if first <= number < behind:
                # No start codes or markers, by which a decoder might find something in it.
                content[at : at + len(data)] = bytes(chance.choices(range(1, 255), k=len(data)))
            at += len(data)

    media_cases.patch(path, change)
    keys = [number for number, (_, is_key) in enumerate(packets) if is_key]
    # Pictures up to the next one that stands alone are made from those that are lost. Reordered
    # ones lie up to two away from their packets, and decoders give them back as late.
    around = 3 if plan.reordered else 0
    unsure = (
        max(0, first - around),
        min(count, around + min((key for key in keys if key >= behind), default=count)),
    )
    built = f"{plan}; noise in packets {first} to {behind - 1} of {count}"
    return replace(plan.truth, built=built, lost=(first, behind), unsure=unsure)


KINDS = [joined, joined, even, uneven, paused, misdated, misdated, damaged]


def build(seed: int, folder: Path) -> tuple[Path, Truth]:
    """Writes the file of a seed."""
    chance = random.Random(seed)
    kind = chance.choice(KINDS)
    truth = kind(chance, folder / f"{seed}")
    (path,) = folder.glob(f"{seed}.*")
    return path, replace(truth, built=f"{path.name} ({kind.__name__}): {truth.built}")
