"""Files that somebody made to hurt whoever opens them, byte by byte, as no encoder writes them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

PIXELS = bytes(range(192))
"""A picture of 8x8."""

_MATRIX = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30)


@dataclass(frozen=True)
class Track:
    """A track of a QuickTime file: every sample is the same bytes of it.

    Attributes:
        format: What it is coded in: ``raw `` pictures, ``sowt`` sound of 8 kHz.
        samples: How many.
        size: Bytes of each.
        ticks: How long each lasts.
        scale: Ticks per second.
        width: Of the picture.
        height: Of the picture.
        at: Where the samples lie in the file, whose data begin at 28.
        elsewhere: A file that is said to hold the data; "" for this one.
    """

    format: bytes = b"raw "
    samples: int = 1
    size: int = len(PIXELS)
    ticks: int = 40
    scale: int = 1000
    width: int = 8
    height: int = 8
    at: int = 28
    elsewhere: str = ""


def box(name: bytes, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return struct.pack(">I4s", 8 + len(data), name) + data


def quicktime(path: Path, tracks: list[Track], data: bytes = PIXELS) -> Path:
    """Writes a file whose data begin at byte 28."""
    head = box(b"ftyp", b"qt  ", bytes(4), b"qt  ") + box(b"mdat", data)
    times = struct.pack(">IIII", 0, 0, 1000, 1000)
    header = box(
        b"mvhd",
        bytes(4),
        times,
        struct.pack(">IH", 65536, 256),
        bytes(10),
        _MATRIX,
        bytes(24),
        struct.pack(">I", len(tracks) + 1),
    )
    path.write_bytes(head + box(b"moov", header, *(_track(n + 1, t) for n, t in enumerate(tracks))))
    return path


def _track(number: int, track: Track) -> bytes:
    lasts = (track.samples * track.ticks) & 0xFFFFFFFF
    sound = track.format == b"sowt"
    start = bytes(6) + struct.pack(">H", 1)
    if sound:
        entry = box(b"sowt", start, bytes(8), struct.pack(">HHHHI", 1, 16, 0, 0, 8000 << 16))
    else:
        sides = struct.pack(">HH", track.width, track.height)
        rest = (
            struct.pack(">IIIH", 72 << 16, 72 << 16, 0, 1) + bytes(32) + struct.pack(">Hh", 24, -1)
        )
        entry = box(track.format, start, bytes(16), sides, rest)
    link = box(b"url ", b"\0\0\0\1")
    if track.elsewhere:
        link = box(b"url ", bytes(4), track.elsewhere.encode() + b"\0")
    table = box(
        b"stbl",
        box(b"stsd", bytes(4), struct.pack(">I", 1), entry),
        box(b"stts", bytes(4), struct.pack(">III", 1, track.samples, track.ticks)),
        box(b"stsc", bytes(4), struct.pack(">IIII", 1, 1, 1, 1)),
        box(b"stsz", bytes(4), struct.pack(">II", track.size, track.samples)),
        box(
            b"stco",
            bytes(4),
            struct.pack(">I", track.samples),
            struct.pack(">I", track.at) * track.samples,
        ),
    )
    kind = box(b"smhd", bytes(8)) if sound else box(b"vmhd", bytes(12))
    data = box(b"dinf", box(b"dref", bytes(4), struct.pack(">I", 1), link))
    media = box(
        b"mdia",
        box(b"mdhd", bytes(4), struct.pack(">IIIIHH", 0, 0, track.scale, lasts, 0, 0)),
        box(b"hdlr", bytes(8), b"soun" if sound else b"vide", bytes(12), b"x\0"),
        box(b"minf", kind, data, table),
    )
    sides = struct.pack(">II", track.width << 16, track.height << 16)
    about = struct.pack(">IIIIII", 7, 0, 0, number, 0, lasts)
    return box(b"trak", box(b"tkhd", about, bytes(16), _MATRIX, sides), media)


def transport_stream(path: Path, programmes: int, streams: int) -> Path:
    """Writes tables of a transport stream that name many streams, none of which has a packet."""
    pids = [0x20 + n for n in range(programmes)]
    entries = b"".join(struct.pack(">HH", n + 1, 0xE000 | pid) for n, pid in enumerate(pids))
    packets = [_section(0, 0, b"\0\1\xc1\0\0" + entries)]
    pid = 0x20 + programmes
    for number, table in enumerate(pids):
        body = struct.pack(">HBBBHH", number + 1, 0xC1, 0, 0, 0xE000 | pid, 0xF000)
        for _ in range(streams):
            body += struct.pack(">BHH", 0x1B, 0xE000 | (pid & 0x1FFF), 0xF000)
            pid += 1
        packets.append(_section(table, 2, body))
    path.write_bytes(b"".join(packets) * 20)
    return path


def _section(pid: int, table: int, body: bytes) -> bytes:
    """A section in as many packets of 188 bytes as it takes."""
    section = struct.pack(">BH", table, 0xB000 | (len(body) + 4)) + body
    section += struct.pack(">I", _crc(section))
    data, found, first = b"\0" + section, b"", True
    while data:
        piece, data = data[:184], data[184:]
        head = struct.pack(">BHB", 0x47, (0x4000 if first else 0) | pid, 0x10)
        found, first = found + head + piece.ljust(184, b"\xff"), False
    return found


def _crc(data: bytes) -> int:
    """CRC-32 of MPEG-2 (ISO 13818-1, annex A)."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value
