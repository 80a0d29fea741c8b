"""Keeps Milvus in step with the shards: repair, reindex, remove.

Everything is ordered so that Milvus never holds a row that the shards do not: rows go into
a shard before they go into Milvus, and out of Milvus before they go out of a shard. After a
kill, whatever is missing in Milvus is found by counting and written again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..schemas.collections import Level, levels
from ..schemas.errors import LibraryError
from ..schemas.modality import BACKBONES, Backbone
from .home import Counts, distrusted, expected_counts, expected_rows, trust, write_note
from .progress import Progress
from .shards import CatalogEntry, Shards
from .store import Store, equals, is_in

_CHUNK = 128
"""Videos whose rows are counted together when looking for what is missing."""


@dataclass(frozen=True)
class Repair:
    """What was out of step and has been written again."""

    library: str
    backbone: str
    level: Level
    found: int
    expected: int

    def __str__(self) -> str:
        """One line for a person."""
        return (
            f"{self.library}: Milvus held {self.found} of {self.expected} {self.level} of "
            f"{self.backbone}; repaired from the shards."
        )


def repair(store: Store, shards: Shards, library: str) -> list[Repair]:
    """Compares the row counts of a library with its shards and mends what differs.

    Raises:
        StoreError: Milvus or a shard cannot be read or written.
    """
    catalog = shards.catalog(library)
    repairs = []
    # A backbone may have rows left of files that were since embedded without it.
    nothing: Counts = {b.name: dict.fromkeys(levels(b), 0) for b in store.backbones()}
    for name, counts in (nothing | expected_counts(catalog)).items():
        backbone = BACKBONES[name]
        here = equals("library", library)
        found = {level: store.count(backbone, here, level) for level in counts}
        if found == counts:
            continue
        level = next(level for level in counts if found[level] != counts[level])
        repairs.append(Repair(library, name, level, found[level], counts[level]))
        if any(found[level] > expected for level, expected in counts.items()):
            store.delete_library(backbone, library)
        entries = [e for e in catalog.values() if name in e.rows]
        for start in range(0, len(entries), _CHUNK):
            _write_missing(store, shards, backbone, library, entries[start : start + _CHUNK])
        store.flush(backbone)
    return repairs


def _write_missing(
    store: Store, shards: Shards, backbone: Backbone, library: str, entries: list[CatalogEntry]
) -> None:
    """Writes the rows of `entries` again where Milvus has another number of them."""
    ids = [e.video.video_id for e in entries]
    expected = expected_counts({e.video.video_id: e for e in entries})[backbone.name]
    found = {level: store.count(backbone, is_in("video_id", ids), level) for level in expected}
    if found != expected:
        store.delete(backbone, ids)
        store.upsert(backbone, shards.read(library, entries, [backbone.name]))


def bring_in_step(
    store: Store, shards: Shards, library: str, home: Path, progress: Progress
) -> list[str]:
    """Has Milvus hold of `library` what the shards do, before more is written to both.

    Returns:
        Notes for a person, none where nothing had to be done.

    Raises:
        StoreError: Milvus or a shard cannot be read or written.
    """
    if distrusted(home, library):
        reindex(store, shards, [library], home, progress)
        return [f"{library}: written to Milvus anew, which an earlier run could not finish."]
    return [str(r) for r in repair(store, shards, library)]


def reindex(
    store: Store, shards: Shards, libraries: Iterable[str], home: Path, progress: Progress
) -> dict[str, int]:
    """Builds the collections of `libraries` anew from their shards; returns rows by backbone.

    No video is read and no network is loaded.

    Raises:
        StoreError: Milvus or a shard cannot be read or written.
    """
    written: dict[str, int] = {}
    for library in libraries:
        catalog = shards.catalog(library)
        for backbone in store.backbones():
            store.delete_library(backbone, library)
        for name, total in expected_rows(catalog).items():
            backbone = BACKBONES[name]
            stage = f"{library} {name}"
            progress.start(stage, total, "rows")
            entries = [e for e in catalog.values() if name in e.rows]
            for start in range(0, len(entries), _CHUNK):
                part = entries[start : start + _CHUNK]
                rows = store.upsert(backbone, shards.read(library, part, [name]))
                written[name] = written.get(name, 0) + rows
                progress.advance(stage, rows)
            store.flush(backbone)
            progress.finish(stage)
        write_note(home, library, catalog)
        trust(home, library)
    return written


def remove(
    store: Store, shards: Shards, library: str, video_ids: Collection[str], home: Path
) -> None:
    """Removes videos from Milvus and then from the shards.

    Raises:
        LibraryError: A video that is not in the library.
        StoreError: Milvus or a shard cannot be written.
    """
    catalog = shards.catalog(library)
    for video_id in video_ids:
        if video_id not in catalog:
            raise LibraryError(f"{video_id} is not stored; 'vidsim libraries' lists what is.")
    for name in sorted({n for video_id in video_ids for n in catalog[video_id].rows}):
        store.delete(BACKBONES[name], video_ids)
        store.flush(BACKBONES[name])
    shards.drop(library, dict.fromkeys(video_ids))
    write_note(home, library, shards.catalog(library))
