"""Rows and segments as Milvus stores and returns them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from .collections import FIELDS

SCALARS = tuple(field.name for field in FIELDS)
"""Fields of a record beside its vector."""


@dataclass(frozen=True)
class StoredRow:
    """A row or a segment as Milvus returns it, without its vector."""

    id: str
    video_id: str
    library: str
    path: str
    label: str
    segment: int
    start_s: float
    end_s: float
    fingerprint: str


def stored_row(entity: Mapping[str, Any]) -> StoredRow:
    """Convert an entity or `Record` to a row without its vector."""
    return StoredRow(**{name: entity[name] for name in SCALARS})


class Hit(NamedTuple):
    """A search hit: its id, its video's id, and the inner product."""

    id: str
    video_id: str
    score: float
