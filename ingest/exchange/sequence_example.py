"""TensorFlow's SequenceExample messages, parsed without TensorFlow.

Names, numbers and types of the fields are those of ``tensorflow/core/example/feature.proto``
and ``example.proto``. They are declared in a separate package and pool, so that
TensorFlow's can be loaded beside them. On the wire a map is a list of entries with a key and a
value, and it is declared as such.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import DecodeError

_PACKAGE = "vidsim"

_MESSAGES = {
    # Fields are numbered from 1.
    "BytesList": (("value", "bytes", "repeated"),),
    "FloatList": (("value", "float", "repeated"),),
    "Int64List": (("value", "int64", "repeated"),),
    "Feature": (
        ("bytes_list", "BytesList", "optional"),
        ("float_list", "FloatList", "optional"),
        ("int64_list", "Int64List", "optional"),
    ),
    "FeatureEntry": (("key", "string", "optional"), ("value", "Feature", "optional")),
    "Features": (("feature", "FeatureEntry", "repeated"),),
    "FeatureList": (("feature", "Feature", "repeated"),),
    "FeatureListEntry": (("key", "string", "optional"), ("value", "FeatureList", "optional")),
    "FeatureLists": (("feature_list", "FeatureListEntry", "repeated"),),
    "SequenceExample": (
        ("context", "Features", "optional"),
        ("feature_lists", "FeatureLists", "optional"),
    ),
}
"""Fields of each message: name, type, and whether it is repeated."""


@dataclass(frozen=True)
class Feature:
    """One feature; of the three kinds at most one holds values."""

    of_bytes: tuple[bytes, ...] = ()
    floats: tuple[float, ...] = ()
    integers: tuple[int, ...] = ()


@dataclass(frozen=True)
class SequenceExample:
    """Features by name, of the whole sequence (`context`) and of each step."""

    context: dict[str, Feature]
    steps: dict[str, tuple[Feature, ...]]


def parse_sequence_example(data: bytes) -> SequenceExample:
    """Read a serialised ``tensorflow.SequenceExample``.

    Raises:
        ValueError: `data` is not one.
    """
    try:
        message = _SEQUENCE_EXAMPLE.FromString(data)
    except DecodeError as error:
        raise ValueError("it is no SequenceExample") from error
    return SequenceExample(
        context={entry.key: _feature(entry.value) for entry in message.context.feature},
        steps={
            entry.key: tuple(_feature(feature) for feature in entry.value.feature)
            for entry in message.feature_lists.feature_list
        },
    )


def _feature(message: Any) -> Feature:
    return Feature(
        of_bytes=tuple(message.bytes_list.value),
        floats=tuple(message.float_list.value),
        integers=tuple(message.int64_list.value),
    )


def _declare() -> Any:
    """Return the class of the message that `_MESSAGES` declares last."""
    file = FileDescriptorProto(name="vidsim/example.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind, label) in enumerate(fields, start=1):
            declared = message.field.add(name=field, number=number)
            declared.label = FieldDescriptorProto.Label.Value(f"LABEL_{label.upper()}")
            if kind in _MESSAGES:
                declared.type = FieldDescriptorProto.TYPE_MESSAGE
                declared.type_name = f".{_PACKAGE}.{kind}"
            else:
                declared.type = FieldDescriptorProto.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


_SEQUENCE_EXAMPLE = _declare()
