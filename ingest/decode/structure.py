"""What the packets of a video tell of how its pictures depend on each other.

Only coded headers are believed, not what a container says of them. A reader of a codec takes the
packets one by one; whatever it does not know for certain makes it say nothing at all, and then the
whole video is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

HEADER_BYTES = 64
"""Bytes of a coded unit in which its header is looked for; those read here take some 20."""


MOST_PARTS = 4096
"""Units, messages or markers of one packet that are looked at: hostile ones may have millions."""


@dataclass(frozen=True)
class Structure:
    """How the pictures of a video depend on each other, one picture per packet in file order.

    Attributes:
        begins: (n,) bool, True where decoding may begin: no picture from here on depends on one
            before, except those that are shown before this one (leading pictures).
        free: (n,) bool, True where no other picture depends on this one.
        shown: (n,) int64 that ascend in the order in which a decoder gives the pictures.
        sizes: (n,) int64 bytes of the packets.
        delay: Pictures that the decoder holds back so as to order them; None where their kinds
            alone tell their order.
    """

    begins: npt.NDArray[np.bool_]
    free: npt.NDArray[np.bool_]
    shown: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    delay: int | None = None


class UnknownError(ValueError):
    """A packet holds something that is not known for certain."""


class Reader(Protocol):
    """Reads the headers of one codec's packets, in file order."""

    def add(self, data: bytes) -> tuple[bool, bool, int]:
        """Read the next packet.

        Returns:
            Whether decoding may begin with it, whether no other picture depends on it, and its
            place in the order of presentation: numbers that ascend.

        Raises:
            UnknownError: It is damaged, or holds what is not known.
            IndexError: The same, where it ends too early.
        """

    def end(self, read: Structure) -> Structure:
        """Return what was read of all packets, corrected by what only all of them tell.

        Raises:
            UnknownError: It is not known for certain.
        """


class Bits:
    """Reads bits, the highest first."""

    def __init__(self, data: bytes) -> None:
        """Begin with the first bit of `data`."""
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        """Return the next `count` bits as a number.

        Raises:
            UnknownError: There are fewer.
        """
        self._left -= count
        if self._left < 0:
            raise UnknownError
        return self._value >> self._left & (1 << count) - 1

    def golomb(self) -> int:
        """Return the next number in Exp-Golomb code, ue(v) of ITU-T H.264, clause 9.1."""
        rest = self._value & (1 << self._left) - 1
        zeros = self._left - rest.bit_length()
        if not rest or zeros > 32:
            raise UnknownError
        self.take(zeros)
        return self.take(zeros + 1) - 1

    def signed_golomb(self) -> int:
        """Return the next signed number, se(v) of ITU-T H.264, clause 9.1.1."""
        number = self.golomb()
        return (number + 1) // 2 if number & 1 else -(number // 2)


def check(holds: object) -> None:
    """Raise UnknownError unless something holds."""
    if not holds:
        raise UnknownError
