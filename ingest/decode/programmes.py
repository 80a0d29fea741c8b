"""Read the programmes of an MPEG transport stream: which of its streams belong together."""

from __future__ import annotations

from collections.abc import Iterator

from .media_file import open_media

_READ_BYTES = 1 << 20
"""Programme tables repeat several times per second, so the first MiB has them all."""

_SYNC = 0x47
_SIZES = (188, 192, 204)
"""Bytes per packet: plain, with a leading time code (Blu-ray), with a trailing checksum."""

_IN_A_ROW = 5


def programmes(path: str) -> set[frozenset[int]]:
    """Return the PIDs of each programme's streams; empty if the tables are not found."""
    with open_media(path) as file:
        data = file.read(_READ_BYTES)
    tables: dict[int, set[frozenset[int]]] = {}
    sections: dict[int, bytes] = {}
    for pid, begins, payload in _packets(data):
        if pid != 0 and pid not in tables:
            continue
        if begins:
            payload = payload[1 + payload[0] :] if payload else b""
            sections[pid] = b""
        if pid not in sections:
            continue
        sections[pid] += payload
        section = sections[pid]
        if len(section) < 3 or len(section) < 3 + _length(section, 1):
            continue
        del sections[pid]
        if pid == 0 and section[0] == 0x00:
            for table in _programme_tables(section):
                tables.setdefault(table, set())
        elif section[0] == 0x02:
            tables.setdefault(pid, set()).add(_streams(section))
    return set().union(*tables.values())


def _length(data: bytes, at: int) -> int:
    """Read a 12-bit length."""
    return (data[at] & 0x0F) << 8 | data[at + 1]


def _packets(data: bytes) -> Iterator[tuple[int, bool, bytes]]:
    """Yield each packet's PID, whether a section begins in it, and its payload."""
    at, size = 0, 0
    while at < len(data):
        if not size or data[at] != _SYNC:
            size = _size(data, at)
            if not size:
                at = data.find(_SYNC, at + 1)
                if at < 0:
                    return
                continue
        packet = data[at : at + 188]
        at += size
        if len(packet) < 188:
            return
        body = 4 + (1 + packet[4] if packet[3] & 0x20 else 0)
        payload = packet[body:] if packet[3] & 0x10 else b""
        yield (packet[1] & 0x1F) << 8 | packet[2], bool(packet[1] & 0x40), payload


def _size(data: bytes, at: int) -> int:
    """Return the size of the packets that begin here; 0 if none does."""
    for size in _SIZES:
        starts = data[at : at + size * _IN_A_ROW : size]
        if len(starts) > 1 and set(starts) == {_SYNC}:
            return size
    return 0


def _programme_tables(section: bytes) -> Iterator[int]:
    """Yield the PIDs of the programme map tables that a programme association table names."""
    for at in range(8, 3 + _length(section, 1) - 7, 4):
        if section[at] or section[at + 1]:  # programme 0 is the network's own table
            yield (section[at + 2] & 0x1F) << 8 | section[at + 3]


def _streams(section: bytes) -> frozenset[int]:
    """Return the PIDs of the streams that a programme map table names."""
    end = 3 + _length(section, 1) - 4
    found, at = set(), 12 + (_length(section, 10) if len(section) > 11 else 0)
    while at + 5 <= end:
        found.add((section[at + 1] & 0x1F) << 8 | section[at + 2])
        at += 5 + _length(section, at + 3)
    return frozenset(found)
