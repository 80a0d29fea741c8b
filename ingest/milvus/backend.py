"""What a store asks of its Milvus: the few calls that Lite and a server answer alike."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Protocol

from ...schemas.backbones import Backbone
from ...schemas.collections import Index, Level, Target
from ...schemas.embedding import FloatArray
from ...schemas.rows import Hit, StoredRow
from .records import Record


class Backend(Protocol):
    """One Milvus; `lite.Lite` and `server.Server` are its two kinds.

    Every method but `collections`, `has`, `create` and `drop` takes the name of a collection that
    exists. All raise StoreError where Milvus cannot be read or written.

    Attributes:
        embedded: Whether it is the Milvus Lite of the home. No query waits for that one, and no
            other home writes to it.
    """

    embedded: bool

    @property
    def notes(self) -> list[str]:
        """Messages for the user, which the store may add to."""

    @property
    def target(self) -> Target:
        """The index types that it builds."""

    def levels(self, backbone: Backbone) -> tuple[Level, ...]:
        """Return the levels of `backbone` that it holds, the searched one last."""

    def collections(self) -> list[str]:
        """Return the names of all collections."""

    def has(self, name: str) -> bool:
        """Return whether a collection exists, and make it ready to be used."""

    def create(self, name: str, backbone: Backbone, level: Level) -> None:
        """Create a collection if it is missing, and make it ready to be used."""

    def drop(self, name: str) -> None:
        """Delete a collection and its rows."""

    def upsert(self, name: str, records: Sequence[Record]) -> None:
        """Write rows, replacing those of the same id."""

    def delete(self, name: str, field: str, values: Collection[str]) -> None:
        """Delete the rows whose `field` is one of `values`."""

    def flush(self, name: str) -> None:
        """Seal what was written."""

    def count(self, name: str, expression: str, strong: bool) -> int:
        """Count the rows that match a filter, "" for all; `strong` includes the latest writes."""

    def scan(self, name: str, expression: str) -> Iterator[list[StoredRow]]:
        """Yield pages of the rows that match a filter, in order of their ids."""

    def rows_of(self, name: str, video_ids: Collection[str]) -> Iterable[StoredRow]:
        """Return all rows of some videos, in any order; to be called for one part after another."""

    def fetch(self, name: str, expression: str, limit: int) -> list[Record]:
        """Return at most `limit` rows that match a filter, with their vectors, in any order."""

    def fetch_ids(self, name: str, ids: Sequence[str]) -> list[Record]:
        """Return the rows with these ids, with their vectors, in any order."""

    def search(
        self, name: str, queries: FloatArray, limit: int, expression: str, probes: int | None
    ) -> list[list[Hit]]:
        """Return the rows nearest to each query (nq, dim), best first.

        `probes` is the number of IVF lists to search, None for what 'vidsim tune-index' noted.
        """

    def index(self, name: str) -> Index:
        """Return the index of a collection."""

    def rebuild(self, name: str, index: Index) -> None:
        """Replace a collection's index."""

    def keep_probes(self, name: str, probes: int) -> None:
        """Note the number of lists that every later search of a collection probes; 0 for all."""
