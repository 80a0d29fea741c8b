"""A collection of Milvus Lite that is written to in little memory, however large it is.

Lite's own reads all of its files when it is opened, keeps 128 MiB unsealed, turns these into
Python's numbers to seal them (some 2.5 GB for a moment), and merges files of up to 200,000 rows.
This one reads vectors when they are first asked for, lets go of them when it is flushed, and
seals and merges as Arrow, in small files. The files are Lite's own in every respect. What still
grows are keys where rows were deleted, some 200 MB a million for a moment.

It overrides what Lite keeps to itself, so pyproject holds Lite to the version this was written
for; what must stay the same is in tests/ingest/milvus/test_lite.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from milvus_lite import Collection, CollectionNotFoundError, MilvusLite
from milvus_lite.constants import COMPACTION_MIN_FILES_PER_BUCKET, DEFAULT_PARTITION
from milvus_lite.db import SCHEMA_FILENAME
from milvus_lite.engine.compaction import CompactionManager
from milvus_lite.engine.operation import InsertOp
from milvus_lite.schema.persistence import load_schema
from milvus_lite.search.bitmap import build_valid_mask
from milvus_lite.search.filter.eval import evaluate
from milvus_lite.storage.manifest import Manifest
from milvus_lite.storage.memtable import MemTable
from milvus_lite.storage.wal import _cleanup_old_wals

from ...schemas.collections import LITE_SEGMENT_BYTES
from ...schemas.embedding import FloatArray

if TYPE_CHECKING:
    from milvus_lite.schema.types import CollectionSchema
    from milvus_lite.storage.delta_index import DeltaIndex
    from milvus_lite.storage.segment import Segment


def open_collection(lite: MilvusLite, name: str) -> BoundedCollection:
    """Opens a collection of an open Lite, which does not know of it: close it before `lite`.

    Raises:
        CollectionNotFoundError: There is none of this name.
        Exception: Whatever else Lite's parts raise.
    """
    if not lite.has_collection(name):
        raise CollectionNotFoundError(f"collection {name!r} does not exist")
    folder = Path(lite._collection_dir(name))
    _, schema = load_schema(str(folder / SCHEMA_FILENAME))
    return BoundedCollection(name, str(folder), schema)


class BoundedCollection(Collection):
    """A collection of which the vectors are in memory only while they are read.

    Not made for partitions, dynamic fields or functions, which vidsim's collections do not have.
    """

    _opened = False
    _next_seq: int
    _memtable: MemTable

    def __init__(self, name: str, folder: str, schema: CollectionSchema) -> None:
        """Opens the collection in `folder`.

        Raises:
            Exception: Whatever Lite's parts raise.
        """
        self._unread = True
        self._deleted = False
        _finish_sealing(Path(folder))
        super().__init__(name, folder, schema)
        self._compaction_mgr = _SmallFiles(folder, schema)
        self._opened = True

    def keep(self, columns: Mapping[str, Sequence[Any]], vectors: FloatArray) -> None:
        """Writes whole rows, in the place of those of the same key.

        Args:
            columns: All fields but the vector, each with n values.
            vectors: (n, dim) float32.
        """
        count, dim = vectors.shape
        first, self._next_seq = self._next_seq, self._next_seq + count
        flat = pa.array(np.ascontiguousarray(vectors, np.float32).reshape(-1))
        arrays = {
            **columns,
            "_seq": np.arange(first, first + count, dtype=np.uint64),
            "_partition": [DEFAULT_PARTITION] * count,
            "vector": pa.FixedSizeListArray.from_arrays(flat, dim),
        }
        batch = pa.RecordBatch.from_pydict(arrays, schema=self._wal_data_schema)
        self._apply(InsertOp(partition=DEFAULT_PARTITION, batch=batch))
        if self._should_flush():
            self._trigger_flush()

    def remove(self, expression: str) -> None:
        """Deletes the rows that a filter matches, of fields that the key of a row determines."""
        keys = self.scalars([], expression).column(self.pk_field).to_pylist()
        self._deleted |= bool(keys)
        self.delete(keys)

    def flush(self) -> None:
        """Seals what is not sealed, and lets go of the vectors that were read."""
        super().flush()
        with self._maintenance_lock:
            self._segment_cache.clear()
            self._unread = True

    def load(self) -> None:
        """Reads or builds the index, if there is one."""
        if self._index_specs and self._load_state != "loaded":
            self._read()
        super().load()

    def create_index(self, field: str, parameters: dict[str, Any]) -> None:
        """Notes an index, and builds it if the collection is loaded."""
        if self._load_state == "loaded":
            self._read()
        super().create_index(field, parameters)

    def scalars(self, names: Sequence[str], expression: str = "") -> pa.Table:
        """Columns of the live rows that a filter matches, in any order; reads no vector.

        Args:
            names: Fields, the vector not among them.
            expression: Milvus filter; "" for all rows.
        """
        compiled = self._compile_filter(expression) if expression else None
        wanted = (self.pk_field, "_seq", *names, *(compiled.fields if compiled else ()))
        columns = list(dict.fromkeys(wanted))
        with self._maintenance_lock:
            files = [
                Path(self.data_dir, "partitions", partition, name)
                for partition, listed in self._manifest.get_all_data_files().items()
                for name in listed
            ]
            parts = [pq.read_table(path, columns=columns) for path in files]
            tombstones = self._delta_index.frozen_copy()
        parts.append(self._memtable.to_arrow_table().select(columns))
        table = pa.concat_tables(parts)
        return self.matching(table.filter(self._live(table, tombstones)), expression)

    def matching(self, table: pa.Table, expression: str) -> pa.Table:
        """The rows of `table` that a filter matches, all for ""."""
        if not expression:
            return table
        return table.filter(evaluate(self._compile_filter(expression), table))

    @property
    def scalar_fields(self) -> list[str]:
        """Names of the fields, the vector's not among them."""
        return [field.name for field in self.schema.fields if field.name != self._vector_name]

    def _live(self, table: pa.Table, tombstones: DeltaIndex) -> pa.BooleanArray:
        """Which rows are neither deleted nor written again later."""
        keys = table.column(self.pk_field)
        deleted = len(tombstones) or self._memtable.delete_index_snapshot()
        if not deleted and pc.count_distinct(keys).as_py() == table.num_rows:
            return pa.array(np.ones(table.num_rows, bool))
        versions = table.column("_seq").to_numpy()
        mask = build_valid_mask(keys.to_pylist(), versions, tombstones, memtable=self._memtable)
        return pa.array(mask)

    def _read(self) -> None:
        """Reads the files that are not in memory, and forgets those that are no more."""
        with self._maintenance_lock:
            if not self._unread:
                return
            super()._refresh_segment_cache()
            self._unread = False
            try:
                self._ensure_loaded_segments_indexed()
            except BaseException:
                self._unread = True
                raise

    # What Lite calls, in the place of its own.

    def _refresh_segment_cache(self) -> None:
        self._unread = True  # the files are others now

    def _segments_snapshot(self) -> tuple[Segment, ...]:
        with self._maintenance_lock:
            self._read()
            return tuple(super()._segments_snapshot())

    def _read_snapshot(self) -> tuple[tuple[Segment, ...], DeltaIndex]:
        with self._maintenance_lock:  # both of one moment: a merge drops tombstones
            self._read()
            segments, tombstones = super()._read_snapshot()
            return segments, tombstones

    def _ensure_loaded_segments_indexed(self) -> int:
        return 0 if self._unread else super()._ensure_loaded_segments_indexed()

    def _schedule_bg_maintenance(self) -> None:
        if not self._opened:  # nothing is merged just because somebody looks
            return
        if self._deleted:  # what was deleted is sealed now
            self._deleted, self._compaction_mgr.outdated = False, True
        super()._schedule_bg_maintenance()

    def _should_flush(self) -> bool:
        full = self._memtable.estimated_memory_bytes >= LITE_SEGMENT_BYTES
        return bool(full or super()._should_flush())

    def _trigger_flush(self) -> None:
        memtable = _ArrowMemTable(self._schema)
        memtable.__dict__ |= self._memtable.__dict__
        self._memtable = memtable
        super()._trigger_flush()


def _finish_sealing(folder: Path) -> None:
    """Deletes logs of rows that are in a file already.

    A process that dies between noting a file and deleting its log leaves both. The rows would be
    sealed again, under the same name, and Lite would note that file twice.
    """
    manifest = Manifest.load(str(folder))
    if manifest.active_wal_number is not None:
        _cleanup_old_wals(str(folder / "wal"), manifest.active_wal_number - 1)
    noted_twice = False
    for partition, names in manifest.get_all_data_files().items():
        for name, times in Counter(names).items():
            manifest.remove_data_files(partition, [name] * (times - 1))
            noted_twice |= times > 1
    if noted_twice:
        manifest.save()


class _ArrowMemTable(MemTable):
    """Unsealed rows that are sealed as they are: Lite's own make a Python number of every value."""

    def _build_data_table(self, rows: Sequence[tuple[int, int]]) -> pa.Table:
        """The rows of a partition, each named by its batch and its place there."""
        table = pa.Table.from_batches(self._insert_batches).select(self._data_schema.names)
        starts = np.cumsum([0, *(batch.num_rows for batch in self._insert_batches)])
        batches, places = np.array(rows).T
        wanted = starts[batches] + places
        return table if len(wanted) == table.num_rows else table.take(wanted)


class _SmallFiles(CompactionManager):
    """Merges files only as long as they are small, so that it takes little memory.

    Attributes:
        outdated: Whether rows have died since the files were last looked through for them.
    """

    def __init__(self, folder: str, schema: CollectionSchema) -> None:
        """For the collection in `folder`."""
        super().__init__(folder, schema)
        self.outdated = False
        self._newest: dict[str, int] = {}

    def maybe_compact(self, partition: str, manifest: Manifest, delta_index: DeltaIndex) -> bool:
        """Merges what is small, and writes files again of which most rows are dead."""
        merged = bool(super().maybe_compact(partition, manifest, delta_index))
        if not self.outdated:
            return merged
        self.outdated = False
        folder = Path(self._data_dir, "partitions", partition)
        rows = {
            name: pq.read_table(folder / name, columns=[self._pk_name, "_seq"])
            for name in manifest.get_data_files(partition)
        }
        try:
            for table in rows.values():
                for key, version in self._versions(table):
                    self._newest[key] = max(version, self._newest.get(key, version))
            mostly_dead = [
                name
                for name, table in rows.items()
                if 2 * len(self._filter_deleted(table, delta_index)) < len(table)
            ]
            for name in mostly_dead:
                self._compact_files(partition, str(folder), [name], manifest, delta_index)
        finally:
            self._newest = {}
        if mostly_dead:
            self._gc_tombstones(manifest, delta_index)
        return merged or bool(mostly_dead)

    def _filter_deleted(self, table: pa.Table, delta_index: DeltaIndex) -> pa.Table:
        """The rows that are neither deleted nor, as far as is known, in a newer file."""
        live = [
            version >= self._newest.get(key, version) and not delta_index.is_deleted(key, version)
            for key, version in self._versions(table)
        ]
        return table if all(live) else table.filter(pa.array(live))

    def _versions(self, table: pa.Table) -> Iterator[tuple[str, int]]:
        """Keys of rows, and when each was written: Lite counts its writes."""
        columns = table.select([self._pk_name, "_seq"]).columns
        return zip(*(column.to_pylist() for column in columns))

    @staticmethod
    def _select_target(buckets: list[list[tuple[str, int]]], *_: object) -> list[str] | None:
        """The smallest that make one of `LITE_SEGMENT_BYTES` at most, where they are a few."""
        chosen: list[str] = []
        left = LITE_SEGMENT_BYTES
        for name, size in sorted(chain(*buckets), key=itemgetter(1)):
            left -= size
            if left < 0:
                break
            chosen.append(name)
        return chosen if len(chosen) >= COMPACTION_MIN_FILES_PER_BUCKET else None
