"""What a query searches: the shards of an embedded home, or a Milvus server."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from ..ingest.milvus.filters import equals, is_in
from ..ingest.models.registry import known_backbones
from ..ingest.shards.home import Home, LibraryNote, Place, distrusted, read_notes
from ..ingest.shards.lock import writer
from ..ingest.shards.row_filter import FilterError, RowFilter, parse_filter
from ..ingest.shards.rows import ShardRows, in_order
from ..ingest.shards.searched import SearchedVectors
from ..schemas.backbones import Backbone, Backbones
from ..schemas.collections import MAX_TOP_K, Level, levels
from ..schemas.embedding import FloatArray
from ..schemas.errors import ModelError
from ..schemas.rows import SCALARS, Hit, StoredRow

if TYPE_CHECKING:  # pymilvus, which an embedded home does not need
    from ..ingest.milvus.store import Store

_Answer = TypeVar("_Answer")


class SearchIndex(Protocol):
    """What a query asks of the stored videos."""

    @property
    def known(self) -> Backbones:
        """The backbones of the home, by name."""

    def refresh(self) -> None:
        """Take in what has been stored or removed since."""

    def weights(self) -> Mapping[str, Mapping[str, str]]:
        """Return, by library and backbone with rows, the SHA-256 of the weights of its rows."""

    def backbones(self) -> list[Backbone]:
        """Return the backbones that can be searched."""

    def knows(self, video_id: str) -> bool:
        """Return whether a video of this id is stored."""

    def ids(self) -> Collection[str]:
        """Return the ids of stored videos, none where a server has to be asked for them."""

    def check_filter(self, expression: str) -> None:
        """Raise ModelError where a user's filter cannot be parsed."""

    def held(self, backbone: Backbone) -> int:
        """Return about how many rows a search of `backbone` compares with."""

    def max_top_k(self, backbone: Backbone) -> int:
        """Return the most rows that one search of `backbone` returns."""

    def search(
        self, backbone: Backbone, queries: FloatArray, limit: int, expression: str = ""
    ) -> list[list[Hit]]:
        """Return the rows nearest to each query, best first."""

    def largest_products(
        self, backbone: Backbone, queries: FloatArray, video_ids: Collection[str]
    ) -> tuple[list[str], FloatArray]:
        """Return ids (n) and, per query, the largest inner product over a video's rows."""

    def fetch_videos(
        self, backbone: Backbone, video_ids: Collection[str]
    ) -> list[tuple[list[StoredRow], FloatArray]]:
        """Return pages of all rows of whole videos, ordered by video, segment and row."""

    def concurrently(self, calls: Iterable[Callable[[], _Answer]]) -> list[_Answer]:
        """Run `calls`, and return their results in order."""

    def begin_check(
        self, libraries: Collection[str], backbones: Collection[Backbone]
    ) -> Callable[[], list[str]]:
        """Begin to check that nothing is missing; the result gives the notes about what is."""

    def lacking(self, libraries: Collection[str], backbones: Collection[Backbone]) -> list[str]:
        """Return the notes about what is missing, without one about who writes."""


@contextmanager
def open_index(place: Place) -> Iterator[SearchIndex]:
    """Open what a query at `place` searches.

    Raises:
        StoreError: It cannot be read.
    """
    if place.uri is None:
        with closing(ShardIndex(Home(place))) as index:
            yield index
        return
    from ..ingest.milvus.store import open_store

    with open_store(place) as store, closing(MilvusIndex(store, place)) as index:
        yield index


class ShardIndex:
    """The shards of an embedded home, which other processes may be writing to."""

    def __init__(self, home: Home) -> None:
        """Open the shards of `home`.

        Raises:
            StoreError: They cannot be listed.
        """
        self._home = home.path
        self._vectors = SearchedVectors(home)
        self._filters: dict[str, RowFilter] = {}

    @property
    def known(self) -> Backbones:
        """As `SearchIndex`."""
        return self._vectors.known

    def close(self) -> None:
        """Close the shards."""
        self._vectors.close()

    def refresh(self) -> None:
        """As `SearchIndex`."""
        self._vectors.refresh()

    def weights(self) -> Mapping[str, Mapping[str, str]]:
        """As `SearchIndex`."""
        return self._vectors.weights()

    def backbones(self) -> list[Backbone]:
        """As `SearchIndex`."""
        return self._vectors.backbones()

    def knows(self, video_id: str) -> bool:
        """As `SearchIndex`."""
        return self._vectors.knows(video_id)

    def ids(self) -> Collection[str]:
        """As `SearchIndex`."""
        return self._vectors.ids()

    def check_filter(self, expression: str) -> None:
        """As `SearchIndex`."""
        try:
            self._filter(expression)
        except FilterError as error:
            raise ModelError(
                f"The filter {expression!r} is not understood ({error}); fields are "
                f'{", ".join(SCALARS)}, for example: label == "snow".'
            ) from error

    def held(self, backbone: Backbone) -> int:
        """As `SearchIndex`."""
        return self._vectors.count(backbone)

    def max_top_k(self, backbone: Backbone) -> int:
        """As `SearchIndex`: no more than a server returns, so that both answer the same."""
        return min(MAX_TOP_K, self._vectors.count(backbone) + 1)

    def search(
        self, backbone: Backbone, queries: FloatArray, limit: int, expression: str = ""
    ) -> list[list[Hit]]:
        """As `SearchIndex`."""
        return self._vectors.search(backbone, queries, limit, self._filter(expression))

    def largest_products(
        self, backbone: Backbone, queries: FloatArray, video_ids: Collection[str]
    ) -> tuple[list[str], FloatArray]:
        """As `SearchIndex`."""
        return self._vectors.largest_products(backbone, queries, video_ids)

    def fetch_videos(
        self, backbone: Backbone, video_ids: Collection[str]
    ) -> list[tuple[list[StoredRow], FloatArray]]:
        """As `SearchIndex`."""
        found = self._vectors.fetch(backbone, video_ids)
        if not found:
            return []
        rows = [row for video_id in sorted(found) for row in found[video_id][0]]
        return [(rows, np.concatenate([found[video_id][1] for video_id in sorted(found)]))]

    def concurrently(self, calls: Iterable[Callable[[], _Answer]]) -> list[_Answer]:
        """As `SearchIndex`: one after another, as each uses all cores."""
        return [call() for call in calls]

    def begin_check(
        self, libraries: Collection[str], backbones: Collection[Backbone]
    ) -> Callable[[], list[str]]:
        """As `SearchIndex`."""
        found = writer(self._home)
        writing = [found.note()] if found else []
        return lambda: writing + self.lacking(libraries, backbones)

    def lacking(self, libraries: Collection[str], backbones: Collection[Backbone]) -> list[str]:
        """As `SearchIndex`."""
        return self._vectors.problems(libraries, [b.name for b in backbones])

    def _filter(self, expression: str) -> RowFilter | None:
        if not expression:
            return None
        if expression not in self._filters:
            self._filters = {expression: parse_filter(expression)}  # one query asks several times
        return self._filters[expression]


class MilvusIndex:
    """A Milvus, with the notes on what the shards here say that it must hold."""

    def __init__(self, store: Store, place: Place) -> None:
        """Search an open `store`, that of `place`."""
        self._store = store
        self._place = place
        self._noted: dict[str, LibraryNote] = read_notes(place.home)
        self._shard_rows = ShardRows(place.home / "shards")
        self._lacking: dict[str, set[str]] = {}
        self.known = store.known

    def close(self) -> None:
        """Close the shards that were looked into."""
        self._shard_rows.close()

    def refresh(self) -> None:
        """As `SearchIndex`."""
        self._noted = read_notes(self._place.home)
        self._lacking = {}
        self.known = self._store.known = known_backbones(self._place.home)

    def weights(self) -> Mapping[str, Mapping[str, str]]:
        """As `SearchIndex`."""
        return {
            library: {
                name: note.weights.get(name, "") for name, of in note.counts.items() if of["rows"]
            }
            for library, note in self._noted.items()
        }

    def backbones(self) -> list[Backbone]:
        """As `SearchIndex`: also those that the shards have rows of, and Milvus no collection.

        Else it would be taken for a fact about the videos that they have no such modality.
        """
        there = {b.name for b in self._store.backbones()}
        noted = {name for of in self.weights().values() for name in of}
        return [b for b in self.known.values() if there and b.name in there | noted]

    def knows(self, video_id: str) -> bool:
        """As `SearchIndex`."""
        itself = equals("video_id", video_id)
        return any(self._store.count(b, itself, levels(b)[-1]) for b in self._store.backbones())

    def ids(self) -> Collection[str]:
        """As `SearchIndex`."""
        return ()

    def check_filter(self, expression: str) -> None:
        """As `SearchIndex`."""
        self._store.check_filter(self._store.backbones()[0], expression)

    def held(self, backbone: Backbone) -> int:
        """As `SearchIndex`."""
        return self._expected(self._noted, backbone, levels(backbone)[-1])

    def max_top_k(self, backbone: Backbone) -> int:
        """As `SearchIndex`."""
        return self._store.max_top_k(backbone)

    def search(
        self, backbone: Backbone, queries: FloatArray, limit: int, expression: str = ""
    ) -> list[list[Hit]]:
        """As `SearchIndex`."""
        return self._store.search(backbone, queries, limit, expression)

    def largest_products(
        self, backbone: Backbone, queries: FloatArray, video_ids: Collection[str]
    ) -> tuple[list[str], FloatArray]:
        """As `SearchIndex`."""
        return self._store.largest_products(backbone, queries, video_ids)

    def fetch_videos(
        self, backbone: Backbone, video_ids: Collection[str]
    ) -> list[tuple[list[StoredRow], FloatArray]]:
        """As `SearchIndex`; what Milvus lacks comes from the shards, if they are here."""
        pages = self._store.fetch_videos(backbone, video_ids)
        lacking = set(video_ids) - {row.video_id for rows, _ in pages for row in rows}
        if found := self._shard_rows.find(backbone, lacking):
            found = {video_id: of for video_id, of in found.items() if of[0]}
            self._lacking.setdefault(backbone.name, set()).update(found)
            pages += [in_order(backbone, found)] if found else []
        return pages

    def concurrently(self, calls: Iterable[Callable[[], _Answer]]) -> list[_Answer]:
        """As `SearchIndex`."""
        return self._store.concurrently(calls)

    def begin_check(
        self, libraries: Collection[str], backbones: Collection[Backbone]
    ) -> Callable[[], list[str]]:
        """As `SearchIndex`: start counting, without a filter, which is nearly free."""
        held = {
            (backbone.name, level): self._store.start(
                partial(self._store.count, backbone, "", level)
            )
            for backbone in backbones
            for level in self._store.levels(backbone)
        }

        def notes() -> list[str]:
            missing = self._missing(libraries, backbones, held)
            lacking = {
                b.name: (
                    f"Milvus lacks the {b.modality} rows of {len(ids)} videos, {min(ids)} for one, "
                    "which were read from the shards; 'vidsim reindex' repairs this."
                )
                for b in backbones
                if (ids := self._lacking.get(b.name))
            }
            outdated = [
                f"Milvus may hold outdated rows of {library}; 'vidsim reindex' repairs this."
                for library in libraries
                if distrusted(self._place.home, library, self._store.name)
            ]
            return [*(lacking | missing).values(), *outdated]

        return notes

    def lacking(self, libraries: Collection[str], backbones: Collection[Backbone]) -> list[str]:
        """As `SearchIndex`."""
        return self.begin_check(libraries, backbones)()

    def _missing(
        self,
        libraries: Collection[str],
        backbones: Collection[Backbone],
        held: Mapping[tuple[str, Level], Future[int]],
    ) -> dict[str, str]:
        """Return a line per backbone whose counts differ between Milvus and the shards."""
        notes: dict[str, str] = {}
        if not libraries:
            return notes
        asked = {name: self._noted[name] for name in libraries if name in self._noted}
        for backbone in backbones:
            for level in self._store.levels(backbone):
                expected = self._expected(asked, backbone, level)
                found = held[backbone.name, level].result()
                if found != expected:
                    # A server's quick count may lack the latest writes.
                    found = self._store.count(
                        backbone, is_in("library", libraries), level, strong=True
                    )
                if found != expected:
                    notes[backbone.name] = (
                        f"Milvus holds {found} {level} of {backbone.name} where the shards hold "
                        f"{expected}; 'vidsim reindex' repairs this."
                    )
                    break
        return notes

    @staticmethod
    def _expected(noted: Mapping[str, LibraryNote], backbone: Backbone, level: Level) -> int:
        return sum(note.counts.get(backbone.name, {}).get(level, 0) for note in noted.values())
