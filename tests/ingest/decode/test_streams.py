"""Which streams of a file are shown and heard: programmes, tracks, pieces with other streams."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import av
import pytest
from av.stream import Disposition

from vidsim.ingest.decode.programmes import programmes

from ...helpers import media_cases
from ...helpers.decoded import check, heard, moments, run
from ...helpers.media_cases import Piece

SYNC = 0x47


def tracks(path: Path, flags: Sequence[Disposition]) -> Path:
    """Sounds of two seconds each, the second of which begins at 20."""
    with av.open(str(path), "w") as output:
        packets = []
        for number, flag in enumerate(flags):
            stream = media_cases.add_sound(output, "pcm_s16le")
            stream.disposition = flag
            packets += media_cases.encode_sound(stream, 20 * number, 2)
        for packet in packets:
            output.mux(packet)
    return path


NONE = Disposition(0)


@pytest.mark.parametrize(
    ("flags", "second"),
    [
        ((NONE, NONE), 0),
        ((Disposition.comment, NONE), 20),
        ((Disposition.visual_impaired, NONE), 20),
        ((Disposition.comment | Disposition.default, NONE), 0),
        ((Disposition.comment, Disposition.comment), 0),
    ],
)
def test_a_plain_track_is_heard_before_one_of_comments(
    tmp_path: Path, flags: Sequence[Disposition], second: int
) -> None:
    _, media, _ = run(tracks(tmp_path / "x.mkv", flags))
    assert heard(media) == [second, second + 1]


def programme(
    number: int, pids: Sequence[int], table: int, payload: Sequence[bytes]
) -> tuple[bytes, list[bytes]]:
    """What an association table says of a programme, and the packets of it."""
    listed = number.to_bytes(2, "big") + (0xE000 | table).to_bytes(2, "big")
    types = {0xE0: 0x10, 0xC0: 0x03}  # MPEG-4 pictures, MPEG sound
    streams = b"".join(
        bytes([types[0xE0 if pid % 2 == 0 else 0xC0]])
        + (0xE000 | pid).to_bytes(2, "big")
        + b"\xf0\0"
        for pid in pids
    )
    body = number.to_bytes(2, "big") + b"\xc1\0\0" + (0xE000 | pids[0]).to_bytes(2, "big")
    return listed, [_section(table, 0x02, body + b"\xf0\0" + streams), *payload]


def _section(pid: int, table_id: int, body: bytes) -> bytes:
    """One packet that holds a table."""
    section = bytes([table_id]) + (0xB000 | len(body) + 4).to_bytes(2, "big") + body
    section += _crc(section).to_bytes(4, "big")
    head = bytes([SYNC]) + (0x4000 | pid).to_bytes(2, "big") + b"\x10\0"
    return (head + section).ljust(188, b"\xff")


def _crc(data: bytes) -> int:
    """The checksum of MPEG's tables."""
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(7, -1, -1):
            top = crc >> 31 ^ byte >> bit & 1
            crc = crc << 1 & 0xFFFFFFFF ^ (0x04C11DB7 if top else 0)
    return crc


def elementary(path: Path, pids: dict[int, int]) -> list[bytes]:
    """The packets of picture and sound of a file, without tables, under other PIDs."""
    content = path.read_bytes()
    found = []
    for at in range(0, len(content), 188):
        packet = bytearray(content[at : at + 188])
        pid = (packet[1] & 0x1F) << 8 | packet[2]
        if pid in pids:
            packet[1], packet[2] = packet[1] & 0xE0 | pids[pid] >> 8, pids[pid] & 0xFF
            found.append(bytes(packet))
    return found


def multiplexed(path: Path, parts: Sequence[tuple[bytes, list[bytes]]]) -> Path:
    """A transport stream of programmes, their packets in turn."""
    table = _section(0, 0x00, b"\0\1\xc1\0\0" + b"".join(listed for listed, _ in parts))
    packets = [table, *(packets[0] for _, packets in parts)]
    timed = [
        (number / len(part), packet)
        for _, (_, *part) in parts
        for number, packet in enumerate(part)
    ]
    packets += [packet for _, packet in sorted(timed, key=lambda item: item[0])]
    path.write_bytes(b"".join(packets))
    return path


def test_of_two_programmes_picture_and_sound_are_of_one(tmp_path: Path) -> None:
    """The first is shown; its sound comes behind that of the other."""
    shown = elementary(media_cases.write(tmp_path / "a.ts", [Piece(6.0)]), {256: 256, 257: 517})
    other = elementary(media_cases.write(tmp_path / "b.ts", [Piece(6.0, 10)]), {256: 300, 257: 301})
    path = multiplexed(
        tmp_path / "x.ts",
        [programme(1, [256, 517], 0x1000, shown), programme(2, [300, 301], 0x1001, other)],
    )
    assert programmes(str(path)) == {frozenset({256, 517}), frozenset({300, 301})}
    _, media, _ = run(path)
    last = max(number for _, number in moments(media, 99))
    assert heard(media)[:5] == list(range(5))
    assert last > 100


def test_a_silent_programme_is_not_given_the_sound_of_another(tmp_path: Path) -> None:
    silent = elementary(
        media_cases.write(tmp_path / "a.ts", [Piece(4.0, has_sound=False)]), {256: 256}
    )
    radio = elementary(media_cases.write(tmp_path / "b.ts", [Piece(4.0)]), {257: 301})
    path = multiplexed(
        tmp_path / "x.ts",
        [programme(1, [256], 0x1000, silent), programme(2, [301], 0x1001, radio)],
    )
    opened, media, _ = run(path)
    assert opened.has_video
    assert not opened.has_audio
    assert [n for _, n in moments(media, 99)] == [6, 18, 31, 43, 56, 68, 81, 93]
    opened, media, _ = run(path, audio_track=1)
    assert heard(media)[:3] == [0, 1, 2]


def test_what_comes_after_a_large_hole_in_a_transport_stream_is_kept(tmp_path: Path) -> None:
    pieces = [Piece(8.0)]
    path = media_cases.write(tmp_path / "x.ts", pieces)

    def change(content: bytearray) -> None:
        half = len(content) // 2 // 188 * 188
        content[half:half] = bytes(300_000)

    _, media, _ = check(media_cases.patch(path, change), pieces)
    assert heard(media)[:8] == list(range(8))


def renumbered(folder: Path, pieces: Sequence[Piece], number: int) -> Path:
    """Two pieces, the second of which has other PIDs and perhaps is another programme."""
    whole = media_cases.write(folder / "whole.ts", pieces).read_bytes()
    first = len(media_cases.write(folder / "first.ts", pieces[:1]).read_bytes())
    (folder / "second.ts").write_bytes(whole[first:])
    second = elementary(folder / "second.ts", {256: 512, 257: 513})
    path = multiplexed(folder / "x.ts", [programme(number, [512, 513], 0x1002, second)])
    path.write_bytes(whole[:first] + path.read_bytes())
    return path


@pytest.mark.parametrize("number", [1, 7])
def test_streams_that_begin_late_are_told_where_they_are_not_read(
    tmp_path: Path, number: int
) -> None:
    """libav looks for streams only until it has those that the first tables name."""
    opened, media, lost = run(renumbered(tmp_path, [Piece(6.0), Piece(6.0)], number))
    assert opened.duration_s == pytest.approx(6.0, abs=0.1)
    assert heard(media)[:6] == list(range(6))
    wanted = r"the last [3-5]\d% of it hold other streams, which are not read"
    assert re.fullmatch(wanted, lost.missing)
