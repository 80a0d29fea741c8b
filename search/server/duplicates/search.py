"""The search for duplicates, done once for each state of the home."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

from anyio import to_thread

from ....ingest.shards.catalog import CatalogEntry
from ....ingest.shards.home import open_shards
from ....ingest.system.step import Step
from ....ingest.system.unknown_names import unknown_library
from ....schemas.duplicates import DuplicateOptions
from ....schemas.errors import LibraryError, StoreError
from ....schemas.results import DuplicatesReport
from ...duplicates.identical import has_content
from ...library import Library
from ..http.refusals import BusyError
from ..jobs.steps import StageNow, Stages
from .decisions import Side

_KEPT = 4
"""Reports that are kept, of other libraries or thresholds; that of longest ago goes first."""

_MOST_WAITING = 8
_RETRY_S = 30.0


@dataclass(frozen=True)
class Found:
    """The duplicates of one state of the home.

    Attributes:
        report: The pairs.
        entries: What is stored of their videos, by id.
        sides: The same videos as decisions know them.
    """

    report: DuplicatesReport
    entries: Mapping[str, CatalogEntry]
    sides: Mapping[str, Side]


class Duplicates:
    """Finds duplicates, which takes long: one search at a time, and each state of the home once."""

    def __init__(self, library: Library) -> None:
        """Prepare; nothing is searched yet."""
        self._library = library
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="vidsim-duplicates")
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, DuplicateOptions], Future[Found]] = OrderedDict()
        self._stages = Stages()
        self._closed = False

    async def find(
        self, libraries: Sequence[str], options: DuplicateOptions, wait_s: float
    ) -> Found | None:
        """Return the duplicates as the home is now; None where the search takes longer.

        It goes on then, and also where the client is gone.

        Args:
            libraries: Libraries to compare, within and across; none for all.
            options: The thresholds.
            wait_s: How long to wait for it.

        Raises:
            BusyError: Too many searches wait.
            LibraryError, StoreError: As `Library.duplicates`.
        """
        search = await to_thread.run_sync(self._search, tuple(libraries), options)
        if not search.done():
            waited = asyncio.wrap_future(search)
            waited.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.wait([waited], timeout=wait_s)
        return search.result() if search.done() else None

    def stages(self) -> list[StageNow]:
        """Return how far the search is that runs now, or ran last."""
        return self._stages.now()

    def close(self) -> None:
        """End what runs."""
        self._closed = True
        self._thread.shutdown(cancel_futures=True)

    def side(self, video_id: str) -> Side:
        """Return a stored video, for decisions.

        Raises:
            LibraryError: It is not stored.
            StoreError: A shard cannot be read.
        """
        with self._lock:
            done = [each for each in reversed(self._kept.values()) if each.done()]
        for search in done:
            if not search.cancelled() and not search.exception():
                found = search.result()
                if video_id in found.sides:
                    return found.sides[video_id]
        shards = open_shards(self._library.home)
        library = video_id.partition("/")[0]
        entry = shards.catalog(library).get(video_id) if library in shards.libraries() else None
        if entry is None:
            raise LibraryError(f"{video_id} is not stored; /v1/videos lists the ids.")
        return side_of(entry)

    def _search(self, libraries: tuple[str, ...], options: DuplicateOptions) -> Future[Found]:
        """Return the search for the home as it is now, begun if it is new."""
        key = self._stamp(libraries), options
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            waiting = sum(not search.done() for search in self._kept.values())
            if waiting >= _MOST_WAITING:
                raise BusyError(_RETRY_S)
            for old in [each for each, search in self._kept.items() if search.done()]:
                if len(self._kept) >= _KEPT:
                    del self._kept[old]
            search = self._kept[key] = self._thread.submit(self._find, libraries, options)
        search.add_done_callback(lambda done: self._drop_failed(key, done))
        return search

    def _drop_failed(self, key: tuple[str, DuplicateOptions], search: Future[Found]) -> None:
        """Keep no search that failed: the next request is to try again."""
        if search.cancelled() or search.exception():
            with self._lock:
                self._kept.pop(key, None)

    def _find(self, libraries: Sequence[str], options: DuplicateOptions) -> Found:
        self._stages = stages = Stages()

        def tell(step: Step) -> None:
            if self._closed:
                raise StoreError("The server ended before all videos were compared; ask again.")
            stages.take(step)

        report = self._library.duplicates(
            *libraries,
            max_distance=options.max_distance,
            min_similarity=options.min_similarity,
            progress=tell,
        )
        shards = open_shards(self._library.home)
        wanted = {side.video_id for pair in report.pairs for side in (pair.first, pair.second)}
        entries = {
            video_id: entry
            for library in {video_id.partition("/")[0] for video_id in wanted}
            for video_id, entry in shards.catalog(library).items()
            if video_id in wanted
        }
        if entries.keys() != wanted:  # some were removed meanwhile
            there = [p for p in report.pairs if {p.first.video_id, p.second.video_id} <= {*entries}]
            report = report.model_copy(update={"pairs": there})
        return Found(report, entries, {each: side_of(entry) for each, entry in entries.items()})

    def _stamp(self, libraries: Sequence[str]) -> str:
        """Return a text that changes with what is compared.

        Raises:
            LibraryError: A library does not exist.
            StoreError: A folder of shards cannot be read.
        """
        shards = open_shards(self._library.home)
        known = shards.libraries()
        for library in libraries:
            if library not in known:
                raise unknown_library(library, known)
        named = [name for name in known if not libraries or name in libraries]
        return "\n".join(f"{name} {shards.stamp(name)}" for name in named)


def side_of(entry: CatalogEntry) -> Side:
    """Return a stored video, for decisions."""
    video = entry.video
    content = f"{video.fingerprint} {video.size}" if has_content(entry) else video.video_id
    return Side(video.video_id, content)
