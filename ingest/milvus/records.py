"""Conversion of embedded videos to Milvus records, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from ...schemas.backbones import Backbone
from ...schemas.collections import Level
from ...schemas.embedding import EmbeddedVideo, Rows, segment_means, to_index
from ...schemas.video import row_id

_Item = TypeVar("_Item")

Record = dict[str, Any]
"""A row or segment as it is sent to Milvus: the fields of `StoredRow` and ``vector``."""


def records_of(backbone: Backbone, item: EmbeddedVideo, level: Level) -> list[Record]:
    """Return the records of one video at one level, in order of segment and row."""
    video = item.video
    records: list[Record] = []
    for segment, embedding in zip(item.segments, item.embeddings):
        rows = embedding.rows.get(backbone.name)
        if rows is None or not len(rows.vectors):
            continue
        if level == "segments":
            rows = _whole_segment(backbone, rows)
        for i, vector in enumerate(to_index(backbone, rows.vectors)):
            records.append(
                {
                    "id": row_id(video.video_id, segment.index, i),
                    "video_id": video.video_id,
                    "library": video.library,
                    "path": video.path,
                    "label": video.label,
                    "segment": segment.index,
                    "start_s": float(rows.start_s[i]),
                    "end_s": float(rows.end_s[i]),
                    "fingerprint": video.fingerprint,
                    "vector": vector,
                }
            )
    return records


def _whole_segment(backbone: Backbone, rows: Rows) -> Rows:
    """Average a segment's rows into one, from the start of the first to the end of the last."""
    return Rows(
        segment_means(backbone, rows.vectors, np.zeros(1, np.int64)),
        rows.start_s.min(keepdims=True),
        rows.end_s.max(keepdims=True),
    )


class Batch:
    """Records to be sent together, and their approximate size in bytes."""

    def __init__(self) -> None:
        """Start empty."""
        self.records: list[Record] = []
        self.size = 0

    def add(self, record: Record) -> None:
        """Add a record."""
        self.records.append(record)
        texts = sum(len(value.encode()) for value in record.values() if isinstance(value, str))
        self.size += texts + record["vector"].nbytes

    def take(self) -> list[Record]:
        """Return and clear all records."""
        records, self.records, self.size = self.records, [], 0
        return records


def batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Split `items` into lists of `size`; the last may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
