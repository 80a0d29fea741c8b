"""Small files some of whose stamps are wrong: all that is in them stays in its place."""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction
from pathlib import Path

import av
import pytest

from ...helpers import media_cases, random_files
from ...helpers.decoded import check, heard, run
from ...helpers.media_cases import Piece
from ...helpers.random_files import Packets, Plan

PICTURE, SOUND = True, False
CODECS = {"ts": "mpeg4", "mpg": "mpeg2video", "flv": "libx264"}
EIGHT_S = [Piece(8.0)]


@pytest.mark.parametrize(
    ("container", "kind", "numbers", "by_s"),
    [
        ("ts", SOUND, {0}, 0.8),
        ("ts", SOUND, {0}, 6.0),
        ("ts", PICTURE, {0, 1, 2}, 500.0),
        ("ts", PICTURE, range(12), 6.0),
        ("mpg", PICTURE, {0}, 5.0),
        ("mpg", SOUND, {0}, 5.0),
        ("flv", PICTURE, {0}, 6.0),
        ("flv", SOUND, {0}, 6.0),
        ("flv", SOUND, {0}, 2000.0),
        ("flv", PICTURE, {0}, 500.0),
        ("flv", PICTURE, range(80, 92), 30.0),
        ("flv", PICTURE, {199}, 1000.0),
    ],
)
def test_wrong_stamps_move_nothing(
    tmp_path: Path, container: str, kind: bool, numbers: Collection[int], by_s: float
) -> None:
    sound = "aac" if container == "flv" else "mp2"
    path = media_cases.write(tmp_path / f"x.{container}", EIGHT_S, CODECS[container], sound)
    _, media, _ = check(media_cases.restamp(path, kind, numbers, by_s), EIGHT_S)
    assert heard(media)[:8] == list(range(8))


@pytest.mark.parametrize(
    ("kind", "first", "behind", "by_s"),
    [
        (PICTURE, 0, 1, 30.0),
        (SOUND, 0, 1, 3.0),
        (SOUND, 0, 1, 30.0),
        (PICTURE, 100, 101, 30.0),
        (SOUND, 60, 61, 30.0),
        (PICTURE, 100, 112, 30.0),
        (PICTURE, 100, 112, -10.0),
        (SOUND, 40, 60, 30.0),
        (PICTURE, 199, 200, 30.0),
        (SOUND, -2, None, 30.0),
    ],
)
def test_wrong_stamps_move_nothing_in_matroska(
    tmp_path: Path, kind: bool, first: int, behind: int | None, by_s: float
) -> None:
    def spoil(pictures: Packets, sounds: Packets) -> None:
        for packets in (pictures, sounds):
            packets[:] = [(at - random_files.DTS_AHEAD_S, shown, p) for at, shown, p in packets]
        chosen = pictures if kind else sounds
        chosen[first:behind] = [(at, shown + by_s, p) for at, shown, p in chosen[first:behind]]

    shown_s = tuple(i / 25 for i in range(200))
    clock = 2 * random_files.DTS_AHEAD_S
    plan = Plan("mkv", "libx264", "aac", Fraction(25), 12, False, shown_s, (0.0, 8.0), clock=clock)
    _, media, _ = check(random_files.write(tmp_path / "x.mkv", plan, spoil), EIGHT_S)
    assert heard(media)[:8] == list(range(8))


@pytest.mark.parametrize(("kind", "wrong", "wanted"), [(SOUND, 100_000, 8), (PICTURE, 5000, 8)])
def test_a_packet_that_says_that_it_lasts_for_hours_does_not(
    tmp_path: Path, kind: bool, wrong: float, wanted: float
) -> None:
    path = tmp_path / "long.mkv"
    source = media_cases.write(tmp_path / "source.mkv", EIGHT_S, "libx264", "aac")
    with av.open(str(source)) as container, av.open(str(path), "w") as output:
        streams = [output.add_stream_from_template(stream) for stream in container.streams]
        packets = [packet for packet in container.demux() if packet.size]
        last = [p for p in packets if (p.stream.type == "video") == kind][-1]
        last.duration = round(wrong / last.time_base)
        for packet in packets:
            packet.stream = streams[packet.stream_index]
            output.mux(packet)
    opened, _, lost = run(path)
    assert opened.duration_s == pytest.approx(wanted, abs=0.1)
    assert not lost.missing, "the header counts it, but nothing is missing"


@pytest.mark.parametrize("container", ["ts", "mpg"])
@pytest.mark.parametrize("sound_after", [-0.3, 0.0, 2.0])
@pytest.mark.parametrize("clocks", [(10, 2), (10, 8), (10, 500), (10, 500, 498), (10, 500, 2)])
def test_sound_that_begins_in_a_later_piece_goes_with_its_picture(
    tmp_path: Path, container: str, sound_after: float, clocks: tuple[float, ...]
) -> None:
    *silent, last = clocks
    pieces = [
        *(Piece(6.0, clock=clock, has_sound=False) for clock in silent),
        Piece(6.0, clock=last, sound_after=sound_after),
    ]
    path = media_cases.write(tmp_path / f"x.{container}", pieces, CODECS[container])
    _, media, _ = check(path, pieces)
    start = 6 * len(silent)
    found = {}
    for part in media:
        if part.audio is not None:
            first = round(part.segment.start_s)
            found |= dict(enumerate(heard([part]), first))
    for second in range(start + 5):
        # It is written as late as its pitch says, or a little before.
        begun = second >= start + max(0.0, sound_after)
        before = second == start - 1 and sound_after < 0
        allowed = {second, second + 1} if begun and sound_after < 0 else {second}
        assert found.get(second) in (allowed if begun else {None, start} if before else {None})


def test_a_picture_that_begins_in_a_later_piece_goes_with_its_sound(tmp_path: Path) -> None:
    """Of program streams, whose sound has the same number whether there is a picture or not."""
    pieces = [Piece(6.0, 0, clock=10), Piece(6.0, clock=2)]
    path = media_cases.write(tmp_path / "x.mpg", pieces, "mpeg2video")
    opened, media, _ = run(path)
    assert opened.duration_s == pytest.approx(12.0, abs=0.2)
    assert heard(media)[:11] == list(range(11))
    assert all(part.frames for part in media)
