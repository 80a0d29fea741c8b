"""Milvus: one collection per backbone, upserts, counts, search and fetch.

Milvus Lite (a directory under vidsim's home) is the default; a server's URI works the same way.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property, partial
from itertools import pairwise
from typing import Literal, Self, TypeVar, cast

import numpy as np

from ...schemas.backbones import Backbone
from ...schemas.collections import (
    BATCH_BYTES,
    FETCH_BYTES,
    FIELDS,
    MAX_ID_LENGTH,
    MAX_TOP_K,
    METRIC,
    Index,
    Level,
    Target,
    backbone_of,
    collection_description,
    collection_name,
    levels,
    vector_description,
)
from ...schemas.embedding import EmbeddedVideo, FloatArray, from_index, index_dim
from ...schemas.errors import ModelError, StoreError, VidsimError
from ...schemas.rows import SCALARS, Hit, StoredRow, stored_row
from ..models.registry import known_backbones
from ..shards.home import Place
from ..shards.rows import ShardRows, in_order
from .connection import (
    QUERY_PATIENCE_S,
    WRITE_PATIENCE_S,
    Connection,
    open_client,
    reason,
    server_name,
)
from .filters import equals, is_after, is_in
from .index_notes import read_notes, write_notes
from .indexes import choose_target, described_index, flush, load, rebuild
from .lite_client import EmbeddedClient
from .records import Batch, Record, batches, records_of

_IDS_PER_FILTER = 200
"""Ids named in one filter expression; keeps the expression far below a server's limit."""

_VIDEOS_PER_FETCH = 100
_SEGMENTS_PER_FETCH = 512
"""Videos read at once from a server, and segments of a very long one."""

_SEGMENTS_PER_VIDEO = 4
"""Segments requested per video in a comparison; if videos have more, fewer go in one request."""

_BOUNDED_S = 5.0
"""Maximum age of a bounded answer, seconds: Milvus' own bound (gracefulTime)."""

_CALLS_AT_ONCE = 8
"""Concurrent calls to a server: twice the modalities."""

_PAGE_ROWS = 4096
"""Rows per page of `Store.scan`: a quarter of a server's limit (`MAX_TOP_K`)."""

_Answer = TypeVar("_Answer")


@contextmanager
def open_store(place: Place, writing: bool = False, latest: bool | None = None) -> Iterator[Store]:
    """Open the collections of the Milvus of `place`.

    Args:
        place: Home and Milvus to open.
        writing: Whether rows will be written, for which the home must be writable.
        latest: Whether reads must see all previous writes: answers of a server then take a fifth of
            a second longer, and retries last longer. None: as `writing`.

    Raises:
        StoreError: As `open_client`, or GPU indexes were requested and are unavailable.
    """
    latest = writing if latest is None else latest
    with open_client(place, WRITE_PATIENCE_S if latest else QUERY_PATIENCE_S, writing) as milvus:
        store = Store(milvus, place, "Strong" if latest else "Bounded")
        if writing and place.index == "gpu":
            store.target  # noqa: B018, to be refused before any work is done
        with store:
            yield store


class Store:
    """The collections of one Milvus; created by `open_store`.

    Attributes:
        name: Name that notes about it are filed under.
        notes: Messages for the user.
        known: The backbones of the home, by name.
    """

    def __init__(
        self, milvus: Connection, place: Place, consistency: Literal["Strong", "Bounded"]
    ) -> None:
        """Wrap an open Milvus.

        Args:
            milvus: From `open_client`.
            place: Its place.
            consistency: Milvus' consistency level of reads. A server's Bounded answer may lack the
                writes of the last seconds; Strong waits for them, about 200 ms per call.
        """
        self.name = server_name(place)
        self._milvus = milvus
        self._place = place
        self.known = known_backbones(place.home)
        self._consistency = consistency
        self._loaded: set[str] = set()
        self._indexes: dict[str, Index] = {}
        self._answers: dict[str, tuple[float, object]] = {}
        self._shard_rows = ShardRows(place.home / "shards")
        self._threads = ThreadPoolExecutor(_CALLS_AT_ONCE, "vidsim-milvus")
        self.notes: list[str] = []

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads of `start`, and close the shards."""
        self._threads.shutdown(cancel_futures=True)
        self._shard_rows.close()

    def start(self, call: Callable[[], _Answer]) -> Future[_Answer]:
        """Start a call that reads from this store, without waiting for it.

        A server answers calls concurrently. The embedded Milvus would only take turns: there this
        waits for the answer.
        """
        if not isinstance(self._milvus.client, EmbeddedClient):
            return self._threads.submit(call)
        answer: Future[_Answer] = Future()
        try:
            answer.set_result(call())
        except VidsimError as error:
            answer.set_exception(error)
        return answer

    def concurrently(self, calls: Iterable[Callable[[], _Answer]]) -> list[_Answer]:
        """Run `calls` concurrently, and return their results in order.

        Raises:
            VidsimError: The error of the first that failed.
        """
        return [answer.result() for answer in [self.start(call) for call in calls]]

    @cached_property
    def target(self) -> Target:
        """The index types of this Milvus; a server is tested once for GPU indexes.

        Raises:
            StoreError: As `choose_target`.
        """
        target, notes = choose_target(self._milvus, self._place)
        self.notes += notes
        return target

    @cached_property
    def _probes(self) -> dict[str, int]:
        return read_notes(self._place.home, self.name).probes

    def _recent(self, what: str, ask: Callable[[], _Answer]) -> _Answer:
        """Return the result of `ask`, or a recent one where bounded answers suffice."""
        if self._consistency == "Strong" or self._milvus.lite:
            return ask()
        asked_s, answer = self._answers.get(what, (-math.inf, None))
        if time.monotonic() - asked_s > _BOUNDED_S:
            asked_s, answer = self._answers[what] = time.monotonic(), ask()
        return cast(_Answer, answer)

    def backbones(self) -> list[Backbone]:
        """Return the backbones that have a collection here."""
        listed = partial(
            self._milvus.call, "list collections", self._milvus.client.list_collections
        )
        names = self._recent("collections", listed)
        found = (backbone_of(name, self.known) for name in sorted(names))
        return [b for b in found if b]

    def create(self, backbone: Backbone, level: Level = "rows") -> str:
        """Create and load a collection of `backbone` if it is missing; return its name.

        A new one is searched exactly; 'vidsim tune-index' changes that once it is large.
        """
        name = collection_name(backbone, level)
        if name in self._loaded:
            return name
        milvus = self._milvus
        if not milvus.call(f"look for {name}", milvus.client.has_collection, name):
            self._make(name, backbone, level)
        elif self._consistency == "Strong":
            self._settle_index(name)
        if not isinstance(milvus.client, EmbeddedClient):  # which loads lazily on read
            load(milvus, name)
        self._loaded.add(name)
        return name

    def _make(self, name: str, backbone: Backbone, level: Level) -> None:
        client = self._milvus.client
        if isinstance(client, EmbeddedClient):
            dim = index_dim(backbone)
            self._milvus.call(f"create {name}", client.create_rows_collection, name, dim)
            return
        from pymilvus import DataType

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
        parameters.add_index("vector", index_type=self.target.exact, metric_type=METRIC)
        if not self._milvus.lite:  # else every look-up of a video scans the ids of all rows
            parameters.add_index("video_id", index_type="Trie")
        self._milvus.call(
            f"create {name}",
            client.create_collection,
            name,
            schema=schema,
            # For `scan` alone: pymilvus' iterators cannot choose a level, all other calls do.
            consistency_level="Strong",
        )
        # Indexes of an empty collection are ready at once; pymilvus would wait for half a second.
        self._milvus.call(f"index {name}", client.create_index, name, parameters, sync=False)

    def _settle_index(self, name: str) -> None:
        """Rebuild a collection's index if it is missing or for the other kind of processor.

        An interrupted rebuild leaves none; --index and VIDSIM_INDEX choose the processor.
        """
        found = described_index(self._milvus, name)
        on_gpu = self.target.exact.startswith("GPU_")
        if found is None:
            rebuild(self._milvus, name, Index(self.target.exact), self.target)
        elif self._place.index != "auto" and found.on_gpu != on_gpu:
            kind = self.target.exact if found.exact else self.target.inverted
            rebuild(self._milvus, name, Index(kind, found.lists), self.target)

    def index(self, backbone: Backbone, level: Level) -> Index:
        """Return the index of a collection."""
        return described_index(self._milvus, self.create(backbone, level)) or Index()

    def rebuild(self, backbone: Backbone, level: Level, index: Index) -> None:
        """Replace a collection's index with `index`.

        Raises:
            StoreError: It was not built.
        """
        rebuild(self._milvus, self.create(backbone, level), index, self.target)

    def keep_probes(self, backbone: Backbone, level: Level, probes: int) -> None:
        """Set the number of lists that every later search of a collection probes; 0 for all."""
        server = self.name
        notes = read_notes(self._place.home, server)
        known = notes.probes | {collection_name(backbone, level): probes}
        kept = {name: count for name, count in known.items() if count}
        write_notes(self._place.home, server, notes.model_copy(update={"probes": kept}))
        self.__dict__.pop("_probes", None)

    def upsert(self, backbone: Backbone, videos: Iterable[EmbeddedVideo]) -> int:
        """Write all rows and segments of `backbone` in `videos`; return the number of rows.

        Raises:
            StoreError: Milvus refused them or became unreachable; rows already sent stay.
        """
        waiting: dict[Level, Batch] = {level: Batch() for level in levels(backbone)}
        rows = 0
        for video in videos:
            for level, batch in waiting.items():
                new = records_of(backbone, video, level)
                rows += len(new) if level == "rows" else 0
                for record in new:
                    batch.add(record)
                    if batch.size >= BATCH_BYTES:
                        self._upsert(self.create(backbone, level), batch.take())
        for level, batch in waiting.items():
            name = self.create(backbone, level)
            if batch.records:
                self._upsert(name, batch.take())
        return rows

    def write(self, backbone: Backbone, records: Iterable[Record], level: Level) -> None:
        """Write single rows or segments, in the form of `records_of`.

        Raises:
            StoreError: Milvus refused them or became unreachable; rows already sent stay.
        """
        name = self.create(backbone, level)
        batch = Batch()
        for record in records:
            batch.add(record)
            if batch.size >= BATCH_BYTES:
                self._upsert(name, batch.take())
        if batch.records:
            self._upsert(name, batch.take())

    def _upsert(self, name: str, records: list[Record]) -> None:
        action = f"write {len(records)} rows to {name}"
        self._milvus.call(action, self._milvus.client.upsert, name, records)

    def delete(self, backbone: Backbone, video_ids: Collection[str]) -> None:
        """Delete all rows and segments of `backbone` that `video_ids` have."""
        for ids in batches(sorted(video_ids), _IDS_PER_FILTER):
            self._delete(backbone, is_in("video_id", ids))

    def delete_rows(self, backbone: Backbone, ids: Iterable[str], level: Level) -> None:
        """Delete single rows or segments."""
        for batch in batches(ids, _IDS_PER_FILTER):
            name = self.create(backbone, level)
            expression = is_in("id", batch)
            self._milvus.call(
                f"delete from {name}", self._milvus.client.delete, name, filter=expression
            )

    def delete_library(self, backbone: Backbone, library: str) -> None:
        """Delete all rows and segments of `backbone` that `library` has."""
        self._delete(backbone, equals("library", library))

    def _delete(self, backbone: Backbone, expression: str) -> None:
        for level in levels(backbone):
            name = self.create(backbone, level)
            action = f"delete from {name}"
            self._milvus.call(action, self._milvus.client.delete, name, filter=expression)

    def flush(self, backbone: Backbone) -> None:
        """Seal unsealed rows; Lite searches unflushed rows many times slower."""
        for level in levels(backbone):
            flush(self._milvus, self.create(backbone, level))

    def count(
        self,
        backbone: Backbone,
        expression: str = "",
        level: Level = "rows",
        strong: bool = False,
    ) -> int:
        """Count the rows or segments of `backbone` that match `expression`.

        `strong` includes the writes of the last seconds, whatever this store's consistency.
        """
        name = self.create(backbone, level)
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

    def queried_levels(self, backbone: Backbone) -> tuple[Level, ...]:
        """Return the levels whose collections a query reads.

        With the embedded Milvus only the searched one: rows come from the shards, and from the
        other collection only where the shards do not hold the same.
        """
        embedded = isinstance(self._milvus.client, EmbeddedClient)
        return levels(backbone)[-1:] if embedded else levels(backbone)

    def held(self, backbone: Backbone, level: Level) -> int:
        """Count all rows or segments of `backbone`; 0 without a collection (none is created)."""
        name = collection_name(backbone, level)
        there = self._milvus.call(f"look for {name}", self._milvus.client.has_collection, name)
        return self.count(backbone, "", level, strong=True) if there else 0

    def scan(
        self, backbone: Backbone, expression: str = "", level: Level = "rows"
    ) -> Iterator[list[StoredRow]]:
        """Yield pages of all rows or segments that match `expression`, in order of their ids.

        They include the latest writes, even if this store's consistency is Bounded.

        Raises:
            StoreError: It cannot be read, or Milvus returns pages that could miss rows.
        """
        name = self.create(backbone, level)
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

    def check_filter(self, backbone: Backbone, expression: str) -> None:
        """Check a user's filter.

        Raises:
            ModelError: Milvus cannot parse it.
        """
        try:
            self.count(backbone, expression, levels(backbone)[-1])
        except StoreError as error:
            why = reason(error.__cause__ or error)
            raise ModelError(
                f"The filter {expression!r} is not understood ({why}); fields are "
                f'{", ".join(SCALARS)}, for example: label == "snow".'
            ) from error

    def max_top_k(self, backbone: Backbone) -> int:
        """Return the most segments that one search of `backbone` returns."""
        return MAX_TOP_K if self._milvus.lite else self._searched_index(backbone).max_top_k

    def _searched_index(self, backbone: Backbone) -> Index:
        name = collection_name(backbone, levels(backbone)[-1])
        if name not in self._indexes:
            self._indexes[name] = self.index(backbone, levels(backbone)[-1])
        return self._indexes[name]

    def search(
        self,
        backbone: Backbone,
        queries: FloatArray,
        limit: int,
        expression: str = "",
        level: Level | None = None,
        probes: int | None = None,
    ) -> list[list[Hit]]:
        """Return the segments nearest to each query by inner product, best first.

        Args:
            backbone: Whose segments to search.
            queries: (nq, dim) float32 in the form of `schemas.embedding.to_query`.
            limit: Most segments per query, at most `max_top_k`.
            expression: Milvus filter over the scalar fields.
            level: Level to search; None for that of segments.
            probes: IVF lists to probe; None for the number that 'vidsim tune-index' found.
        """
        name = self.create(backbone, level or levels(backbone)[-1])
        probes = probes or self._probes.get(name)
        answers = self._milvus.call(
            f"search {name}",
            self._milvus.client.search,
            name,
            data=queries,
            limit=min(limit, MAX_TOP_K),
            filter=expression,
            output_fields=["video_id"],  # each further field costs Lite as much as the search
            search_params={"metric_type": METRIC, "params": {"nprobe": probes} if probes else {}},
            consistency_level=self._consistency,
        )
        return [
            [Hit(hit["id"], hit["entity"]["video_id"], float(hit["distance"])) for hit in hits]
            for hits in answers
        ]

    def largest_products(
        self, backbone: Backbone, queries: FloatArray, video_ids: Collection[str]
    ) -> tuple[list[str], FloatArray]:
        """Return, per query and video, the largest inner product over the video's segments.

        Args:
            backbone: Backbone whose segments to compare.
            queries: (nq, dim) float32 in the form of `schemas.embedding.to_query`.
            video_ids: The videos; those without such a segment are left out.

        Returns:
            Ids of the n videos, ascending, and the products (nq, n) float32.
        """
        if isinstance(self._milvus.client, EmbeddedClient):
            name = self.create(backbone, levels(backbone)[-1])
            (owners,), vectors = self._milvus.call(
                f"read {name}",
                self._milvus.client.rows_with,
                name,
                "video_id",
                video_ids,
                ["video_id"],
            )
            pairs = queries @ vectors.reshape(len(owners), index_dim(backbone)).T
            ids, owner = np.unique(owners, return_inverse=True)
            products = np.full((len(ids), len(queries)), -np.inf, np.float32)
            np.maximum.at(products, owner, pairs.T)
            return ids.tolist(), products.T
        best: dict[str, list[float]] = {}
        for batch in batches(sorted(video_ids), _IDS_PER_FILTER):
            best |= self._searched_products(backbone, queries, batch)
        found = np.array(list(best.values()), np.float32)
        return list(best), found.reshape(-1, len(queries)).T

    def _searched_products(
        self, backbone: Backbone, queries: FloatArray, ids: Sequence[str]
    ) -> dict[str, list[float]]:
        """Have the server compute the products, which is faster than fetching the vectors."""
        limit = min(_SEGMENTS_PER_VIDEO * len(ids), self.max_top_k(backbone))
        answers = self.search(
            backbone,
            queries,
            limit,
            is_in("video_id", ids),
            probes=self._searched_index(backbone).lists or None,  # all lists: none may be missed
        )
        if len(ids) > 1 and any(len(hits) == limit for hits in answers):
            halves = ids[: len(ids) // 2], ids[len(ids) // 2 :]
            first, second = (self._searched_products(backbone, queries, half) for half in halves)
            return first | second
        # Hits come best first; reversed, a video's largest is the last to enter the dictionary.
        best = [{hit.video_id: hit.score for hit in reversed(hits)} for hits in answers]
        return {video_id: [of[video_id] for of in best] for video_id in sorted(best[0])}

    def fetch_videos(
        self, backbone: Backbone, video_ids: Collection[str], level: Level = "rows"
    ) -> list[tuple[list[StoredRow], FloatArray]]:
        """Fetch all rows or segments of videos in the form of `fetch`, in pages of whole videos.

        With the embedded Milvus, rows that are not searched come from the shards (see
        `shard_rows`), and from Milvus where its segments differ from what the shards hold.
        """
        if isinstance(self._milvus.client, EmbeddedClient):
            return self._fetch_here(self._milvus.client, backbone, video_ids, level)
        return [
            page
            for ids in batches(sorted(video_ids), _VIDEOS_PER_FETCH)
            for page in self._fetch_pages(backbone, ids, level)
        ]

    def _fetch_here(
        self, client: EmbeddedClient, backbone: Backbone, video_ids: Collection[str], level: Level
    ) -> list[tuple[list[StoredRow], FloatArray]]:
        searched = levels(backbone)[-1]
        page = self._fetch_embedded(client, backbone, video_ids, searched)
        if level == searched:
            return [page]
        # Milvus decides: it may be older than the shards, or lack a video.
        segments = _contents(page[0])
        found = {
            video_id: rows
            for video_id, rows in self._shard_rows.find(backbone, segments).items()
            if _contents(rows[0]).get(video_id) == segments[video_id]
        }
        pages = [in_order(backbone, found)] if found else []
        if others := segments.keys() - found.keys():
            pages.append(self._fetch_embedded(client, backbone, others, level))
        return pages

    def _fetch_embedded(
        self, client: EmbeddedClient, backbone: Backbone, video_ids: Collection[str], level: Level
    ) -> tuple[list[StoredRow], FloatArray]:
        name = self.create(backbone, level)
        columns, vectors = self._milvus.call(
            f"read {name}", client.rows_with, name, "video_id", video_ids, SCALARS
        )
        rows = [StoredRow(*values) for values in zip(*columns)]
        order = sorted(range(len(rows)), key=lambda i: _place(rows[i]))
        vectors = vectors[order].reshape(len(rows), index_dim(backbone))
        return [rows[i] for i in order], from_index(backbone, vectors)

    def _fetch_pages(
        self, backbone: Backbone, ids: Sequence[str], level: Level
    ) -> Iterator[tuple[list[StoredRow], FloatArray]]:
        """Fetch pages of fewer and fewer videos until they fit a server's limit per call."""
        rows, vectors = self.fetch(backbone, is_in("video_id", ids), level)
        if len(rows) < fetch_limit(backbone):
            yield rows, vectors
        elif len(ids) > 1:
            half = len(ids) // 2
            yield from self._fetch_pages(backbone, ids[:half], level)
            yield from self._fetch_pages(backbone, ids[half:], level)
        else:
            yield self._fetch_long(backbone, ids[0], level)

    def _fetch_long(
        self, backbone: Backbone, video_id: str, level: Level
    ) -> tuple[list[StoredRow], FloatArray]:
        """Fetch all rows of one video of many hours, some hundred segments at a time."""
        rows: list[StoredRow] = []
        parts: list[FloatArray] = []
        first = 0
        while True:
            last = first + _SEGMENTS_PER_FETCH
            within = f"segment >= {first} and segment < {last}"
            part, vectors = self.fetch(
                backbone, f"{equals('video_id', video_id)} and {within}", level
            )
            if not part and first > 0:
                return rows, np.concatenate(parts)
            rows += part
            parts.append(vectors)
            first = last

    def fetch(
        self, backbone: Backbone, expression: str, level: Level = "rows"
    ) -> tuple[list[StoredRow], FloatArray]:
        """Fetch the rows or segments that match `expression`, with (n, dim) `from_index` vectors.

        They are ordered by video, segment and row; at most `fetch_limit` are returned.
        """
        name = self.create(backbone, level)
        answer = self._milvus.call(
            f"read {name}",
            self._milvus.client.query,
            name,
            filter=expression,
            output_fields=[*SCALARS, "vector"],
            limit=fetch_limit(backbone),
            strict_float32=True,  # vectors as arrays, not as lists of Python floats
            consistency_level=self._consistency,
        )
        found = sorted(((stored_row(r), r["vector"]) for r in answer), key=lambda r: _place(r[0]))
        vectors = np.array([vector for _, vector in found], np.float32)
        vectors = vectors.reshape(len(found), index_dim(backbone))
        return [row for row, _ in found], from_index(backbone, vectors)


def _contents(rows: Iterable[StoredRow]) -> dict[str, set[tuple[int, str, str]]]:
    """Return, by video, the segments and file versions that rows belong to."""
    contents: dict[str, set[tuple[int, str, str]]] = {}
    for row in rows:
        contents.setdefault(row.video_id, set()).add((row.segment, row.path, row.fingerprint))
    return contents


def fetch_limit(backbone: Backbone) -> int:
    """Return the most rows that `Store.fetch` returns at once."""
    return min(MAX_TOP_K, FETCH_BYTES // (4 * index_dim(backbone)))


def _place(row: StoredRow) -> tuple[str, int, float, str]:
    return row.video_id, row.segment, row.start_s, row.id
