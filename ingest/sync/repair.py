"""Keep Milvus in step with the shards: repair, reindex, remove.

The order of writes ensures that a server never holds a row that the shards do not: rows go into
a shard before they go into Milvus, and out of Milvus before they go out of a shard. After a
kill, counting finds whatever is missing in Milvus, and it is written again. The Milvus Lite of a
home, which no query reads, follows the shards at the end (`writer`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ...schemas.backbones import Backbone
from ...schemas.collections import Level
from ...schemas.errors import LibraryError, StoreError
from ...schemas.results import VerifyReport
from ..milvus.filters import equals
from ..milvus.store import Store
from ..shards.catalog import Totals
from ..shards.check import check_library
from ..shards.home import (
    Counts,
    Home,
    distrust,
    distrust_others,
    distrusted,
    outdated,
    read_notes,
    trust,
)
from ..system.progress import Progress, Silent
from .verify import compare
from .writer import Writer, left_behind

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Repair:
    """Rows that were out of step and have been written again."""

    library: str
    backbone: str
    level: Level
    found: int
    expected: int

    def __str__(self) -> str:
        """Describe it in one line."""
        return (
            f"{self.library}: Milvus held {self.found} of {self.expected} {self.level} of "
            f"{self.backbone}; repaired from the shards."
        )


def repair(store: Store, home: Home, library: str) -> list[Repair]:
    """Compare the row counts of a library with its shards, and repair differences.

    Raises:
        StoreError: Milvus or a shard cannot be read or written.
    """
    repairs = []
    # A backbone may have stale rows of files that were since embedded without it.
    nothing: Counts = {b.name: dict.fromkeys(store.levels(b), 0) for b in store.backbones()}
    for name, expected in (nothing | home.counts(Totals.of(home.shards.catalog(library)))).items():
        backbone = home.backbones[name]
        counts = {level: expected[level] for level in store.levels(backbone)}
        if store.embedded and _holds_all(store, home, backbone, library, counts):
            continue
        here = equals("library", library)
        found = {level: store.count(backbone, here, level) for level in counts}
        if found == counts:
            continue
        level = next(level for level in counts if found[level] != counts[level])
        repairs.append(Repair(library, name, level, found[level], counts[level]))
    if repairs:
        names = {r.backbone for r in repairs}
        report = compare(store, home, [library], 0, Silent(), repair=True, backbones=names)
        mended = {c.backbone for c in report.comparisons if c.repaired}
        repairs = [r for r in repairs if r.backbone in mended]  # else all that differs is kept
    return repairs


def _holds_all(
    store: Store, home: Home, backbone: Backbone, library: str, counts: Mapping[Level, int]
) -> bool:
    """Return whether the home's Milvus Lite holds as many rows as all its libraries together.

    It counts those of one library a thousand times slower.
    """
    others = [note.counts for name, note in read_notes(home.path).items() if name != library]
    return all(
        store.held(backbone, level)
        == here + sum(other.get(backbone.name, {}).get(level, 0) for other in others)
        for level, here in counts.items()
    )


def bring_in_step(store: Store, home: Home, library: str, progress: Progress) -> list[str]:
    """Bring Milvus in step with the shards of `library`, before more is written to both.

    An embedded one that cannot be read or written is left for later: only the shards are needed.

    Returns:
        Notes for the user, none where nothing had to be done.

    Raises:
        StoreError: A server or a shard cannot be read or written.
    """
    home.shards.adopt(library)
    try:
        forget_removed(store, home)
        return _bring_in_step(store, home, library, progress)
    except StoreError as error:
        if not store.embedded:
            raise
        _log.warning("%s", error)
        distrust(home.path, library, store.name)
        return [left_behind(error)]


def forget_removed(store: Store, home: Home) -> None:
    """Delete what an embedded Milvus has of libraries whose removal was interrupted."""
    gone = outdated(home.path, store.name) - set(home.shards.libraries()) if store.embedded else ()
    for library in gone:
        for backbone in store.backbones():
            store.delete_library(backbone, library)
            store.flush(backbone)
        trust(home.path, library, store.name)


def _bring_in_step(store: Store, home: Home, library: str, progress: Progress) -> list[str]:
    if distrusted(home.path, library, store.name):
        reindex(store, home, [library], progress)
        return [f"{library}: Milvus may have been outdated; it was compared with the shards."]
    notes = [str(r) for r in repair(store, home, library)]
    trust(home.path, library, store.name)
    return notes


def settle_missing(store: Store, home: Home, library: str) -> str:
    """List the missing shards of a library no more, once all that they held is stored again.

    A Milvus that has rows of other videos may hold the last copy of them; then they stay listed.

    Returns:
        A note about it.

    Raises:
        StoreError: Milvus or a shard cannot be read, or the list not be written.
    """
    missing = ", ".join(home.shards.missing(library))
    report = compare(store, home, [library], 0, Silent())
    if alone := sum(c.extra for c in report.comparisons):
        return (
            f"The shards {missing} are missing, and Milvus alone has {alone} rows that the folder "
            f"has no file for; 'vidsim verify {library} --repair --give-up' deletes them."
        )
    home.shards.settle(library)
    return (
        f"The shards {missing} were missing; what the folder still has of their videos is stored "
        "again."
    )


def reindex(
    store: Store,
    home: Home,
    libraries: Sequence[str],
    progress: Progress,
    fresh: bool = False,
) -> VerifyReport:
    """Bring Milvus in step with the shards of `libraries` (all, where none is named).

    Rows already there stay, so an interrupted run resumes. No video is read and no network is
    loaded.

    Args:
        store: The Milvus to write to.
        home: Home of the shards, and of the note of their counts.
        libraries: Names of libraries that have a shard.
        progress: Receives the progress of the rows.
        fresh: Whether to delete all rows of the libraries first.

    Raises:
        StoreError: Milvus or a shard cannot be read or written.
    """
    named = list(libraries) or home.shards.libraries()
    for library in named:
        home.shards.adopt(library)
        if fresh and (wrong := check_library(home.shards, library, progress)):
            raise StoreError(wrong[0].sentence)
        if fresh and (missing := home.shards.missing(library)):
            raise StoreError(
                f"Of {library} the shards {', '.join(missing)} are missing, and Milvus may have "
                "the last copy of their rows; put them back, or run 'vidsim ingest' on the whole "
                "folder first."
            )
    if not any(map(home.shards.missing, home.shards.libraries())):  # else it may be the last copy
        store.drop_unused()
    for backbone in store.backbones() if fresh else ():
        if store.embedded and set(home.shards.libraries()) <= set(named):
            store.drop(backbone)
            continue
        for library in named:
            store.delete_library(backbone, library)
    report = compare(store, home, libraries, "each video", progress, repair=True)
    for library in named:
        home.write_note(library, home.shards.catalog(library))
        trust(home.path, library, store.name)
    return report


def remove(store: Store, home: Home, library: str, video_ids: Collection[str]) -> list[str]:
    """Remove videos from a server and then from the shards, or from the shards and then from Lite.

    Returns:
        Notes for the user.

    Raises:
        LibraryError: A video is not in the library.
        StoreError: A server or a shard cannot be written.
    """
    catalog = home.shards.catalog(library)
    for video_id in video_ids:
        if video_id not in catalog:
            raise LibraryError(f"{video_id} is not stored; 'vidsim libraries' lists what is.")
    if store.embedded:
        writer = Writer(store, home, library, catalog)
        writer.forget(video_ids)
        writer.finish()
        return writer.notes
    for name in sorted({n for video_id in video_ids for n in catalog[video_id].rows}):
        store.delete(home.backbones[name], video_ids)
        store.flush(home.backbones[name])
    distrust_others(home.path, library, store.name)
    home.shards.drop(library, dict.fromkeys(video_ids))
    home.write_note(library, home.shards.catalog(library))
    return []
