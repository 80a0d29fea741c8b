"""The rows of a Milvus Lite collection, as the arrays that Lite holds.

Lite's own search and query loop over all rows in Python, twice, and convert each returned row to
Python numbers; numpy and Arrow do the same on the same arrays in a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...schemas.embedding import FloatArray

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class _Part:
    """One of Lite's segments: a file that never changes.

    Attributes:
        table: Its columns.
        vectors: (n, dim) float32, Lite's own array.
        live: (n,) bool: neither deleted nor overwritten later.
    """

    table: pa.Table
    vectors: FloatArray
    live: npt.NDArray[np.bool_]


class SealedRows:
    """The live rows of a collection that had no unsealed rows when this was created."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        """Wrap parts; `sealed_rows` calls this."""
        self._parts = parts

    def nearest(
        self, queries: FloatArray, limit: int, fields: Sequence[str]
    ) -> list[list[dict[str, Any]]]:
        """Return the rows nearest to each query by inner product, best first.

        Args:
            queries: (nq, dim) float32.
            limit: Most rows per query.
            fields: Fields to return.

        Returns:
            Per query, dictionaries in the form of pymilvus: ``id``, ``distance``, ``entity``.
        """
        found: list[list[dict[str, Any]]] = [[] for _ in queries]
        for part in self._parts:
            scores = np.where(part.live, queries @ part.vectors.T, -np.inf)
            count = min(limit, int(part.live.sum()))
            best = np.argpartition(-scores, count - 1, axis=1)[:, :count] if count else None
            if best is None:
                continue
            for hits, row_scores, rows in zip(found, scores, np.sort(best, axis=1)):
                values = _values(part.table, ("id", *fields), rows)
                hits += [
                    {"id": of[0], "distance": float(score), "entity": dict(zip(fields, of[1:]))}
                    for score, of in zip(row_scores[rows], zip(*values))
                ]
        return [sorted(hits, key=lambda hit: -hit["distance"])[:limit] for hits in found]

    def having(
        self, field: str, values: Collection[str], fields: Sequence[str]
    ) -> tuple[list[list[Any]], FloatArray]:
        """Return the rows whose `field` is one of `values`: their columns, and vectors (n, dim)."""
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = pa.array(sorted(values), pa.string())
        columns: list[list[Any]] = [[] for _ in fields]
        vectors = []
        for part in self._parts:
            among = pc.is_in(part.table.column(field), value_set=wanted)
            rows = np.flatnonzero(among.to_numpy() & part.live)
            for column, found in zip(columns, _values(part.table, fields, rows)):
                column += found
            vectors.append(part.vectors[rows])
        return columns, np.concatenate(vectors) if vectors else np.empty((0, 0), np.float32)


def sealed_rows(collection: Any) -> SealedRows | None:
    """Return the rows of a ``milvus_lite.Collection``; None where some are unsealed."""
    from milvus_lite.search.bitmap import build_valid_mask

    if collection._memtable.size():
        return None
    segments, tombstones = collection._read_snapshot()
    keys = [key for segment in segments for key in segment.pks]
    if len(tombstones) or len(set(keys)) < len(keys):
        versions = np.concatenate([segment.seqs for segment in segments])
        live = build_valid_mask(keys, versions, tombstones)
    else:
        live = np.ones(len(keys), bool)
    ends = np.cumsum([segment.num_rows for segment in segments])
    return SealedRows(
        [
            _Part(segment.table, segment.vectors, live[end - segment.num_rows : end])
            for segment, end in zip(segments, ends)
            if segment.num_rows
        ]
    )


def _values(table: pa.Table, fields: Sequence[str], rows: npt.NDArray[np.int64]) -> list[list[Any]]:
    return [table.column(field).take(rows).to_pylist() for field in fields]
