"""The Milvus Lite of a home, in this process, through its public interface.

Other programs of Milvus look into it, and no query of vidsim waits for it: an embedded home is
searched in its shards. So it holds the searched level alone, and has no index.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ...schemas.backbones import Backbone
from ...schemas.collections import LITE, METRIC, Index, Level, levels
from ...schemas.embedding import FloatArray, index_dim
from ...schemas.errors import StoreError
from ...schemas.rows import SCALARS, Hit, StoredRow, stored_row
from ..shards.home import Place
from ..system.unreadable import hindrance
from ..system.unwritable import may_all_be_written, readable_copy
from .filters import is_in
from .lite_database import Database, one_line
from .records import Record, batches

NO_INDEX = (
    "An embedded home is searched exactly, from its shards, and needs no index; a Milvus server "
    "does: set VIDSIM_URI."
)

_SEAL_BYTES = 8 * 2**20
"""Bytes of vectors that Lite holds before it is told to seal them: to do that it makes a Python
number, of 32 bytes, of every four."""

_ROWS_PER_CALL = 128
"""Rows handed to Lite at once, which takes their vectors as lists of Python numbers."""

_IDS_PER_FILTER = 1000
_PAGE_ROWS = 4096

_Answer = TypeVar("_Answer")


@contextmanager
def open_lite(place: Place, writing: bool, latest: bool) -> Iterator[Lite]:
    """Open the Milvus Lite under the home of `place` at its first use, and close it afterwards.

    Args:
        place: Its home.
        writing: Whether rows will be written. If not, a read-only home suffices: whatever Lite
            writes by itself is discarded.
        latest: Whether collections are gone through one after another, to write or to compare, so
            that only one needs to be in memory.

    Raises:
        StoreError: GPU indexes were requested; or, here or at the first use, another process holds
            it, permissions forbid reading or writing, or it is damaged.
    """
    if writing and place.index == "gpu":
        raise StoreError(
            "Milvus Lite has no GPU indexes; set VIDSIM_URI to a Milvus server with a GPU, "
            "or use --index auto."
        )
    path = place.home / "milvus.db"
    if not writing and path.exists() and not may_all_be_written(path):
        with readable_copy(path) as copy, _closing(Lite(copy, path, writing, latest)) as lite:
            yield lite
        return
    with _closing(Lite(path, path, writing, latest)) as lite:
        yield lite


@contextmanager
def _closing(lite: Lite) -> Iterator[Lite]:
    try:
        yield lite
    except BaseException:
        with suppress(StoreError):  # the first failure says more
            lite.close()
        raise
    lite.close()


class Lite:
    """The rows of Milvus Lite; created by `open_lite`.

    All calls run in one thread of its own, so that Ctrl-C interrupts the caller, not a write.
    """

    embedded = True
    target = LITE

    def __init__(self, directory: Path, path: Path, writing: bool, one_at_a_time: bool) -> None:
        """Use a folder of Lite, as `Database` does."""
        self._database = Database(directory, path, writing, one_at_a_time)
        self._thread = ThreadPoolExecutor(1, "vidsim-milvus-lite")
        self._unsealed: dict[str, int] = {}
        self._listed: dict[str, dict[str, dict[str, StoredRow]]] = {}

    def close(self) -> None:
        """Finish the running call, seal what was written, and release the folder.

        Raises:
            StoreError: Rows could not be sealed.
        """
        try:
            self._thread.submit(self._database.close).result()
        except Exception as error:
            raise StoreError(
                f"What was written last to {self._database.path} is not in its files yet "
                f"({one_line(error)}); mend that, and the next command does it."
            ) from error
        finally:
            self._thread.shutdown()

    def _call(self, action: str, function: Callable[..., _Answer], *args: object) -> _Answer:
        """Run a function in Lite's thread.

        Raises:
            StoreError: It failed. Lite passes on whatever its parts raise.
        """
        try:
            return self._thread.submit(function, *args).result()
        except StoreError:
            raise
        except Exception as error:
            found = hindrance(error)
            if found is None or isinstance(error, FileNotFoundError):
                said = f"({one_line(error)}); run 'vidsim reindex' if this stays."
                raise StoreError(f"Milvus could not {action} {said}") from error
            said = found.sentence(f"a file of {self._database.path}")
            raise StoreError(f"Milvus could not {action}: {said}") from error

    @property
    def notes(self) -> list[str]:
        """Messages for the user: what was damaged."""
        return self._database.notes

    def levels(self, backbone: Backbone) -> tuple[Level, ...]:
        """Return the searched level alone: rows that are only looked up come from the shards."""
        return levels(backbone)[-1:]

    def collections(self) -> list[str]:
        """Return the names of all collections."""
        return self._call("list collections", self._database.names)

    def has(self, name: str) -> bool:
        """Return whether a collection exists; a damaged one is deleted where rows are written."""
        return self._call(f"look for {name}", self._database.has, name)

    def create(self, name: str, backbone: Backbone, level: Level) -> None:
        """Create a collection if it is missing; Lite keeps no descriptions."""

        def create() -> None:
            if not self._database.has(name):
                self._database.create(name, index_dim(backbone))

        self._call(f"create {name}", create)

    def drop(self, name: str) -> None:
        """Delete a collection and its rows."""
        self._listed.pop(name, None)
        self._call(f"drop {name}", self._database.drop, name)

    def upsert(self, name: str, records: Sequence[Record]) -> None:
        """Write rows, replacing those of the same id."""
        self._call(f"write {len(records)} rows to {name}", self._upsert, name, records)

    def _upsert(self, name: str, records: Sequence[Record]) -> None:
        collection = self._database.collection(name)
        for part in batches(records, _ROWS_PER_CALL):
            collection.upsert([{**r, "vector": r["vector"].tolist()} for r in part])
            size = self._unsealed.get(name, 0) + sum(r["vector"].nbytes for r in part)
            if size >= _SEAL_BYTES:
                collection.flush()
                size = 0
            self._unsealed[name] = size
        for row in map(stored_row, records) if name in self._listed else ():
            self._listed[name].setdefault(row.video_id, {})[row.id] = row

    def delete(self, name: str, field: str, values: Collection[str]) -> None:
        """Delete the rows whose `field` is one of `values`."""
        self._call(f"delete from {name}", self._delete, name, field, values)

    def _delete(self, name: str, field: str, values: Collection[str]) -> None:
        collection = self._database.collection(name)
        for batch in batches(values, _IDS_PER_FILTER):
            ids = batch if field == "id" else self._ids(name, is_in(field, batch))
            collection.delete(ids)
            for row_id in ids if name in self._listed else ():
                self._listed[name].get(row_id.rpartition("#")[0], {}).pop(row_id, None)

    def flush(self, name: str) -> None:
        """Seal what was written."""

        def flush() -> None:
            self._database.collection(name).flush()
            self._unsealed[name] = 0

        self._call(f"flush {name}", flush)

    def count(self, name: str, expression: str, strong: bool) -> int:
        """Count the rows that match a filter, "" for all; Lite has no older answers."""

        def count() -> int:
            if expression:
                return len(self._ids(name, expression))
            return int(self._database.collection(name).num_entities)

        return self._call(f"count {name}", count)

    def scan(self, name: str, expression: str) -> Iterator[list[StoredRow]]:
        """Yield pages of the rows that match a filter, in order of their ids."""
        found = self._call(f"list {name}", self._query, name, expression, SCALARS)
        yield from batches(sorted(map(stored_row, found), key=lambda row: row.id), _PAGE_ROWS)

    def rows_of(self, name: str, video_ids: Collection[str]) -> list[StoredRow]:
        """Return all rows of some videos, from a list that is made at the first call.

        Lite goes through all rows for each filter.
        """

        def rows_of() -> list[StoredRow]:
            if not (self._database.is_open(name) and name in self._listed):
                self._listed = {name: {}}
                for row in map(stored_row, self._query(name, "", SCALARS)):
                    self._listed[name].setdefault(row.video_id, {})[row.id] = row
            known = self._listed[name]
            return [row for video_id in video_ids for row in known.get(video_id, {}).values()]

        return self._call(f"list {name}", rows_of)

    def fetch(self, name: str, expression: str, limit: int) -> list[Record]:
        """Return at most `limit` rows that match a filter, with their vectors, in any order."""
        fields = (*SCALARS, "vector")
        return self._call(f"read {name}", self._query, name, expression, fields, limit)

    def fetch_ids(self, name: str, ids: Sequence[str]) -> list[Record]:
        """Return the rows with these ids, with their vectors, in any order."""

        def get() -> list[Record]:
            collection = self._database.collection(name)
            return list(collection.get(list(ids), output_fields=[*SCALARS, "vector"]))

        return self._call(f"read {name}", get)

    def search(
        self, name: str, queries: FloatArray, limit: int, expression: str, probes: int | None
    ) -> list[list[Hit]]:
        """Return the rows nearest to each query, best first."""

        def search() -> list[list[dict[str, Any]]]:
            found = self._database.collection(name).search(
                np.asarray(queries, np.float32).tolist(),
                top_k=limit,
                metric_type=METRIC,
                expr=expression or None,
                output_fields=["video_id"],
            )
            return list(found)

        return [
            [Hit(hit["id"], hit["entity"]["video_id"], float(hit["distance"])) for hit in hits]
            for hits in self._call(f"search {name}", search)
        ]

    def index(self, name: str) -> Index:
        """Return the exact index, of which Lite keeps nothing."""
        return Index(LITE.exact)

    def rebuild(self, name: str, index: Index) -> None:
        """Raise StoreError: nothing here is searched by an index."""
        raise StoreError(NO_INDEX)

    def keep_probes(self, name: str, probes: int) -> None:
        """Raise StoreError, as `rebuild`."""
        raise StoreError(NO_INDEX)

    def _query(
        self, name: str, expression: str, fields: Sequence[str], limit: int | None = None
    ) -> list[Record]:
        collection = self._database.collection(name)
        return list(collection.query(expression, output_fields=list(fields), limit=limit))

    def _ids(self, name: str, expression: str) -> list[str]:
        return [row["id"] for row in self._query(name, expression, ["id"])]
