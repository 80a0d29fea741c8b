"""Milvus Lite in this process, through its own Python interface.

pymilvus would start Lite as a gRPC server in a thread of the same process and talk to it over
loopback: loading both takes longer than a query, and every row passes through protobuf twice.

No exact index is built: Lite would store every vector in it a second time, on disk and, once
read, in memory, and searches exactly without one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import wraps
from threading import get_ident
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar, cast

import numpy as np

from ...schemas.collections import FIELDS, LITE, MAX_ID_LENGTH, METRIC
from ...schemas.embedding import FloatArray
from .filters import is_in
from .lite_rows import SealedRows, sealed_rows

if TYPE_CHECKING:
    import pyarrow as pa
    from pymilvus.milvus_client import IndexParams
    from pymilvus.orm.schema import CollectionSchema

    from .lite_collection import BoundedCollection

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


class EmbeddedError(Exception):
    """Lite's one-line message about a failed call."""


class LockedError(EmbeddedError):
    """Another process, or another `EmbeddedClient`, holds the directory."""


class _NoPandas:
    """A module finder that hides pandas from some threads.

    Attributes:
        threads: Their identifiers.
    """

    threads: ClassVar[set[int]] = set()

    @classmethod
    def find_spec(cls, name: str, *_: object) -> None:
        """Defer to the next finders.

        Raises:
            ModuleNotFoundError: One of `threads` looks for pandas.
        """
        if name == "pandas" and get_ident() in cls.threads:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@contextmanager
def _without_pandas() -> Iterator[None]:
    """Hide pandas from pyarrow in this thread, since it takes as long to load as a query.

    pyarrow imports it to check whether its input arrays are pandas', and none are.
    """
    if _NoPandas not in sys.meta_path:
        # Never removed: a concurrent import that iterates over the list would skip an entry.
        sys.meta_path.insert(0, _NoPandas)
    _NoPandas.threads.add(get_ident())
    try:
        yield
    finally:
        _NoPandas.threads.discard(get_ident())


def _in_its_thread(method: Callable[_Given, _Answer]) -> Callable[_Given, _Answer]:
    """Run a method in its client's thread, so that Ctrl-C interrupts the caller, not a write.

    Failures are raised as `EmbeddedError`: Lite passes on whatever its parts raise.
    """
    without_pandas = _without_pandas()(method)  # pyarrow imports it when it reads a file

    @wraps(method)
    def run(*args: _Given.args, **options: _Given.kwargs) -> _Answer:
        client = cast("EmbeddedClient", args[0])
        try:
            return client._thread.submit(without_pandas, *args, **options).result()
        except Exception as error:
            raise EmbeddedError(_one_line(error)) from error

    return run


class EmbeddedClient:
    """The methods of pymilvus' ``MilvusClient`` that vidsim calls, with the same arguments.

    Options that only a server needs (time limits, consistency) are accepted and ignored.
    """

    def __init__(self, path: str) -> None:
        """Open the directory `path`, creating it if needed.

        Raises:
            LockedError: Another client has it open.
            EmbeddedError: It cannot be opened.
        """
        from milvus_lite import DataDirLockedError, MilvusLite

        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vidsim-milvus-lite")
        self._open: dict[str, BoundedCollection] = {}
        self._rows: dict[str, SealedRows | None] = {}
        self._listed: dict[str, pa.Table] = {}
        self._counts: dict[str, int] = {}
        try:
            self._db = self._thread.submit(MilvusLite, path).result()
        except Exception as error:
            self._thread.shutdown()
            kind = LockedError if isinstance(error, DataDirLockedError) else EmbeddedError
            raise kind(_one_line(error)) from error

    def close(self) -> None:
        """Finish running calls, seal unsealed rows, and release the directory.

        May be called again.

        Raises:
            EmbeddedError: Rows could not be sealed; the next open seals them.
        """
        self._thread.shutdown()
        try:
            with ExitStack() as closing:
                closing.callback(self._db.close)
                for collection in self._open.values():
                    closing.callback(collection.close)
                self._open.clear()
        except Exception as error:
            raise EmbeddedError(_one_line(error)) from error

    def get_server_version(self) -> str:
        """Return Lite's version, in the form that a client over TCP gets."""
        from milvus_lite import __version__

        return f"milvus_lite-{__version__}"

    @_in_its_thread
    def list_collections(self, **_: object) -> list[str]:
        """Return the names of the collections."""
        return list(self._db.list_collections())

    @_in_its_thread
    def has_collection(self, name: str, **_: object) -> bool:
        """Return whether a collection of this name exists."""
        return bool(self._db.has_collection(name))

    @staticmethod
    def create_schema(**options: Any) -> CollectionSchema:
        """As pymilvus' own."""
        from pymilvus import MilvusClient

        return MilvusClient.create_schema(**options)

    @staticmethod
    def prepare_index_params() -> IndexParams:
        """As pymilvus' own."""
        from pymilvus import MilvusClient

        return MilvusClient.prepare_index_params()

    @_in_its_thread
    def create_rows_collection(self, name: str, dim: int) -> None:
        """Create a collection of `FIELDS` and a vector, without pymilvus, which is slow to load."""
        from milvus_lite import CollectionSchema, DataType, FieldSchema

        kinds = {"string": DataType.VARCHAR, "integer": DataType.INT64, "number": DataType.DOUBLE}
        fields = [
            FieldSchema(
                name=field.name,
                dtype=kinds[field.kind],
                is_primary=field.name == FIELDS[0].name,
                max_length=MAX_ID_LENGTH if field.kind == "string" else None,
            )
            for field in FIELDS
        ]
        vector = FieldSchema(name="vector", dtype=DataType.FLOAT_VECTOR, dim=dim)
        self._db.create_collection(name, CollectionSchema(fields=[*fields, vector])).close()

    @_in_its_thread
    def create_collection(self, name: str, schema: CollectionSchema, **_: object) -> None:
        """Create a collection; Lite keeps no descriptions."""
        from milvus_lite import CollectionSchema, DataType, FieldSchema

        fields = [
            FieldSchema(
                name=field.name,
                dtype=DataType[field.dtype.name],
                is_primary=field.is_primary,
                dim=field.params.get("dim"),
                max_length=field.params.get("max_length"),
            )
            for field in schema.fields
        ]
        self._db.create_collection(name, CollectionSchema(fields=fields)).close()

    @_in_its_thread
    def drop_collection(self, name: str, **_: object) -> None:
        """Delete a collection and its files."""
        if name in self._open:
            self._open.pop(name).close()
        self._forget(name)
        self._db.drop_collection(name)

    @_in_its_thread
    def load_collection(self, name: str, **_: object) -> None:
        """Read or build its index."""
        self._loaded(name)

    @_in_its_thread
    def release_collection(self, name: str, **_: object) -> None:
        """Release its index."""
        self._collection(name).release()

    @_in_its_thread
    def create_index(self, name: str, parameters: IndexParams, **_: object) -> None:
        """Record an index, and build it if the collection is loaded; skip an exact one."""
        for parameter in parameters:
            found = parameter.to_dict()
            chosen = {key: found.pop(key) for key in ("index_type", "metric_type")}
            if chosen["index_type"] == LITE.exact:
                continue
            build = {k: v for k, v in found.items() if k not in {"field_name", "index_name"}}
            self._collection(name).create_index(
                parameter.field_name, chosen | {"params": build.pop("params", build)}
            )

    @_in_its_thread
    def list_indexes(self, name: str, field_name: str = "", **_: object) -> list[str]:
        """Return the names of its indexes, which are those of the fields."""
        return [n for n in self._collection(name).list_indexes() if field_name in {"", n}]

    @_in_its_thread
    def describe_index(self, name: str, index: str, **_: object) -> dict[str, Any]:
        """Return the index as requested, an exact one where none was built."""
        found = self._collection(name).get_index_info(index)
        return {
            "index_type": found["index_type"] if found else LITE.exact,
            "metric_type": found["metric_type"] if found else METRIC,
            "params": found["build_params"] if found else {},
            "state": "Finished",  # it was built when created or loaded
            "pending_index_rows": 0,
        }

    @_in_its_thread
    def drop_index(self, name: str, index: str, **_: object) -> None:
        """Delete an index of a released collection."""
        self._collection(name).drop_index(index)

    @_in_its_thread
    def flush(self, name: str, **_: object) -> None:
        """Seal unsealed rows."""
        self._forget(name)
        self._collection(name).flush()

    @_in_its_thread
    def upsert(self, name: str, records: Sequence[dict[str, Any]], **_: object) -> None:
        """Write records, replacing those of the same key."""
        self._forget(name)
        fields = [field for field in records[0] if field != "vector"]
        columns = {field: [record[field] for record in records] for field in fields}
        vectors = np.array([record["vector"] for record in records], np.float32)
        self._collection(name).keep(columns, vectors)

    @_in_its_thread
    def delete(self, name: str, *, filter: str, **_: object) -> None:
        """Delete the rows that match a filter over fields that a row's key determines."""
        self._forget(name)
        self._collection(name).remove(filter)

    @_in_its_thread
    def query(
        self,
        name: str,
        *,
        output_fields: Sequence[str],
        filter: str = "",
        limit: int | None = None,
        iterator: str | None = None,
        **_: object,
    ) -> list[dict[str, Any]]:
        """Return the rows that match a filter, or their number.

        Args:
            name: The collection.
            output_fields: Their fields, or ``["count(*)"]``.
            filter: Milvus filter; "" for all rows.
            limit: Most rows.
            iterator: Anything but None orders them by key.
        """
        collection = self._collection(name)
        if list(output_fields) == ["count(*)"]:
            if filter:
                return [{"count(*)": collection.scalars([], filter).num_rows}]
            if name not in self._counts:
                self._counts[name] = collection.scalars([]).num_rows
            return [{"count(*)": self._counts[name]}]
        if "vector" in output_fields:
            found = self._loaded(name).query(filter, list(output_fields), limit=limit)
            return list(found)
        if iterator is not None:
            if name not in self._listed:
                rows = collection.scalars(collection.scalar_fields)
                self._listed[name] = rows.sort_by(collection.pk_field)
            found = collection.matching(self._listed[name], filter)
        else:
            found = collection.scalars(output_fields, filter)
        return list(found.select(list(output_fields)).slice(0, limit).to_pylist())

    @_in_its_thread
    def search(
        self,
        name: str,
        *,
        data: Sequence[Any],
        limit: int,
        output_fields: Sequence[str],
        search_params: dict[str, Any],
        filter: str = "",
        **_: object,
    ) -> list[list[dict[str, Any]]]:
        """Return the rows nearest to each of the vectors in `data`, best first."""
        collection = self._loaded(name)
        sealed = None if filter or collection.has_index("vector") else self._sealed(name)
        if sealed is not None:
            return sealed.nearest(np.asarray(data, np.float32), limit, output_fields)
        return list(
            collection.search(
                list(data),
                top_k=limit,
                metric_type=search_params["metric_type"],
                expr=filter or None,
                output_fields=list(output_fields),
                search_params=search_params.get("params"),
            )
        )

    @_in_its_thread
    def rows_with(
        self,
        name: str,
        field: str,
        values: Collection[str],
        output_fields: Sequence[str],
        **_: object,
    ) -> tuple[list[list[Any]], FloatArray]:
        """Return the rows whose `field` is one of `values`: columns, and vectors (n, dim).

        pymilvus has no such method; there a filter does this.
        """
        sealed = self._sealed(name)
        if sealed is not None:
            return sealed.having(field, values, output_fields)
        found = self._loaded(name).query(
            is_in(field, values), output_fields=[*output_fields, "vector"]
        )
        columns = [[row[each] for row in found] for each in output_fields]
        return columns, np.array([row["vector"] for row in found], np.float32)

    def _collection(self, name: str) -> BoundedCollection:
        if name not in self._open:
            from .lite_collection import open_collection

            collection = self._open[name] = open_collection(self._db, name)
            index = collection.get_index_info("vector")
            if index and index["index_type"] == LITE.exact:  # earlier versions built them
                collection.drop_index("vector")
        return self._open[name]

    def _loaded(self, name: str) -> BoundedCollection:
        collection = self._collection(name)
        collection.load()
        return collection

    def _forget(self, name: str) -> None:
        """Drop the cached rows of a collection that is about to change."""
        self._rows.pop(name, None)
        self._listed.pop(name, None)
        self._counts.pop(name, None)

    def _sealed(self, name: str) -> SealedRows | None:
        """Return the rows of a collection, cached since only this client can change them."""
        if name not in self._rows:
            self._rows[name] = sealed_rows(self._collection(name))
        return self._rows[name]


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
