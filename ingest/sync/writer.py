"""Write embedded videos: first to a shard, which is the truth, then to Milvus, the index.

A server is written to batch by batch. Milvus Lite in the home is written to once, at the end, from
the shards: nothing reads it meanwhile, and of its collections one at a time is in memory then.
Until it holds everything it is marked as outdated.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial

from ...schemas.backbones import sound_backbones
from ...schemas.embedding import EmbeddedVideo
from ...schemas.errors import StoreError
from ..milvus.records import batches
from ..milvus.store import Store
from ..shards.catalog import CatalogEntry, Totals
from ..shards.compact import merge_newest
from ..shards.home import Home, distrust, distrust_others, distrusted, trust
from ..shards.shard_files import add_entries

_log = logging.getLogger(__name__)

_FLUSH_SEGMENTS = 128
_FLUSH_SECONDS = 20.0
"""A shard is written after this many segments or seconds, whichever comes first: the most that a
power cut can cost."""


class Writer:
    """Buffers embedded videos and writes them, first to a shard and then to Milvus."""

    def __init__(
        self,
        store: Store,
        home: Home,
        library: str,
        catalog: dict[str, CatalogEntry],
        flush_segments: int | None = None,
        weights: Mapping[str, str] | None = None,
        merging: bool = True,
    ) -> None:
        """Write to `library` of `home`, and update `catalog`, its contents.

        `flush_segments` is for videos that are cheap to recreate: fewer and larger shards.
        `weights` are the SHA-256 of the weights by backbone, None for the installed ones.
        `merging` says whether small shards may be merged: `catalog` then names other files.
        """
        self.library = library
        self.catalog = catalog
        self.notes: list[str] = []
        self._store = store
        self._home = home
        self._flush_segments = flush_segments or _FLUSH_SEGMENTS
        self._weights = weights
        self._merging = merging
        self._totals = Totals.of(catalog)
        self._pending: list[EmbeddedVideo] = []
        self._segments = 0
        self._since = time.monotonic()
        self._touched: set[str] = set()
        self._gone: dict[str, set[str]] = {}
        self._new: dict[str, set[str]] = {}
        self._outdated = False
        self._indexing = True

    @property
    def waiting(self) -> int:
        """Number of videos that are not in a shard yet."""
        return len(self._pending)

    def add(self, video: EmbeddedVideo) -> None:
        """Add an embedded video; write once the buffer is full."""
        self._pending.append(video)
        self._segments += len(video.segments)
        if (
            self._segments >= self._flush_segments
            or time.monotonic() - self._since > _FLUSH_SECONDS
        ):
            self.flush()

    def flush(self) -> None:
        """Write the buffered videos. A failing Milvus loses nothing: the shard has them all."""
        videos, self._pending, self._segments = self._pending, [], 0
        self._since = time.monotonic()
        if not videos:
            return
        ids = {v.video.video_id for v in videos}
        stale, replaced = {}, {}
        for v in videos:
            old = self.catalog.get(v.video.video_id)
            if old and old.version != v.version:
                stale[v.video.video_id] = old
            elif old and (others := _others(v, old)):
                replaced[v.video.video_id] = others
        if stale or replaced:
            distrust_others(self._home.path, self.library, self._store.name)
        self._begin()
        rows_gone = {i: set(e.rows) for i, e in stale.items()} | replaced
        self._index(lambda: self._delete_rows(rows_gone))
        path = self._home.shards.write(self.library, videos, self._weights)
        _log.info(
            "%s: %d videos, %d segments", path, len(videos), sum(len(v.segments) for v in videos)
        )
        if stale:
            self._home.shards.drop(
                self.library,
                {v.video.video_id: v.version for v in videos if v.video.video_id in stale},
            )
        self._totals.subtract(map(self.catalog.__getitem__, self.catalog.keys() & ids))
        add_entries(self.catalog, path)
        self._totals.add(map(self.catalog.__getitem__, ids))
        if self._merging:
            self._merge()
        self._index(lambda: self._upsert(videos))
        self._home.write_note(self.library, self.catalog, self._totals)

    def _merge(self) -> None:
        """Merge small shards if there are many; what they hold is safe where that fails."""
        try:
            if merge_newest(self._home.shards, self.library):
                self.catalog.update(self._home.shards.catalog(self.library))
        except (StoreError, OSError) as error:
            self._merging = False
            with suppress(StoreError):  # some may be merged; reading them says what is wrong
                self.catalog.update(self._home.shards.catalog(self.library))
            _log.warning("Small shards of %s are not merged: %s", self.library, error)
            self.notes.append(f"Small shards of {self.library} were not merged ({error}).")

    def forget(self, video_ids: Collection[str]) -> None:
        """Remove stored videos from Milvus and then from the shards."""
        gone = {video_id: self.catalog[video_id] for video_id in video_ids}
        if not gone:
            return
        distrust_others(self._home.path, self.library, self._store.name)
        self._begin()
        self._index(lambda: self._delete_rows({i: set(e.rows) for i, e in gone.items()}))
        self._touched.update(name for entry in gone.values() for name in entry.rows)
        self._home.shards.drop(self.library, dict.fromkeys(gone))
        for video_id in gone:
            del self.catalog[video_id]
        self._totals.subtract(gone.values())
        self._home.write_note(self.library, self.catalog, self._totals)

    def finish(self) -> None:
        """Write what Milvus Lite lacks, and seal the collections written to."""
        self.flush()
        if self._store.embedded:
            self._catch_up()
        else:
            self._index(self._flush_collections)
        # A killed run may have left it unwritten.
        self._home.write_note(self.library, self.catalog, self._totals)

    def _begin(self) -> None:
        """Mark Milvus Lite as outdated, before the shards change."""
        if self._store.embedded and not self._touched:
            self._outdated = distrusted(self._home.path, self.library, self._store.name)
            distrust(self._home.path, self.library, self._store.name)

    def _catch_up(self) -> None:
        """Bring Milvus Lite in step with what was written and removed, a collection at a time."""
        for name in sorted(self._touched):
            backbone = self._home.backbones[name]
            gone, new = self._gone.pop(name, set()), self._new.pop(name, set())
            self._index(partial(self._store.delete, backbone, gone))
            entries = [self.catalog[i] for i in new if i in self.catalog]
            read = self._home.shards.read(entries, [name])
            for few in batches(read, _FLUSH_SEGMENTS):
                self._index(partial(self._store.upsert, backbone, few))
                if not self._indexing:
                    return
            self._index(partial(self._store.flush, backbone))
        if self._touched and self._indexing and not self._outdated:
            trust(self._home.path, self.library, self._store.name)
        self._touched.clear()

    def _flush_collections(self) -> None:
        for name in sorted(self._touched):
            self._store.flush(self._home.backbones[name])

    def _delete_rows(self, backbones: Mapping[str, Collection[str]]) -> None:
        """Delete the rows, by backbone, of the videos with these ids."""
        for name in sorted({name for names in backbones.values() for name in names}):
            video_ids = [i for i, names in backbones.items() if name in names]
            if self._store.embedded:
                self._gone.setdefault(name, set()).update(video_ids)
                self._touched.add(name)
            else:
                self._store.delete(self._home.backbones[name], video_ids)

    def _upsert(self, videos: Sequence[EmbeddedVideo]) -> None:
        for name in sorted({n for v in videos for n in v.backbones}):
            if self._store.embedded:
                self._new.setdefault(name, set()).update(v.video.video_id for v in videos)
            else:
                self._store.upsert(self._home.backbones[name], videos)
            self._touched.add(name)

    def _index(self, action: Callable[[], object]) -> None:
        """Run `action` on Milvus; after a failure continue with shards alone."""
        if not self._indexing:
            return
        try:
            action()
        except StoreError as error:
            self._indexing = False
            _log.warning("%s cannot be written: %s", self._store.name, error)
            distrust(self._home.path, self.library, self._store.name)
            self.notes.append(left_behind(error))


def left_behind(error: StoreError) -> str:
    """Return the note about a Milvus that could not be written, while the shards were."""
    return (
        f"{error} The embeddings are safe in the shards; "
        "'vidsim reindex' writes the rest to Milvus."
    )


def _others(new: EmbeddedVideo, old: CatalogEntry) -> set[str]:
    """Return backbones whose stored rows differ in audio track or in number.

    The new rows would not replace all of them.
    """
    counts = new.row_counts()
    others = {n for n in new.backbones & old.rows.keys() if counts[n] != old.rows[n]}
    if new.audio_track != old.audio_track:
        others |= sound_backbones(new.backbones & old.rows.keys())
    return others
