"""Read from H.264 (ITU-T H.264) which pictures depend on which."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .nal_units import Unchanging, length_bytes, messages, plain, units
from .structure import Bits, Structure, UnknownError, check

_HIGH = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
"""Profiles whose sequence parameters say how chroma is coded (clause 7.3.2.1.1)."""

_MESSAGES = frozenset({0, 1, 3, 4, 5, 6, 137, 144})
"""Supplemental information of a picture alone, or that nothing here depends on: buffering and
timing, filler, user data, recovery points, mastering display and content light level."""

_MOST_BYTES = 4096
"""Of parameters that are read; they take some 20, and a few hundred with all lists of scaling."""

_USER_DATA = 5
_ENCODER = b"x264"
"""FFmpeg remembers which x264 wrote a stream, to mend what old ones did wrong."""

_PERIOD = 1 << 34
"""More than any picture order count, and its negative, within a coded video sequence."""


@dataclass(frozen=True)
class _Sequence:
    """What a sequence parameter set says (clause 7.4.2.1.1)."""

    frame_bits: int
    order_type: int
    order_bits: int
    delay: int | None


class H264:
    """Reads H.264; implements `Reader`.

    Only streams of whole frames whose decoding begins anew at IDR pictures are known.
    """

    def __init__(self, configuration: bytes, delay: int) -> None:
        """Read what the container says before the packets.

        Args:
            configuration: The container's `extradata`.
            delay: How far pictures are reordered in FFmpeg's guess, where the stream does not say.
        """
        self._guess = delay
        self._length = length_bytes(configuration)
        self._said = Unchanging()
        self._sequences: dict[int, _Sequence] = {}
        self._pictures: dict[int, tuple[int, bool]] = {}
        self._active: int | None = None
        self._frame = -1
        self._order = 0
        self._first = 0
        self._period = 0
        if self._length:
            for unit in _configured(configuration):
                self._parameters(unit)
        elif configuration:
            for unit in units(configuration, 0):
                if unit[0] & 31 in (7, 8):
                    self._parameters(unit)

    def add(self, data: bytes) -> tuple[bool, bool, int]:
        """Read the next packet, see `Reader`."""
        first: bytes | None = None
        for unit in units(data, self._length):
            check(not unit[0] & 0x80)
            kind = unit[0] & 31
            if kind in (1, 5):
                if first is None:
                    first = unit
                else:  # another slice of the picture, not another picture
                    check(unit[0] & 31 == first[0] & 31 and not unit[1] & 0x80)
                    check(bool(unit[0] & 0x60) == bool(first[0] & 0x60))
            elif kind == 6:
                self._supplement(unit)
            elif kind in (7, 8):
                check(first is None)
                self._parameters(unit)
            else:
                check(kind in (9, 12))  # a delimiter, filler
        if first is None:
            raise UnknownError
        self._said.closed = True
        return self._slice(first)

    def end(self, read: Structure) -> Structure:
        """Return the structure with how far pictures are reordered, see `Reader`."""
        assert self._active is not None
        delay = self._sequences[self._active].delay
        return replace(read, delay=self._guess if delay is None else delay)

    def _supplement(self, unit: bytes) -> None:
        for kind, content in messages(unit):
            check(kind in _MESSAGES)
            if kind == _USER_DATA and _ENCODER in content:
                self._said.is_new("encoder", content)

    def _parameters(self, unit: bytes) -> None:
        check(len(unit) <= _MOST_BYTES)
        bits = Bits(plain(unit, None)[1:])
        if unit[0] & 31 == 7:
            profile, _, _ = bits.take(8), bits.take(8), bits.take(8)
            number = bits.golomb()
            if self._said.is_new((7, number), unit):
                self._sequences[number] = _sequence(bits, profile)
        else:
            number = bits.golomb()
            if self._said.is_new((8, number), unit):
                of = bits.golomb()
                bits.take(1)  # the entropy code
                self._pictures[number] = of, bool(bits.take(1))

    def _slice(self, unit: bytes) -> tuple[bool, bool, int]:
        """Read a slice header as far as the picture order count (clause 7.3.3)."""
        is_reference, begins = bool(unit[0] & 0x60), unit[0] & 31 == 5
        bits = Bits(plain(unit)[1:])
        check(bits.golomb() == 0)  # the first slice of a picture begins at its corner
        kind = bits.golomb()
        check(kind < 10 and (not begins or (kind % 5 == 2 and is_reference)))
        parameters = self._pictures.get(bits.golomb())
        if parameters is None:
            raise UnknownError
        number, says_bottom = parameters
        check(number in self._sequences and self._active in (None, number))
        self._active = number
        of = self._sequences[number]
        frame = bits.take(of.frame_bits)
        if begins:
            check(frame == 0)
            bits.golomb()
            self._period, self._order = self._period + 1, 0
            self._frame = 0
        check(self._period and (begins or frame == (self._frame % (1 << of.frame_bits))))
        if of.order_type == 2:
            # In the order of decoding: pictures without dependants do not follow each other.
            order = self._order if begins else self._order + 1
            self._order = order
        else:
            size = 1 << of.order_bits
            low = bits.take(of.order_bits)
            before = self._order
            order = (before & -size) + low
            if order < before and before - order >= size // 2:
                order += size
            elif order > before and order - before > size // 2:
                order -= size
            if is_reference:
                self._order = order
            if says_bottom:
                order += min(0, bits.signed_golomb())
        if begins:
            self._first = order
        check(begins or order > self._first)  # none is shown before the one it begins with
        if is_reference:
            self._frame = frame + 1
        return begins, not is_reference, self._period * _PERIOD + order


def _configured(configuration: bytes) -> list[bytes]:
    """Return the parameter sets of an avcC box (ISO/IEC 14496-15, clause 5.3.3.1)."""
    found, at = [], 5
    for mask in (31, 255):
        count, at = configuration[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(configuration[at : at + 2], "big")
            found.append(configuration[at + 2 : at + 2 + size])
            at += 2 + size
    check(at <= len(configuration))
    return found


def _sequence(bits: Bits, profile: int) -> _Sequence:
    """Read a sequence parameter set behind its number (clause 7.3.2.1.1)."""
    if profile in _HIGH:
        chroma = bits.golomb()
        if chroma == 3:
            check(not bits.take(1))  # planes that are coded apart
        bits.golomb(), bits.golomb(), bits.take(1)
        if bits.take(1):
            for number in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _pass_list(bits, 16 if number < 6 else 64)
    frame_bits = bits.golomb() + 4
    order_type = bits.golomb()
    check(order_type in (0, 2) and frame_bits <= 16)
    order_bits = bits.golomb() + 4 if order_type == 0 else 0
    check(order_bits <= 16)
    bits.golomb()
    check(not bits.take(1))  # frame numbers may have gaps
    bits.golomb(), bits.golomb()
    check(bits.take(1))  # no fields
    bits.take(1)
    if bits.take(1):
        [bits.golomb() for _ in range(4)]
    delay = _delay(bits) if bits.take(1) else None
    return _Sequence(frame_bits, order_type, order_bits, 0 if order_type == 2 else delay)


def _pass_list(bits: Bits, size: int) -> None:
    """Read over a list of scaling factors (clause 7.3.2.1.1.1)."""
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed_golomb()) % 256
        last = following or last


def _delay(bits: Bits) -> int | None:
    """Read usability information (annex E.1.1) for how far pictures are reordered, if it says."""
    if bits.take(1) and bits.take(8) == 255:
        bits.take(32)
    if bits.take(1):
        bits.take(1)
    if bits.take(1):
        bits.take(4)
        if bits.take(1):
            bits.take(24)
    if bits.take(1):
        bits.golomb(), bits.golomb()
    if bits.take(1):
        bits.take(65)
    hypothetical = [_pass_decoder(bits) for _ in range(2) if bits.take(1)]
    if hypothetical:
        bits.take(1)
    # Whether a frame counts as interlaced may follow from the one before.
    check(not bits.take(1))
    if not bits.take(1):
        return None
    bits.take(1)
    for _ in range(4):
        bits.golomb()
    return bits.golomb()


def _pass_decoder(bits: Bits) -> bool:
    """Read over the parameters of a hypothetical decoder (annex E.1.2)."""
    count = bits.golomb() + 1
    check(count <= 32)
    bits.take(8)
    for _ in range(count):
        bits.golomb(), bits.golomb(), bits.take(1)
    bits.take(20)
    return True
