"""Milvus: one collection a backbone, upserts, counts, search and fetch.

The only module that talks to pymilvus. Milvus Lite (a directory under vidsim's home) is the
default; a server's URI works the same way.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..schemas.collections import (
    BATCH_BYTES,
    FIELDS,
    MAX_ID_LENGTH,
    MAX_TOP_K,
    Index,
    Level,
    backbone_of,
    collection_description,
    collection_name,
    levels,
)
from ..schemas.embedding import (
    EmbeddedVideo,
    FloatArray,
    Rows,
    from_index,
    index_dim,
    segment_means,
    to_index,
)
from ..schemas.errors import ModelError, StoreError
from ..schemas.modality import Backbone
from ..schemas.video import row_id
from .registry import load_registered

_IDS_PER_FILTER = 200
"""Ids named in one filter expression; keeps the expression far below a server's limit."""


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


class Hit(NamedTuple):
    """What a search found: its id, its video's, and the inner product."""

    id: str
    video_id: str
    score: float


_SCALARS = tuple(field.name for field in FIELDS)
_Item = TypeVar("_Item")


@contextmanager
def open_store(home: Path, uri: str | None = None, token: str = "") -> Iterator[Store]:
    """The collections of the Milvus that `open_client` opens.

    Raises:
        StoreError: As `open_client`.
    """
    with open_client(home, uri, token) as client:
        yield Store(client)


@contextmanager
def open_client(home: Path, uri: str | None = None, token: str = "") -> Iterator[Any]:
    """Opens Milvus Lite under `home`, or the server at `uri`, and closes it afterwards.

    Yields:
        A pymilvus ``MilvusClient``.

    Raises:
        StoreError: Another process holds it, it is damaged, or the server does not answer.
    """
    from pymilvus import MilvusClient
    from pymilvus.exceptions import ConnectionConfigException, MilvusException

    load_registered(home)
    _quiet()  # after the import, which configures logging itself
    target = uri or str(home / "milvus.db")
    try:
        if not uri:
            # Lite is spoken to over loopback, which no proxy of the user's may come between.
            os.environ["no_grpc_proxy"] = "127.0.0.1"  # noqa: SIM112, gRPC reads this spelling
            home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{home} cannot be written ({error.strerror}); set VIDSIM_HOME to a folder that can."
        ) from error
    try:
        client = MilvusClient(target, token=token, timeout=10, dedicated=True)
    except ConnectionConfigException as error:
        raise StoreError(
            f"VIDSIM_URI={uri} is no address of a Milvus server; write one such as "
            "http://127.0.0.1:19530, or unset it to use the embedded Milvus."
            if uri
            else f"The store {target} is in use by another vidsim process, cannot be written, or "
            "is not a Milvus Lite directory; wait for that process to end, or set VIDSIM_HOME to "
            "another folder."
        ) from error
    except (MilvusException, OSError) as error:
        raise StoreError(
            f"Milvus at {target} does not answer ({_reason(error)}); "
            "start it, or unset VIDSIM_URI to use the embedded one."
        ) from error
    try:
        yield client
    finally:
        client.close()
        if not uri:  # or Lite keeps the directory open, and locked, until the process ends
            from milvus_lite.server_manager import server_manager_instance

            server_manager_instance.release_server(target)


class Store:
    """The collections of one Milvus; made by `open_store`."""

    def __init__(self, client: Any) -> None:
        """Wraps an open pymilvus ``MilvusClient``."""
        self._client = client
        self._loaded: set[str] = set()

    def backbones(self) -> list[Backbone]:
        """Backbones that have a collection here."""
        with _translated("list collections"):
            found = [backbone_of(name) for name in sorted(self._client.list_collections())]
        return [b for b in found if b]

    def create(self, backbone: Backbone, level: Level = "rows") -> str:
        """Makes a collection of `backbone` and loads it where it is not there; returns its name."""
        from pymilvus import DataType

        name = collection_name(backbone, level)
        if name in self._loaded:
            return name
        kinds = {"string": DataType.VARCHAR, "integer": DataType.INT64, "number": DataType.DOUBLE}
        with _translated(f"create {name}"):
            if not self._client.has_collection(name):
                schema = self._client.create_schema(
                    auto_id=False,
                    enable_dynamic_field=False,
                    description=collection_description(backbone, level),
                )
                for field in FIELDS:
                    schema.add_field(
                        field.name,
                        kinds[field.kind],
                        is_primary=field.name == "id",
                        description=field.description,
                        **({"max_length": MAX_ID_LENGTH} if field.kind == "string" else {}),
                    )
                schema.add_field(
                    "vector",
                    DataType.FLOAT_VECTOR,
                    dim=index_dim(backbone),
                    description=f"{backbone.name} embedding, compared by inner product",
                )
                index = Index()
                parameters = self._client.prepare_index_params()
                parameters.add_index(
                    "vector", index_type=index.index_type, metric_type=index.metric_type
                )
                self._client.create_collection(name, schema=schema)
                # An empty collection's index is there at once; pymilvus would sleep first.
                self._client.create_index(name, parameters, sync=False)
            self._client.load_collection(name)
        self._loaded.add(name)
        return name

    def upsert(self, backbone: Backbone, videos: Iterable[EmbeddedVideo]) -> int:
        """Writes all rows that `videos` have of `backbone`, and its segments; counts the rows.

        Raises:
            StoreError: Milvus refused them or went away; what was already sent stays.
        """
        batch_rows = max(1, BATCH_BYTES // (4 * index_dim(backbone)))
        waiting: dict[Level, list[dict[str, Any]]] = {level: [] for level in levels(backbone)}
        rows = 0
        for video in videos:
            for level, records in waiting.items():
                new = _records(backbone, video, level)
                records += new
                rows += len(new) if level == "rows" else 0
                while len(records) >= batch_rows:
                    self._upsert(self.create(backbone, level), records[:batch_rows])
                    del records[:batch_rows]
        for level, records in waiting.items():
            name = self.create(backbone, level)
            if records:
                self._upsert(name, records)
        return rows

    def _upsert(self, name: str, records: list[dict[str, Any]]) -> None:
        with _translated(f"write {len(records)} rows to {name}"):
            self._client.upsert(name, records)

    def delete(self, backbone: Backbone, video_ids: Collection[str]) -> None:
        """Deletes all that `video_ids` have of `backbone`."""
        for ids in _batches(sorted(video_ids), _IDS_PER_FILTER):
            self._delete(backbone, is_in("video_id", ids))

    def delete_library(self, backbone: Backbone, library: str) -> None:
        """Deletes all that `library` has of `backbone`."""
        self._delete(backbone, equals("library", library))

    def _delete(self, backbone: Backbone, expression: str) -> None:
        for level in levels(backbone):
            name = self.create(backbone, level)
            with _translated(f"delete from {name}"):
                self._client.delete(name, filter=expression)

    def flush(self, backbone: Backbone) -> None:
        """Seals what was written; Lite searches unflushed rows many times slower."""
        for level in levels(backbone):
            name = self.create(backbone, level)
            with _translated(f"flush {name}"):
                self._client.flush(name)

    def count(self, backbone: Backbone, expression: str = "", level: Level = "rows") -> int:
        """Rows or segments of `backbone` for which `expression` holds."""
        name = self.create(backbone, level)
        with _translated(f"count {name}"):
            answer = self._client.query(
                name, filter=expression, output_fields=["count(*)"], consistency_level="Strong"
            )
        return int(answer[0]["count(*)"])

    def check_filter(self, backbone: Backbone, expression: str) -> None:
        """Tries a filter that a person wrote.

        Raises:
            ModelError: Milvus does not understand it.
        """
        try:
            self.count(backbone, expression)
        except StoreError as error:
            reason = _reason(error.__cause__ or error)
            raise ModelError(
                f"The filter {expression!r} is not understood ({reason}); fields are "
                f'{", ".join(_SCALARS)}, for example: label == "snow".'
            ) from error

    def search(
        self, backbone: Backbone, queries: FloatArray, limit: int, expression: str = ""
    ) -> list[list[Hit]]:
        """The segments nearest to each query by inner product, best first.

        Args:
            backbone: Whose segments to search.
            queries: (nq, dim) float32 in the form of `schemas.embedding.to_query`.
            limit: Most segments a query, at most `MAX_TOP_K`.
            expression: Milvus filter over the scalar fields.
        """
        name = self.create(backbone, levels(backbone)[-1])
        with _translated(f"search {name}"):
            answers = self._client.search(
                name,
                data=queries,
                limit=min(limit, MAX_TOP_K),
                filter=expression,
                output_fields=["video_id"],  # every field more costs Lite as much as the search
                search_params={"metric_type": "IP"},
            )
        return [
            [Hit(hit["id"], hit["entity"]["video_id"], float(hit["distance"])) for hit in hits]
            for hits in answers
        ]

    def fetch(
        self, backbone: Backbone, expression: str, level: Level = "rows"
    ) -> tuple[list[StoredRow], FloatArray]:
        """Rows or segments for which `expression` holds, with vectors (n, dim) of `from_index`.

        They come ordered by video, segment and row. At most `MAX_TOP_K` of them.
        """
        name = self.create(backbone, level)
        with _translated(f"read {name}"):
            answer = self._client.query(
                name,
                filter=expression,
                output_fields=[*_SCALARS, "vector"],
                limit=MAX_TOP_K,
                strict_float32=True,  # vectors as arrays, not as lists of Python's floats
            )
        answer = sorted(answer, key=lambda r: (r["video_id"], r["segment"], r["start_s"], r["id"]))
        vectors = np.array([r["vector"] for r in answer], np.float32)
        vectors = vectors.reshape(len(answer), index_dim(backbone))
        return [_stored_row(r) for r in answer], from_index(backbone, vectors)


def equals(field: str, value: str) -> str:
    """The filter ``field == "value"`` with the value quoted."""
    return f"{field} == {_quote(value)}"


def differs(field: str, value: str) -> str:
    """The filter ``field != "value"`` with the value quoted."""
    return f"{field} != {_quote(value)}"


def is_in(field: str, values: Iterable[str]) -> str:
    """The filter ``field in ["a", "b"]`` with the values quoted."""
    return f"{field} in [{', '.join(_quote(v) for v in values)}]"


def _batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r"})
"""What may not stand in a filter's string as it is. Lite knows no escape for other control
characters, and takes them unescaped."""


def _quote(value: str) -> str:
    return f'"{value.translate(_ESCAPED)}"'


def _stored_row(entity: Mapping[str, Any]) -> StoredRow:
    return StoredRow(**{name: entity[name] for name in _SCALARS})


def _records(backbone: Backbone, item: EmbeddedVideo, level: Level) -> list[dict[str, Any]]:
    video = item.video
    records = []
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
    """A segment as one row: the mean of its own, from the start of the first to the last end."""
    return Rows(
        segment_means(backbone, rows.vectors, np.zeros(1, np.int64)),
        rows.start_s.min(keepdims=True),
        rows.end_s.max(keepdims=True),
    )


@contextmanager
def _translated(action: str) -> Iterator[None]:
    """Turns what pymilvus raises into one sentence with the next step."""
    import grpc
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, grpc.RpcError) as error:
        raise StoreError(
            f"Milvus could not {action} ({_reason(error)}); run 'vidsim reindex' if this stays."
        ) from error


def _reason(error: BaseException) -> str:
    text = str(getattr(error, "message", "") or error).strip()
    return text.splitlines()[0][:300] if text else type(error).__name__


def _quiet() -> None:
    """Pymilvus and Lite log every error that they also raise."""
    for name in ("pymilvus", "milvus_lite", "grpc._server"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
