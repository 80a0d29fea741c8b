"""A Milvus Lite collection whose writes take little memory, however large it is.

Lite's own class reads all files on opening, keeps 128 MiB unsealed, converts these to Python
numbers to seal them (some 2.5 GB at the peak), and merges files of up to 200,000 rows. This one
reads vectors on first use, releases them on flush, and seals and merges as Arrow, in small
files. The files are Lite's own in every respect. Only the keys still grow where rows were
deleted, at the peak by some 200 MB per million.

It overrides internals of Lite, so pyproject pins Lite to the version that this was written
for; the required behaviour is in tests/ingest/milvus/test_lite.py.
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
    """Open a collection of an open Lite, which does not track it: close it before `lite`.

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
    """A collection that holds vectors in memory only while they are read.

    It supports no partitions, dynamic fields or functions, which vidsim's collections do not have.
    """

    _opened = False
    _next_seq: int
    _memtable: MemTable

    def __init__(self, name: str, folder: str, schema: CollectionSchema) -> None:
        """Open the collection in `folder`.

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
        """Write whole rows, replacing those of the same key.

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
        """Delete the rows that match a filter over fields that a row's key determines."""
        keys = self.scalars([], expression).column(self.pk_field).to_pylist()
        self._deleted |= bool(keys)
        self.delete(keys)

    def flush(self) -> None:
        """Seal unsealed rows, and release the vectors in memory."""
        super().flush()
        with self._maintenance_lock:
            self._segment_cache.clear()
            self._unread = True

    def load(self) -> None:
        """Read or build the index, if there is one."""
        if self._index_specs and self._load_state != "loaded":
            self._read()
        super().load()

    def create_index(self, field: str, parameters: dict[str, Any]) -> None:
        """Record an index, and build it if the collection is loaded."""
        if self._load_state == "loaded":
            self._read()
        super().create_index(field, parameters)

    def scalars(self, names: Sequence[str], expression: str = "") -> pa.Table:
        """Return columns of the live rows that match a filter, in any order, reading no vector.

        Args:
            names: Fields other than the vector.
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
        """Return the rows of `table` that match a filter, all for ""."""
        if not expression:
            return table
        return table.filter(evaluate(self._compile_filter(expression), table))

    @property
    def scalar_fields(self) -> list[str]:
        """Return the names of the fields other than the vector."""
        return [field.name for field in self.schema.fields if field.name != self._vector_name]

    def _live(self, table: pa.Table, tombstones: DeltaIndex) -> pa.BooleanArray:
        """Return which rows are neither deleted nor overwritten later."""
        keys = table.column(self.pk_field)
        deleted = len(tombstones) or self._memtable.delete_index_snapshot()
        if not deleted and pc.count_distinct(keys).as_py() == table.num_rows:
            return pa.array(np.ones(table.num_rows, bool))
        versions = table.column("_seq").to_numpy()
        mask = build_valid_mask(keys.to_pylist(), versions, tombstones, memtable=self._memtable)
        return pa.array(mask)

    def _read(self) -> None:
        """Read the files that are not in memory, and forget those that no longer exist."""
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

    # Methods that Lite calls, overriding its own.

    def _refresh_segment_cache(self) -> None:
        self._unread = True  # the files have changed

    def _segments_snapshot(self) -> tuple[Segment, ...]:
        with self._maintenance_lock:
            self._read()
            return tuple(super()._segments_snapshot())

    def _read_snapshot(self) -> tuple[tuple[Segment, ...], DeltaIndex]:
        with self._maintenance_lock:  # a consistent pair: a merge drops tombstones
            self._read()
            segments, tombstones = super()._read_snapshot()
            return segments, tombstones

    def _ensure_loaded_segments_indexed(self) -> int:
        return 0 if self._unread else super()._ensure_loaded_segments_indexed()

    def _schedule_bg_maintenance(self) -> None:
        if not self._opened:  # opening alone merges nothing
            return
        if self._deleted:  # the deletions are sealed now
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
    """Delete the logs of rows that are already in a file.

    A process that dies between recording a file and deleting its log leaves both. The rows would
    be sealed again, under the same name, and Lite would record that file twice.
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
    """Unsealed rows, sealed as Arrow: Lite's own class converts each value to a Python number."""

    def _build_data_table(self, rows: Sequence[tuple[int, int]]) -> pa.Table:
        """Build the table of rows given by batch and position within it."""
        table = pa.Table.from_batches(self._insert_batches).select(self._data_schema.names)
        starts = np.cumsum([0, *(batch.num_rows for batch in self._insert_batches)])
        batches, places = np.array(rows).T
        wanted = starts[batches] + places
        return table if len(wanted) == table.num_rows else table.take(wanted)


class _SmallFiles(CompactionManager):
    """Merges only small files, so that merging takes little memory.

    Attributes:
        outdated: Whether rows have died since the files were last scanned for dead ones.
    """

    def __init__(self, folder: str, schema: CollectionSchema) -> None:
        """Manage the collection in `folder`."""
        super().__init__(folder, schema)
        self.outdated = False
        self._newest: dict[str, int] = {}

    def maybe_compact(self, partition: str, manifest: Manifest, delta_index: DeltaIndex) -> bool:
        """Merge small files, and rewrite those whose rows are mostly dead."""
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
        """Keep the rows that are neither deleted nor, as far as known, in a newer file."""
        live = [
            version >= self._newest.get(key, version) and not delta_index.is_deleted(key, version)
            for key, version in self._versions(table)
        ]
        return table if all(live) else table.filter(pa.array(live))

    def _versions(self, table: pa.Table) -> Iterator[tuple[str, int]]:
        """Return the key and sequence number of each row: Lite counts its writes."""
        columns = table.select([self._pk_name, "_seq"]).columns
        return zip(*(column.to_pylist() for column in columns))

    @staticmethod
    def _select_target(buckets: list[list[tuple[str, int]]], *_: object) -> list[str] | None:
        """Select the smallest files that merge into at most `LITE_SEGMENT_BYTES`, if several."""
        chosen: list[str] = []
        left = LITE_SEGMENT_BYTES
        for name, size in sorted(chain(*buckets), key=itemgetter(1)):
            left -= size
            if left < 0:
                break
            chosen.append(name)
        return chosen if len(chosen) >= COMPACTION_MIN_FILES_PER_BUCKET else None
