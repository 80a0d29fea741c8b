"""TFRecord files: their framing, checked byte by byte.

A record is its length (8 bytes), a checksum of the length (4), the data, and a checksum of
the data (4), all little-endian; checksums are masked CRC-32C (tensorflow/tsl,
``lib/io/record_writer.h`` and ``lib/hash/crc32c.h``). TensorFlow itself is not needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import google_crc32c

_HEAD = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")

_MASK_DELTA = 0xA282EAD8
"""Added to a rotated checksum (``kMaskDelta`` of crc32c.h)."""


@dataclass(frozen=True)
class Record:
    """The data of an intact record, and its offset in the file."""

    offset: int
    data: bytes


@dataclass(frozen=True)
class DamagedRecord:
    """A damaged record: its offset in the file, and the fault in a few words."""

    offset: int
    reason: str


def read_records(path: Path) -> Iterator[Record | DamagedRecord]:
    """Yield the records of a file one at a time, in order.

    A record with damaged data is skipped alone. After a damaged length, or in a truncated file,
    the start of the next one is unknown, so the damage is the last item.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        while (offset := file.tell()) < size:
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                yield DamagedRecord(offset, "the file is cut short")
                return
            length, checksum = _HEAD.unpack(head)
            if masked_crc(head[:8]) != checksum:
                yield DamagedRecord(offset, "its length is damaged, so what follows is lost")
                return
            if length > size - file.tell() - _CHECKSUM.size:  # before reading that much
                yield DamagedRecord(offset, "the file is cut short")
                return
            data = file.read(length)
            (checksum,) = _CHECKSUM.unpack(file.read(_CHECKSUM.size))
            if masked_crc(data) == checksum:
                yield Record(offset, data)
            else:
                yield DamagedRecord(offset, "its data fail their checksum")


def masked_crc(data: bytes) -> int:
    """Return the CRC-32C of `data`, rotated right by 15 bits and shifted by a constant."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF
