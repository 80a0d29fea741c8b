"""TFRecord files: their framing, checked byte by byte, and the SequenceExamples in them.

A record is its length (8 bytes), a checksum of the length (4), the data, and a checksum of
the data (4), all little-endian; checksums are masked CRC-32C (tensorflow/tsl,
``lib/io/record_writer.h`` and ``lib/hash/crc32c.h``). TensorFlow itself is not needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

_HEAD = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")

_MASK_DELTA = 0xA282EAD8
"""Added to a rotated checksum (``kMaskDelta`` of crc32c.h)."""


@dataclass(frozen=True)
class Record:
    """The data of a record that is whole, and the byte of the file at which it begins."""

    offset: int
    data: bytes


@dataclass(frozen=True)
class DamagedRecord:
    """What is wrong with the record at this byte of the file, in a few words."""

    offset: int
    reason: str


def read_records(path: Path) -> Iterator[Record | DamagedRecord]:
    """Yields the records of a file one at a time, in order.

    One whose data are damaged costs itself; where the length is, or the file is cut short,
    nothing says where the next one begins, so the damage is the last that is yielded.

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
            if length > size - file.tell() - _CHECKSUM.size:  # before so much is read
                yield DamagedRecord(offset, "the file is cut short")
                return
            data = file.read(length)
            (checksum,) = _CHECKSUM.unpack(file.read(_CHECKSUM.size))
            if masked_crc(data) == checksum:
                yield Record(offset, data)
            else:
                yield DamagedRecord(offset, "its data fail their checksum")


def masked_crc(data: bytes) -> int:
    """CRC-32C of `data`, rotated right by 15 bits and shifted by a constant."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def parse_sequence_example(data: bytes) -> Any:
    """The protobuf message ``tensorflow.SequenceExample`` in `data`.

    Raises:
        google.protobuf.message.DecodeError: It holds none.
    """
    return _SEQUENCE_EXAMPLE.FromString(data)


def _map_field(name: str, number: int, value: str) -> str:
    """A ``map<string, value>`` field; protobuf wants its entry declared beside it."""
    entry = "".join(part.capitalize() for part in name.split("_")) + "Entry"
    return f"""
      field {{
        name: "{name}" number: {number} label: LABEL_REPEATED
        type: TYPE_MESSAGE type_name: "{entry}"
      }}
      nested_type {{
        name: "{entry}"
        options {{ map_entry: true }}
        field {{ name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }}
        field {{
          name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_MESSAGE type_name: "{value}"
        }}
      }}"""


def _list_message(name: str, kind: str) -> str:
    return f"""
    message_type {{
      name: "{name}"
      field {{ name: "value" number: 1 label: LABEL_REPEATED type: {kind} }}
    }}"""


def _field(name: str, number: int, message: str, label: str = "OPTIONAL") -> str:
    return f"""
      field {{
        name: "{name}" number: {number} label: LABEL_{label}
        type: TYPE_MESSAGE type_name: "{message}"
      }}"""


# Names and numbers are those of tensorflow/core/example/{feature,example}.proto, in a pool of
# their own so that TensorFlow's may be loaded beside them.
_DECLARATION = f"""
    name: "vidsim/example.proto" package: "vidsim" syntax: "proto3"
    {_list_message("BytesList", "TYPE_BYTES")}
    {_list_message("FloatList", "TYPE_FLOAT")}
    {_list_message("Int64List", "TYPE_INT64")}
    message_type {{
      name: "Feature"
      {_field("bytes_list", 1, "BytesList")}
      {_field("float_list", 2, "FloatList")}
      {_field("int64_list", 3, "Int64List")}
    }}
    message_type {{ name: "Features" {_map_field("feature", 1, "Feature")} }}
    message_type {{ name: "FeatureList" {_field("feature", 1, "Feature", "REPEATED")} }}
    message_type {{ name: "FeatureLists" {_map_field("feature_list", 1, "FeatureList")} }}
    message_type {{
      name: "SequenceExample"
      {_field("context", 1, "Features")}
      {_field("feature_lists", 2, "FeatureLists")}
    }}
"""


def _message_class() -> Any:
    declared = text_format.Parse(_DECLARATION, descriptor_pb2.FileDescriptorProto())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(declared)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("vidsim.SequenceExample"))


_SEQUENCE_EXAMPLE = _message_class()
