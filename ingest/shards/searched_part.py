"""The searched rows of one backbone in one shard."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ...schemas.embedding import FloatArray
from ...schemas.video import row_id
from .layout import SearchedRows
from .opened import OpenShard
from .row_filter import RowFilter


@dataclass(frozen=True)
class SearchedPart:
    """The searched rows of one backbone in one shard.

    Attributes:
        shard: The shard.
        rows: Its searched rows.
        owner: (n,) place of each row's video in the shard, ascending.
        live: (n,) whether no newer shard holds the video too; None where that is so for all.
        columns: Scalar fields asked for before, by name.
    """

    shard: OpenShard
    rows: SearchedRows
    owner: npt.NDArray[np.int32]
    live: npt.NDArray[np.bool_] | None
    columns: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def id(self, row: int) -> str:
        """Return the key of a row, as Milvus has it."""
        segment = int(self.shard.numbers[self.rows.of_row[row]])
        return row_id(self.video_id(row), segment, 0)

    def video_id(self, row: int) -> str:
        """Return the id of a row's video."""
        return self.shard.videos[int(self.owner[row])].video_id

    def column(self, name: str) -> npt.NDArray[Any]:
        """Return a scalar field of all rows, as `RowFilter.mask` takes it."""
        if name not in self.columns:
            if name == "id":
                found = np.array([self.id(i) for i in range(len(self.owner))], object)
            elif name == "segment":
                found = self.shard.numbers[self.rows.of_row].astype(np.int64)
            elif name in ("start_s", "end_s"):
                found = getattr(self.rows, name).astype(np.float64)
            else:
                of_video = np.array([getattr(v, name) for v in self.shard.videos], object)
                found = of_video[self.owner]
            self.columns[name] = found
        return self.columns[name]

    def mask(self, wanted: RowFilter | None) -> npt.NDArray[np.bool_] | None:
        """Return which rows count and match; None for all."""
        if wanted is None or not len(self.owner):
            return self.live
        found = wanted.mask({name: self.column(name) for name in wanted.fields or {"segment"}})
        return found if self.live is None else found & self.live


def nearest(
    part: SearchedPart, queries: FloatArray, limit: int, wanted: RowFilter | None
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Return the scores and places of the rows nearest to each query: (nq, up to limit) each."""
    mask = part.mask(wanted)
    rows = np.arange(len(part.owner)) if mask is None else np.flatnonzero(mask)
    vectors = part.rows.vectors if mask is None else part.rows.vectors[rows]
    scores = queries @ vectors.T
    count = min(limit, len(rows))
    if count < len(rows):
        best = np.argpartition(-scores, count - 1, axis=1)[:, :count] if count else scores[:, :0]
        return np.take_along_axis(scores, best.astype(int), axis=1), rows[best.astype(int)]
    return scores, np.broadcast_to(rows, scores.shape)


def video_means(
    parts: Iterable[SearchedPart], libraries: Collection[str] = ()
) -> tuple[list[str], list[FloatArray]]:
    """Return the mean of each video's searched rows, of those that have some.

    Args:
        parts: Of one backbone.
        libraries: Whose videos; none for all.

    Returns:
        Ids of the n videos, and their means part by part, together (n, dim) float32.
    """
    ids: list[str] = []
    means: list[FloatArray] = []
    for part in parts:
        if libraries and part.shard.path.parent.name not in libraries:
            continue
        rows = np.arange(len(part.owner)) if part.live is None else np.flatnonzero(part.live)
        first = np.flatnonzero(np.diff(part.owner[rows], prepend=-1))
        if len(first):
            sums = np.add.reduceat(part.rows.vectors[rows], first, axis=0)
            counts = np.diff(np.append(first, len(rows)))[:, None]
            means.append(np.asarray(sums / counts, np.float32))
            ids += [part.video_id(row) for row in rows[first].tolist()]
    return ids, means
