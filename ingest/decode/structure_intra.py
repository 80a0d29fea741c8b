"""Read codecs whose pictures all stand alone; nothing said in one may hold for others."""

from __future__ import annotations

from .nal_units import Unchanging
from .structure import MOST_PARTS, Structure, check

_TABLES = frozenset({0xC4, 0xDB})
"""Huffman and quantisation tables, with which each picture must come itself."""

_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3})
_SCAN = 0xDA


class _Alone:
    """What they have in common."""

    def __init__(self) -> None:
        """Begin."""
        self._said = Unchanging()
        self._count = 0

    def add(self, data: bytes) -> tuple[bool, bool, int]:
        """Read the next packet, see `Reader`."""
        self._check(data)
        self._said.closed = True
        self._count += 1
        return True, True, self._count

    def _check(self, data: bytes) -> None:
        """Raise UnknownError where a picture could change how others decode."""
        raise NotImplementedError

    def end(self, read: Structure) -> Structure:
        """Return the structure, see `Reader`."""
        return read


class Mjpeg(_Alone):
    """Reads Motion JPEG (ITU-T T.81); implements `Reader`. Only whole frames are known."""

    def __init__(self, height: int) -> None:
        """Begin; `height` is the container's, of which fields have half each."""
        super().__init__()
        self._height = height

    def _check(self, data: bytes) -> None:
        check(data.startswith(b"\xff\xd8") and data.rstrip(b"\0").endswith(b"\xff\xd9"))
        at = 2
        markers: list[int] = []
        same: list[bytes] = []
        while not markers or markers[-1] != _SCAN:
            check(data[at] == 255)
            marker, size = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
            check(0xC0 <= marker < 0xFF and size >= 2)
            markers.append(marker)
            check(len(markers) <= MOST_PARTS)
            if marker in _TABLES:
                # Their values differ from picture to picture, which tables there are must not.
                same.append(_tables(marker, data[at + 4 : at + 2 + size]))
            else:
                same.append(data[at : at + 2 + size])
            if marker in _FRAMES:
                check(int.from_bytes(data[at + 5 : at + 7], "big") == self._height)
            check(marker != 0xE0 or data[at + 4 : at + 8] != b"AVI1")  # it may tell of fields
            at += 2 + size
        self._said.is_new("headers", b"|".join(same))


def _tables(marker: int, content: bytes) -> bytes:
    """Return which tables a segment holds."""
    found, at = bytearray([marker]), 0
    while at < len(content):
        found.append(content[at])
        if marker == 0xDB:
            at += 129 if content[at] & 0xF0 else 65
        else:
            at += 17 + sum(content[at + 1 : at + 17])
    check(at == len(content))
    return bytes(found)


class ProRes(_Alone):
    """Reads Apple ProRes (SMPTE RDD 36); implements `Reader`."""

    def _check(self, data: bytes) -> None:
        check(int.from_bytes(data[:4], "big") == len(data) and data[4:8] == b"icpf")
        self._said.is_new("header", data[8:26])


class DnxHd(_Alone):
    """Reads Avid DNxHD and DNxHR (SMPTE ST 2019-1); implements `Reader`."""

    def _check(self, data: bytes) -> None:
        check(len(data) > 640)
        self._said.is_new("header", data[:8] + data[24:44])
