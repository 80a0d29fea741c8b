"""Milvus as the rest of vidsim sees it: one collection per backbone and level of rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Self, TypeVar

from ...schemas.backbones import Backbone
from ...schemas.collections import BATCH_BYTES, Index, Level, collection_name, levels
from ...schemas.embedding import EmbeddedVideo
from ..shards.home import Place
from .backend import Backend
from .connection import QUERY_PATIENCE_S, WRITE_PATIENCE_S
from .lite import open_lite
from .reader import Reader
from .records import Batch, Record, records_of
from .server import open_server

_CALLS_AT_ONCE = 8
"""Concurrent calls to a server: twice the modalities."""

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
        StoreError: A server cannot be opened, or GPU indexes were requested and are unavailable.
            An embedded Milvus is opened at its first use.
    """
    latest = writing if latest is None else latest
    with ExitStack() as stack:
        backend: Backend
        if place.uri:
            patience_s = WRITE_PATIENCE_S if latest else QUERY_PATIENCE_S
            backend = stack.enter_context(open_server(place, patience_s, writing, latest))
        else:
            backend = stack.enter_context(open_lite(place, writing, latest))
        yield stack.enter_context(Store(backend, place))


class Store(Reader):
    """The collections of one Milvus; created by `open_store`."""

    def __init__(self, backend: Backend, place: Place) -> None:
        """Wrap the open Milvus of `place`."""
        super().__init__(backend, place)
        self._threads = ThreadPoolExecutor(_CALLS_AT_ONCE, "vidsim-milvus")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the threads of `start`."""
        self._threads.shutdown(cancel_futures=True)

    def start(self, call: Callable[[], _Answer]) -> Future[_Answer]:
        """Start a call that reads from this store, without waiting for it."""
        return self._threads.submit(call)

    def concurrently(self, calls: Iterable[Callable[[], _Answer]]) -> list[_Answer]:
        """Run `calls` concurrently, and return their results in order.

        Raises:
            VidsimError: The error of the first that failed.
        """
        return [answer.result() for answer in [self.start(call) for call in calls]]

    def create(self, backbone: Backbone, level: Level = "rows") -> str:
        """Create a collection if it is missing; return its name."""
        name = collection_name(backbone, level)
        self._backend.create(name, backbone, level)
        return name

    def drop(self, backbone: Backbone) -> None:
        """Delete the collections of a backbone."""
        for level in self.levels(backbone):
            if name := self._held(backbone, level):
                self._backend.drop(name)

    def drop_unused(self) -> None:
        """Delete the collections of levels that an earlier version held here, with a note."""
        names = set(self._backend.collections())
        for backbone in self.known.values():
            for level in levels(backbone):
                name = collection_name(backbone, level)
                if name in names and level not in self.levels(backbone):
                    self._backend.drop(name)
                    self.notes.append(f"{name} was deleted; its rows are read from the shards.")

    def upsert(self, backbone: Backbone, videos: Iterable[EmbeddedVideo]) -> int:
        """Write what `videos` have of `backbone`, at every level; return the number of rows.

        Raises:
            StoreError: Milvus refused them or became unreachable; rows already sent stay.
        """
        waiting: dict[Level, Batch] = {level: Batch() for level in self.levels(backbone)}
        rows = 0
        for video in videos:
            rows += video.row_counts().get(backbone.name, 0)
            for level, batch in waiting.items():
                for record in records_of(backbone, video, level):
                    batch.add(record)
                    if batch.size >= BATCH_BYTES:
                        self._backend.upsert(self.create(backbone, level), batch.take())
        for level, batch in waiting.items():
            name = self.create(backbone, level)
            if batch.records:
                self._backend.upsert(name, batch.take())
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
                self._backend.upsert(name, batch.take())
        if batch.records:
            self._backend.upsert(name, batch.take())

    def delete(self, backbone: Backbone, video_ids: Collection[str]) -> None:
        """Delete all rows and segments of `backbone` that `video_ids` have."""
        self._delete(backbone, "video_id", sorted(video_ids))

    def delete_rows(self, backbone: Backbone, ids: Iterable[str], level: Level) -> None:
        """Delete single rows or segments."""
        gone = list(ids)
        if gone and (name := self._held(backbone, level)):
            self._backend.delete(name, "id", gone)

    def delete_library(self, backbone: Backbone, library: str) -> None:
        """Delete all rows and segments of `backbone` that `library` has."""
        self._delete(backbone, "library", [library])

    def _delete(self, backbone: Backbone, field: str, values: Collection[str]) -> None:
        for level in self.levels(backbone) if values else ():
            if name := self._held(backbone, level):
                self._backend.delete(name, field, values)

    def flush(self, backbone: Backbone) -> None:
        """Seal unsealed rows, which are searched many times slower."""
        for level in self.levels(backbone):
            if name := self._held(backbone, level):
                self._backend.flush(name)

    def rebuild(self, backbone: Backbone, level: Level, index: Index) -> None:
        """Replace a collection's index with `index`.

        Raises:
            StoreError: It was not built, or this Milvus is embedded.
        """
        self._backend.rebuild(self.create(backbone, level), index)

    def keep_probes(self, backbone: Backbone, level: Level, probes: int) -> None:
        """Set the number of lists that every later search of a collection probes; 0 for all."""
        self._backend.keep_probes(collection_name(backbone, level), probes)
