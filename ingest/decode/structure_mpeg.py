"""Read from MPEG-1 and MPEG-2 which pictures depend on which.

Both know pictures that stand alone, pictures predicted from the last of those two kinds, and
pictures between the last two of them (B), on which no other depends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .nal_units import Unchanging
from .structure import Bits, Structure, UnknownError, check

_START = b"\0\0\1"

_ALONE, _BETWEEN = 1, 3
"""Kinds of pictures (ISO/IEC 13818-2, table 6-12)."""

_TMPGENC = b"TMPGEXS"
"""User data by which FFmpeg knows that all that follows of MPEG-1 must be decoded otherwise."""


def _parts(data: bytes, most: int) -> Iterator[tuple[int, bytes]]:
    """Yield start codes and what follows each, of a packet that begins with one.

    Args:
        data: The packet.
        most: Bytes within which a start code is looked for.
    """
    check(data.startswith(_START))
    at = 0
    while at >= 0:
        following = data.find(_START, at + 3, most)
        check(len(data) > at + 4)
        yield data[at + 3], data[at + 4 : following if following >= 0 else len(data)]
        at = following


class _Anchored:
    """Notes pictures that others depend on, and those between them."""

    def __init__(self) -> None:
        self._said = Unchanging()
        self._anchors = 0
        self._kinds: list[int] = []
        self._orders = True

    def _add(self, kind: int, begins: bool) -> tuple[bool, bool, int]:
        """Note a picture, and return what `Reader.add` does; its place is told in the end."""
        self._said.closed = True
        check(kind != _BETWEEN or self._orders)
        # A decoder leaves out pictures between two of which it has only one.
        check(self._anchors >= 2 if kind == _BETWEEN else self._anchors or begins)
        self._anchors += kind != _BETWEEN
        self._kinds.append(kind)
        return begins, kind == _BETWEEN, 0

    def end(self, read: Structure) -> Structure:
        """Return the structure with the order of its pictures, see `Reader`."""
        kinds = np.array(self._kinds, np.int64)
        number = np.arange(len(kinds), dtype=np.int64)
        anchors = np.flatnonzero(kinds != _BETWEEN)
        # Each is given when the next one comes, behind the pictures between them.
        shown = 2 * number
        shown[anchors] = 2 * np.append(anchors[1:], len(kinds)) - 1
        return replace(read, shown=shown)


class Mpeg2(_Anchored):
    """Reads MPEG-1 and MPEG-2 (ITU-T H.262); implements `Reader`. Only whole frames are known."""

    def __init__(self, is_second: bool) -> None:
        """Begin; `is_second` for MPEG-2."""
        super().__init__()
        self._is_second = is_second
        self._ended = False

    def add(self, data: bytes) -> tuple[bool, bool, int]:
        """Read the next packet, see `Reader`."""
        check(not self._ended)
        kind, says_all, is_frame = 0, False, not self._is_second
        for code, part in _parts(data, len(data)):
            if 1 <= code <= 0xAF:  # slices follow to the end
                break
            if code == 0:
                check(not kind)
                kind = Bits(part[:2]).take(13) & 7
                check(1 <= kind <= 3)
            elif code == 0xB3:
                says_all = True
                self._said.is_new("sequence", part.rstrip(b"\0"))
            elif code == 0xB5:
                extension = part[0] >> 4
                if extension in (1, 2):
                    self._said.is_new(("extension", extension), part.rstrip(b"\0"))
                    self._orders &= extension != 1 or not part[5] & 0x80
                elif extension == 8:
                    is_frame = part[2] & 3 == 3
                else:
                    check(extension in (4, 7))  # a copyright, what of the picture is shown
            elif code == 0xB8:
                check(not part[3] & 0x20)  # pictures whose references were cut away
            else:
                check(code == 0xB2 and _TMPGENC not in part)  # user data
        else:
            raise UnknownError
        check(kind and is_frame and data.count(b"\0\0\1\0") == 1)
        self._ended = data.rstrip(b"\0").endswith(b"\0\0\1\xb7")
        return self._add(kind, kind == _ALONE and says_all)
