"""Reading one Milvus: what there is, counting, listing, searching and fetching rows.

Reading creates nothing: a collection that does not exist has no rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

import numpy as np

from ...schemas.backbones import Backbone
from ...schemas.collections import (
    FETCH_BYTES,
    MAX_TOP_K,
    Index,
    Level,
    Target,
    collection_name,
    levels,
)
from ...schemas.embedding import FloatArray, from_index, index_dim
from ...schemas.errors import ModelError, StoreError
from ...schemas.rows import SCALARS, Hit, StoredRow, stored_row
from ..models.registry import known_backbones
from ..shards.home import Place
from .backend import Backend
from .connection import reason, server_name
from .filters import equals, is_in
from .records import Record, batches

_VIDEOS_PER_CALL = 100
_SEGMENTS_PER_CALL = 512
"""Videos read or compared at once, and segments of a very long one."""

_SEGMENTS_PER_VIDEO = 4
"""Segments requested per video in a comparison; if videos have more, fewer go in one request."""


class Reader:
    """The rows of one Milvus; `store.Store` also writes them.

    Attributes:
        name: Name that notes about it are filed under.
        known: The backbones of the home, by name.
    """

    def __init__(self, backend: Backend, place: Place) -> None:
        """Wrap the open Milvus of `place`."""
        self.name = server_name(place)
        self.known = known_backbones(place.home)
        self._backend = backend
        self._indexes: dict[str, Index] = {}

    @property
    def embedded(self) -> bool:
        """Whether it is the Milvus Lite of the home.

        No query waits for that one, and no other home writes to it.
        """
        return self._backend.embedded

    @property
    def notes(self) -> list[str]:
        """Messages for the user."""
        return self._backend.notes

    @property
    def target(self) -> Target:
        """The index types of this Milvus; a server is tested once for GPU indexes.

        Raises:
            StoreError: The server cannot be written to.
        """
        return self._backend.target

    def levels(self, backbone: Backbone) -> tuple[Level, ...]:
        """Return the levels at which this Milvus holds a backbone, the searched one last."""
        return self._backend.levels(backbone)

    def backbones(self) -> list[Backbone]:
        """Return the backbones that have a collection here."""
        names = set(self._backend.collections())
        found = [
            backbone
            for backbone in self.known.values()
            if any(collection_name(backbone, level) in names for level in self.levels(backbone))
        ]
        return sorted(found, key=collection_name)

    def _held(self, backbone: Backbone, level: Level) -> str | None:
        """Return the name of a collection, ready to be read; None if it does not exist."""
        name = collection_name(backbone, level)
        held = level in self.levels(backbone) and self._backend.has(name)
        return name if held else None

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
        name = self._held(backbone, level)
        return self._backend.count(name, expression, strong) if name else 0

    def held(self, backbone: Backbone, level: Level) -> int:
        """Count all rows or segments of `backbone`, with the writes of the last seconds."""
        return self.count(backbone, "", level, strong=True)

    def scan(
        self, backbone: Backbone, expression: str = "", level: Level = "rows"
    ) -> Iterator[list[StoredRow]]:
        """Yield pages of all rows or segments that match `expression`, in order of their ids.

        They include the latest writes, even if this store's consistency is Bounded.

        Raises:
            StoreError: It cannot be read, or Milvus returns pages that could miss rows.
        """
        if name := self._held(backbone, level):
            yield from self._backend.scan(name, expression)

    def rows_of(
        self, backbone: Backbone, video_ids: Collection[str], level: Level
    ) -> Iterable[StoredRow]:
        """Return all rows or segments of some videos, in any order.

        It is for going through a whole library in parts, and may be slow the first time.
        """
        name = self._held(backbone, level)
        return self._backend.rows_of(name, video_ids) if name else ()

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

    def index(self, backbone: Backbone, level: Level) -> Index:
        """Return the index of a collection; exact without one."""
        name = self._held(backbone, level)
        return self._backend.index(name) if name else Index()

    def max_top_k(self, backbone: Backbone) -> int:
        """Return the most segments that one search of `backbone` returns."""
        return self._searched_index(backbone).max_top_k

    def _searched_index(self, backbone: Backbone) -> Index:
        if backbone.name not in self._indexes:
            self._indexes[backbone.name] = self.index(backbone, levels(backbone)[-1])
        return self._indexes[backbone.name]

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
        name = self._held(backbone, level or levels(backbone)[-1])
        if name is None:
            return [[] for _ in queries]
        return self._backend.search(name, queries, limit, expression, probes)

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
        best: dict[str, list[float]] = {}
        for batch in batches(sorted(video_ids), _VIDEOS_PER_CALL):
            best |= self._searched_products(backbone, queries, batch)
        found = np.array(list(best.values()), np.float32)
        return list(best), found.reshape(-1, len(queries)).T

    def _searched_products(
        self, backbone: Backbone, queries: FloatArray, ids: Sequence[str]
    ) -> dict[str, list[float]]:
        """Have Milvus compute the products, which is faster than fetching the vectors."""
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
        """Fetch all rows or segments of videos in the form of `fetch`, in pages of whole videos."""
        return [
            page
            for ids in batches(sorted(video_ids), _VIDEOS_PER_CALL)
            for page in self._fetch_pages(backbone, ids, level)
        ]

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
            last = first + _SEGMENTS_PER_CALL
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
        name = self._held(backbone, level)
        found = self._backend.fetch(name, expression, fetch_limit(backbone)) if name else []
        return _in_order(backbone, found)

    def fetch_ids(
        self, backbone: Backbone, ids: Sequence[str], level: Level
    ) -> tuple[list[StoredRow], FloatArray]:
        """Fetch the rows or segments with these ids, at most some hundreds, as `fetch`."""
        name = self._held(backbone, level)
        return _in_order(backbone, self._backend.fetch_ids(name, ids) if name else [])


def _in_order(backbone: Backbone, found: Iterable[Record]) -> tuple[list[StoredRow], FloatArray]:
    rows = sorted(((stored_row(r), r["vector"]) for r in found), key=lambda r: _place(r[0]))
    vectors = np.array([vector for _, vector in rows], np.float32)
    vectors = vectors.reshape(len(rows), index_dim(backbone))
    return [row for row, _ in rows], from_index(backbone, vectors)


def fetch_limit(backbone: Backbone) -> int:
    """Return the most rows that `Store.fetch` returns at once."""
    return min(MAX_TOP_K, FETCH_BYTES // (4 * index_dim(backbone)))


def _place(row: StoredRow) -> tuple[str, int, float, str]:
    return row.video_id, row.segment, row.start_s, row.id
