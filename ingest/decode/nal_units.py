"""Split packets of H.264 into their units, and keep what was said for all pictures."""

from __future__ import annotations

from collections.abc import Iterator

from .structure import HEADER_BYTES, MOST_PARTS, UnknownError, check

_START = b"\0\0\1"


def length_bytes(configuration: bytes) -> int:
    """Return how many bytes the length before a unit takes, 0 where start codes divide units.

    Args:
        configuration: What the container says before the packets (`extradata`).
    """
    if not configuration or configuration.startswith((_START, b"\0" + _START)):
        return 0
    check(configuration[0] == 1)
    return (configuration[4] & 3) + 1


def units(data: bytes, length: int) -> Iterator[bytes]:
    """Yield the units of a packet, without the zeros behind them.

    Raises:
        UnknownError: Their lengths do not add up to the packet's, or no unit is there.
    """
    if not length:
        yield from _between_start_codes(data)
        return
    at, end, count = 0, len(data), 0
    while at < end:
        size = int.from_bytes(data[at : at + length], "big")
        at += length
        count += 1
        # A length of 1 could be a start code: FFmpeg then guesses.
        if size < 2 or at + size > end or count > MOST_PARTS:
            raise UnknownError
        yield data[at : at + size]
        at += size


def _between_start_codes(data: bytes) -> Iterator[bytes]:
    at, count = data.find(_START), 0
    check(at >= 0 and not data[:at].strip(b"\0"))
    while at >= 0:
        count += 1
        check(count <= MOST_PARTS)
        following = data.find(_START, at + 3)
        unit = data[at + 3 : following if following >= 0 else len(data)].rstrip(b"\0")
        check(len(unit) > 1)
        yield unit
        at = following


def plain(unit: bytes, most: int | None = HEADER_BYTES) -> bytes:
    """Return the first bytes of a unit (None: all) without those that keep start codes out."""
    return unit[:most].replace(b"\0\0\3", b"\0\0")


def messages(unit: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of the messages of a unit of supplemental information (SEI)."""
    data = plain(unit, None)
    at, end, count = 1, len(data), 0
    while end and not data[end - 1]:
        end -= 1
    while at < end - 1:  # the last byte holds the stop bit
        found = []
        for _ in range(2):
            number = 0
            while data[at] == 255:
                number, at = number + 255, at + 1
            found.append(number + data[at])
            at += 1
        kind, size = found
        count += 1
        check(at + size <= end and count <= MOST_PARTS)
        yield kind, data[at : at + size]
        at += size


class Unchanging:
    """Things that are said for all pictures; they may be said again, and not changed."""

    def __init__(self) -> None:
        """Begin with nothing said."""
        self._said: dict[object, bytes] = {}
        self.closed = False

    def is_new(self, what: object, content: bytes) -> bool:
        """Return whether something was not said before.

        Raises:
            UnknownError: Something else was; or it is new, and `closed` is set.
        """
        if what in self._said:
            check(self._said[what] == content)
            return False
        check(not self.closed)
        self._said[what] = content
        return True
