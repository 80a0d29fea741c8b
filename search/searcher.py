"""Queries from one process, which keeps open and loaded what a query needs."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..ingest.milvus.store import open_store
from ..ingest.shards.home import Place
from ..ingest.system.progress import Progress, Silent
from ..schemas.embedding import EmbeddedVideo
from ..schemas.results import QueryResult
from ..schemas.video import Video
from .query import QueryOptions, answer

if TYPE_CHECKING:  # torch, which stored clips do without
    from ..ingest.extract.batching import FailedVideo
    from ..ingest.extract.embed import Embedder, EmbedOptions


class Searcher:
    """Answers queries, each after the first without loading anything.

    The networks are loaded by the first query for a new clip, and again for a modality or
    backbone that was not asked for before. For one thread at a time. While it is open, no other
    process can use the embedded Milvus of the same home; a server has no such limit.
    """

    def __init__(self, place: Place, progress: Progress | None = None) -> None:
        """Opens the Milvus of `place`.

        Args:
            place: Where the libraries are.
            progress: Told about the embedding of new clips; None for nobody.

        Raises:
            StoreError: It cannot be opened.
        """
        self._place = place
        self._progress = progress or Silent()
        self._embedder: tuple[str, Embedder] | None = None
        self._opened = ExitStack()
        self._store = self._opened.enter_context(open_store(place))

    def query(self, clip: str, options: QueryOptions | None = None) -> QueryResult:
        """Ranks stored videos by their likeness to `clip`.

        Args:
            clip: The id of a stored video, or a file.
            options: How to search; None for the defaults.

        Raises:
            VidsimError: As `answer`; the next query is not affected.
        """
        how = options or QueryOptions()
        return answer(clip, self._store, self._place, how, self._progress, self._embed)

    def _embed(
        self, video: Video, options: EmbedOptions, progress: Progress
    ) -> EmbeddedVideo | FailedVideo:
        embedder = self._loaded(options, progress)
        try:
            return embedder.embed(video, options)
        except BaseException:
            self._unload()
            raise

    def _loaded(self, options: EmbedOptions, progress: Progress) -> Embedder:
        """An embedder that has the backbones, and those that were asked for before."""
        from ..ingest.extract.embed import Embedder

        before = {}
        if self._embedder:
            device, embedder = self._embedder
            before = embedder.backbones
            if device == options.device and options.backbones.items() <= before.items():
                return embedder
            self._unload()
        wanted = replace(options, backbones={**before, **options.backbones})
        embedder = Embedder(wanted, progress)
        self._embedder = options.device, embedder
        return embedder

    def _unload(self) -> None:
        if self._embedder:
            self._embedder[1].close()
            self._embedder = None

    def close(self) -> None:
        """Closes Milvus, and ends the processes that embed."""
        self._unload()
        self._opened.close()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes."""
        self.close()
