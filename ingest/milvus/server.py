"""A Milvus server, or Milvus Lite behind a port, through pymilvus' client."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import pairwise
from typing import Literal, TypeVar, cast

from ...schemas.backbones import Backbone
from ...schemas.collections import (
    FIELDS,
    MAX_ID_LENGTH,
    MAX_TOP_K,
    METRIC,
    Index,
    Level,
    Target,
    collection_description,
    is_looked_up,
    levels,
    vector_description,
)
from ...schemas.embedding import FloatArray, index_dim
from ...schemas.errors import StoreError
from ...schemas.rows import SCALARS, Hit, StoredRow, stored_row
from ..shards.home import Place
from .connection import Connection, open_client, server_name
from .filters import is_after, is_in
from .index_notes import read_notes, write_notes
from .indexes import choose_target, described_index, flush, load, rebuild
from .records import Record, batches

_IDS_PER_FILTER = 200
"""Ids named in one filter expression; keeps the expression far below a server's limit."""

_PAGE_ROWS = 4096
"""Rows per page of `Server.scan`: a quarter of a server's limit (`MAX_TOP_K`)."""

_BOUNDED_S = 5.0
"""Maximum age of a bounded answer, seconds: Milvus' own bound (gracefulTime)."""

_Answer = TypeVar("_Answer")


@contextmanager
def open_server(place: Place, patience_s: float, writing: bool, latest: bool) -> Iterator[Server]:
    """Connect to the server of `place`.

    Args:
        place: Its address and credentials, and the index policy.
        patience_s: Seconds for which failing calls are retried.
        writing: Whether rows will be written: an index that is missing or of another processor
            than the policy's is then built.
        latest: Whether reads must see all previous writes, which costs about 200 ms per call.

    Raises:
        StoreError: As `open_client`, or GPU indexes were requested and are unavailable.
    """
    with open_client(place, patience_s) as milvus:
        server = Server(milvus, place, "Strong" if latest else "Bounded", writing)
        if writing and place.index == "gpu":
            server.target  # noqa: B018, to be refused before any work is done
        yield server


LOOKED_UP = "FLAT"
"""Index of vectors that are fetched and never searched: Milvus loads no collection without one."""

ON_DISK = {"mmap.enabled": True}
"""Property of their collections, of Milvus 2.4 and later (its documentation of mmap; not run)."""


class Server:
    """The collections of a server; created by `open_server`."""

    embedded = False

    def __init__(
        self,
        milvus: Connection,
        place: Place,
        consistency: Literal["Strong", "Bounded"],
        writing: bool,
    ) -> None:
        """Wrap an open connection to the server of `place`."""
        self.notes: list[str] = []
        self._milvus = milvus
        self._place = place
        self._consistency = consistency
        self._writing = writing
        self._ready: set[str] = set()
        self._answers: dict[str, tuple[float, object]] = {}

    @cached_property
    def target(self) -> Target:
        """The index types of this server, which is tested once for GPU indexes."""
        target, notes = choose_target(self._milvus, self._place)
        self.notes += notes
        return target

    def levels(self, backbone: Backbone) -> tuple[Level, ...]:
        """Return all levels: a person who looks into the server sees every row."""
        return levels(backbone)

    def collections(self) -> list[str]:
        """Return the names of all collections."""
        client = self._milvus.client
        return self._recent(
            "collections", partial(self._milvus.call, "list collections", client.list_collections)
        )

    def has(self, name: str) -> bool:
        """Return whether a collection exists, and load it."""
        if name in self._ready:
            return True
        milvus = self._milvus
        if not milvus.call(f"look for {name}", milvus.client.has_collection, name):
            return False
        if self._writing:
            self._settle_index(name)
        load(milvus, name)
        self._ready.add(name)
        return True

    def create(self, name: str, backbone: Backbone, level: Level) -> None:
        """Create and load a collection if it is missing.

        A new one is searched exactly; 'vidsim tune-index' changes that once it is large. Rows that
        are never searched, most of all, have an index that costs nothing to build, and stay on
        disk where the server can read them there.
        """
        if not self.has(name):
            self._make(name, backbone, level)
            load(self._milvus, name)
            self._ready.add(name)

    def _make(self, name: str, backbone: Backbone, level: Level) -> None:
        from pymilvus import DataType

        client = self._milvus.client
        kinds = {"string": DataType.VARCHAR, "integer": DataType.INT64, "number": DataType.DOUBLE}
        schema = client.create_schema(
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
            description=vector_description(backbone),
        )
        parameters = client.prepare_index_params()
        kind = LOOKED_UP if is_looked_up(name) else self.target.exact
        parameters.add_index("vector", index_type=kind, metric_type=METRIC)
        if not self._milvus.lite:  # else every look-up of a video scans the ids of all rows
            parameters.add_index("video_id", index_type="Trie")
        self._milvus.call(
            f"create {name}",
            client.create_collection,
            name,
            schema=schema,
            # For `scan` alone: pymilvus' iterators cannot choose a level, all other calls do.
            consistency_level="Strong",
            **({"properties": ON_DISK} if is_looked_up(name) and self._milvus.maps_files else {}),
        )
        # Indexes of an empty collection are ready at once; pymilvus would wait for half a second.
        self._milvus.call(f"index {name}", client.create_index, name, parameters, sync=False)

    def _settle_index(self, name: str) -> None:
        """Rebuild a collection's index if it is missing or for the other kind of processor.

        An interrupted rebuild leaves none; --index and VIDSIM_INDEX choose the processor.
        """
        found = described_index(self._milvus, name)
        if is_looked_up(name):  # earlier versions gave it an index for searches
            if found is None or found.index_type != LOOKED_UP:
                rebuild(self._milvus, name, Index(LOOKED_UP), self.target)
            return
        on_gpu = self.target.exact.startswith("GPU_")
        if found is None:
            rebuild(self._milvus, name, Index(self.target.exact), self.target)
        elif self._place.index != "auto" and found.on_gpu != on_gpu:
            kind = self.target.exact if found.exact else self.target.inverted
            rebuild(self._milvus, name, Index(kind, found.lists), self.target)

    def drop(self, name: str) -> None:
        """Delete a collection and its rows."""
        self._ready.discard(name)
        self._milvus.call(f"drop {name}", self._milvus.client.drop_collection, name)

    def upsert(self, name: str, records: Sequence[Record]) -> None:
        """Write rows, replacing those of the same id."""
        action = f"write {len(records)} rows to {name}"
        self._milvus.call(action, self._milvus.client.upsert, name, records)

    def delete(self, name: str, field: str, values: Collection[str]) -> None:
        """Delete the rows whose `field` is one of `values`."""
        for batch in batches(values, _IDS_PER_FILTER):
            delete = partial(self._milvus.client.delete, name, filter=is_in(field, batch))
            self._milvus.call(f"delete from {name}", delete)

    def flush(self, name: str) -> None:
        """Seal what was written; unsealed rows are searched without the index."""
        flush(self._milvus, name)

    def count(self, name: str, expression: str, strong: bool) -> int:
        """Count the rows that match a filter, "" for all; `strong` includes the latest writes."""
        count = partial(
            self._milvus.call,
            f"count {name}",
            self._milvus.client.query,
            name,
            filter=expression,
            output_fields=["count(*)"],
            consistency_level="Strong" if strong else self._consistency,
        )
        answer = count() if expression or strong else self._recent(f"count {name}", count)
        return int(answer[0]["count(*)"])

    def _recent(self, what: str, ask: Callable[[], _Answer]) -> _Answer:
        """Return the result of `ask`, or a recent one where bounded answers suffice."""
        if self._consistency == "Strong" or self._milvus.lite:
            return ask()
        asked_s, answer = self._answers.get(what, (-math.inf, None))
        if time.monotonic() - asked_s > _BOUNDED_S:
            asked_s, answer = self._answers[what] = time.monotonic(), ask()
        return cast(_Answer, answer)

    def scan(self, name: str, expression: str) -> Iterator[list[StoredRow]]:
        """Yield pages of the rows that match a filter, in order of their ids.

        Raises:
            StoreError: It cannot be read, or Milvus returns pages that could miss rows.
        """
        last = ""
        while True:
            after = is_after("id", last)
            page = self._milvus.call(
                f"list {name}",
                self._milvus.client.query,
                name,
                filter=f"{after} and ({expression})" if expression else after,
                output_fields=list(SCALARS),
                limit=_PAGE_ROWS,
                # Returns the first ids, in order. pymilvus' own query_iterator does not
                # quote the id it continues from, which may hold quotes and backslashes.
                iterator="True",
            )
            if not page:  # another page may follow one that is not full
                return
            ids = [last, *(row["id"] for row in page)]
            if any(first >= second for first, second in pairwise(ids)):
                raise StoreError(
                    f"Milvus does not list {name} in order of ids, so rows would be missed; "
                    "upgrade it, or use another."
                )
            yield [stored_row(row) for row in page]
            last = ids[-1]

    def rows_of(self, name: str, video_ids: Collection[str]) -> list[StoredRow]:
        """Return all rows of some videos, the latest writes included."""
        return [row for page in self.scan(name, is_in("video_id", video_ids)) for row in page]

    def fetch(self, name: str, expression: str, limit: int) -> list[Record]:
        """Return at most `limit` rows that match a filter, with their vectors, in any order."""
        return self._milvus.call(
            f"read {name}",
            self._milvus.client.query,
            name,
            filter=expression,
            output_fields=[*SCALARS, "vector"],
            limit=limit,
            strict_float32=True,  # vectors as arrays, not as lists of Python floats
            consistency_level=self._consistency,
        )

    def fetch_ids(self, name: str, ids: Sequence[str]) -> list[Record]:
        """Return the rows with these ids, with their vectors, in any order."""
        return self.fetch(name, is_in("id", ids), len(ids))

    def search(
        self, name: str, queries: FloatArray, limit: int, expression: str, probes: int | None
    ) -> list[list[Hit]]:
        """Return the rows nearest to each query, best first."""
        probes = probes or self._probes.get(name)
        answers = self._milvus.call(
            f"search {name}",
            self._milvus.client.search,
            name,
            data=queries,
            limit=min(limit, MAX_TOP_K),
            filter=expression,
            output_fields=["video_id"],
            search_params={"metric_type": METRIC, "params": {"nprobe": probes} if probes else {}},
            consistency_level=self._consistency,
        )
        return [
            [Hit(hit["id"], hit["entity"]["video_id"], float(hit["distance"])) for hit in hits]
            for hits in answers
        ]

    @cached_property
    def _probes(self) -> dict[str, int]:
        return read_notes(self._place.home, server_name(self._place)).probes

    def index(self, name: str) -> Index:
        """Return the index of a collection."""
        return described_index(self._milvus, name) or Index()

    def rebuild(self, name: str, index: Index) -> None:
        """Replace a collection's index.

        Raises:
            StoreError: It was not built.
        """
        rebuild(self._milvus, name, index, self.target)

    def keep_probes(self, name: str, probes: int) -> None:
        """Note the number of lists that every later search of a collection probes; 0 for all."""
        server = server_name(self._place)
        notes = read_notes(self._place.home, server)
        kept = {each: count for each, count in (notes.probes | {name: probes}).items() if count}
        write_notes(self._place.home, server, notes.model_copy(update={"probes": kept}))
        self.__dict__.pop("_probes", None)
