"""Compare Milvus with the shards row by row, and repair differences.

One part of a shard at a time is compared with the rows of the same videos in Milvus, so memory
does not grow with the rows of a library. Two rows are equal if all their fields are; vectors are
read back for a sample only, since reading them all takes as long as writing them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np

from ...schemas.backbones import Backbone
from ...schemas.collections import BATCH_BYTES, Level
from ...schemas.embedding import EmbeddedVideo, from_index, index_dim
from ...schemas.results import LevelComparison, VerifyReport
from ...schemas.rows import stored_row
from ..milvus.filters import equals, is_in
from ..milvus.records import Record, batches, records_of
from ..milvus.store import Store
from ..shards.catalog import CatalogEntry, Totals
from ..shards.home import Home, outdated
from ..system.progress import Progress

Sample = int | Literal["each video", "all"]
"""Vectors to read back: a number of rows per library and level, one row per video (which tells
whether the video was re-embedded), or all rows. Where one differs, the others of its video are
read too."""

_VIDEOS = 128
"""Most videos per filter; keeps the filter far below a server's limit."""

_VECTORS = 200
"""Vectors read back at once."""

_TOLERANCE = 1e-5
"""Normalising the same row on two machines may differ in the last bits of float32."""

_EXAMPLES = 5
"""Example ids per table row."""

_Sampler = Callable[[Collection[Record]], Collection[Record]]


@dataclass(frozen=True)
class _Run:
    """The context of one comparison.

    Attributes:
        lost: Libraries of which a shard is missing.
        only: By library, the shards whose rows to compare; None for all.
    """

    store: Store
    home: Home
    sample: Sample
    progress: Progress
    repair: bool
    lost: frozenset[str]
    only: Mapping[str, Collection[Path]] | None = None

    def is_compared(self, library: str, entry: CatalogEntry, backbone: Backbone) -> bool:
        """Return whether rows of a video are compared."""
        return backbone.name in entry.rows and (
            self.only is None or entry.shards.get(backbone.name) in self.only[library]
        )

    def delete(self, backbone: Backbone, library: str, ids: Collection[str], level: Level) -> int:
        """Delete rows that no shard holds, unless a missing shard did: they are the last copy.

        Returns:
            How many were deleted.
        """
        if library in self.lost:
            return 0
        self.store.delete_rows(backbone, sorted(ids), level)
        return len(ids)


@dataclass
class _Tally:
    """Counts for one library at one level of one backbone."""

    choose: _Sampler
    shards: int = 0
    milvus: int = 0
    missing: int = 0
    extra: int = 0
    differing: int = 0
    repaired: int = 0
    vectors: int = 0
    examples: list[str] = field(default_factory=list)

    def tell(self, ids: Collection[str]) -> None:
        """Keep the first few wrong ids as examples."""
        self.examples += sorted(ids)[: _EXAMPLES - len(self.examples)]


def compare(
    store: Store,
    home: Home,
    libraries: Sequence[str],
    sample: Sample,
    progress: Progress,
    *,
    repair: bool = False,
    backbones: Collection[str] | None = None,
    only: Mapping[str, Collection[Path]] | None = None,
) -> VerifyReport:
    """Compare libraries (all, where none is named) with Milvus at every level.

    Rows of libraries that have no shard here belong to another machine: if no library is named,
    they are counted, and they are left alone.

    Args:
        store: The Milvus to compare.
        home: Home of the shards, the reference.
        libraries: Names of libraries that have a shard.
        sample: Which vectors to compare too.
        progress: Receives the progress of the rows.
        repair: Whether to write what is missing or differs, and to delete what is extra.
        backbones: Names of the backbones to compare; None for all.
        only: By library, the shards whose rows to compare; all rows are counted nevertheless.
            None for all.

    Raises:
        StoreError: Milvus or a shard cannot be read or written.
    """
    shards = home.shards
    known = shards.libraries()
    lost = frozenset(library for library in known if shards.missing(library))
    run = _Run(store, home, sample, progress, repair, lost, only)
    catalogs = {library: shards.catalog(library) for library in libraries or known}
    names = {b.name for b in store.backbones()}
    names.update(n for catalog in catalogs.values() for e in catalog.values() for n in e.rows)
    comparisons: list[LevelComparison] = []
    elsewhere: Counter[str] = Counter()
    for backbone in home.backbones.values():
        if backbone.name not in (names if backbones is None else backbones):
            continue
        held = {level: store.held(backbone, level) for level in store.levels(backbone)}
        found = {
            library: _compare_library(run, backbone, library, catalog, held)
            for library, catalog in catalogs.items()
        }
        for level, rows in held.items():
            of_known = sum(tallies[level].milvus for tallies in found.values())
            if only is not None:
                _count(run, backbone, level, catalogs, found)
            elif rows > of_known:
                scope = is_in("library", libraries) if libraries else ""
                tallies = {library: found[library][level] for library in found}
                others = _find_strays(run, backbone, level, scope, catalogs, tallies)
                if level == store.levels(backbone)[0]:
                    elsewhere.update({i: n for i, n in others.items() if i not in known})
        removed = outdated(home.path, store.name) - set(known) if repair and not libraries else ()
        for library in removed:  # by a run that was interrupted
            store.delete_library(backbone, library)
            elsewhere.pop(library, None)
        if repair:
            store.flush(backbone)
        comparisons += [
            _comparison(library, backbone, level, tally)
            for library, tallies in found.items()
            for level, tally in tallies.items()
            if tally.shards or tally.milvus
        ]
    comparisons.sort(key=lambda c: c.library)
    return VerifyReport(
        milvus=store.name, comparisons=comparisons, elsewhere=dict(sorted(elsewhere.items()))
    )


def _compare_library(
    run: _Run,
    backbone: Backbone,
    library: str,
    catalog: Mapping[str, CatalogEntry],
    held: Mapping[Level, int],
) -> dict[Level, _Tally]:
    """Compare the rows of the videos in `catalog` with Milvus, one part at a time."""
    entries = {i: e for i, e in catalog.items() if run.is_compared(library, e, backbone)}
    expected = run.home.counts(Totals.of(entries)).get(backbone.name, dict.fromkeys(held, 0))
    tallies = {level: _Tally(_sampler(run.sample, expected[level])) for level in held}
    stage = f"{library} {backbone.name}"
    followed = next(iter(held))
    run.progress.start(stage, expected[followed], followed)
    read = run.home.shards.read(list(entries.values()), [backbone.name])
    for part in _parts(backbone, read):
        for level, tally in tallies.items():
            wanted = {r["id"]: r for video in part for r in records_of(backbone, video, level)}
            _compare_part(run, backbone, level, part, wanted, tally, bool(held[level]))
            if level == followed:
                run.progress.advance(stage, len(wanted))
    run.progress.finish(stage)
    return tallies


def _compare_part(
    run: _Run,
    backbone: Backbone,
    level: Level,
    part: Sequence[EmbeddedVideo],
    wanted: Mapping[str, Record],
    tally: _Tally,
    any_held: bool,
) -> None:
    ids = [v.video.video_id for v in part]
    found = {r.id: r for r in run.store.rows_of(backbone, ids, level)} if any_held else {}
    missing = wanted.keys() - found.keys()
    extra = found.keys() - wanted.keys()
    differing = {i for i in wanted.keys() & found if stored_row(wanted[i]) != found[i]}
    same = {i: r for i, r in wanted.items() if i not in missing | differing}
    chosen = {r["id"] for r in tally.choose(wanted.values())} & same.keys()
    other = _other_vectors(run.store, backbone, level, [same[i] for i in chosen])
    suspect = {same[i]["video_id"] for i in other}  # its other rows are as old
    rest = {i for i, r in same.items() if r["video_id"] in suspect} - chosen
    differing |= other | _other_vectors(run.store, backbone, level, [same[i] for i in rest])
    tally.shards += len(wanted)
    tally.milvus += len(found)
    tally.missing += len(missing)
    tally.extra += len(extra)
    tally.differing += len(differing)
    tally.vectors += len(chosen | rest)
    tally.tell(missing | extra | differing)
    if run.repair:
        to_write = missing | differing
        run.store.write(backbone, [r for i, r in wanted.items() if i in to_write], level)
        deleted = run.delete(backbone, part[0].video.library, extra, level)
        tally.repaired += len(to_write) + deleted


def _other_vectors(
    store: Store, backbone: Backbone, level: Level, records: Iterable[Record]
) -> set[str]:
    """Return the ids of `records` whose vectors in Milvus differ."""
    other: set[str] = set()
    for batch in batches(records, _VECTORS):
        rows, vectors = store.fetch_ids(backbone, [r["id"] for r in batch], level)
        held = {row.id: vector for row, vector in zip(rows, vectors)}
        wanted = from_index(backbone, np.stack([r["vector"] for r in batch]))
        other.update(
            record["id"]
            for record, vector in zip(batch, wanted)
            if not np.allclose(held.get(record["id"], np.nan), vector, rtol=0, atol=_TOLERANCE)
        )
    return other


def _find_strays(
    run: _Run,
    backbone: Backbone,
    level: Level,
    scope: str,
    catalogs: Mapping[str, Mapping[str, CatalogEntry]],
    tallies: Mapping[str, _Tally],
) -> Counter[str]:
    """Find rows of videos that no shard holds; count those of other libraries."""
    others: Counter[str] = Counter()
    for page in run.store.scan(backbone, scope, level):
        strays: dict[str, list[str]] = {}
        for row in page:
            if row.library not in catalogs:
                others[row.library] += 1
                continue
            entry = catalogs[row.library].get(row.video_id)
            if entry is None or backbone.name not in entry.rows:
                strays.setdefault(row.library, []).append(row.id)
        for library, ids in strays.items():
            tally = tallies[library]
            tally.milvus += len(ids)
            tally.extra += len(ids)
            tally.tell(ids)
            if run.repair:
                tally.repaired += run.delete(backbone, library, ids, level)
    return others


def _count(
    run: _Run,
    backbone: Backbone,
    level: Level,
    catalogs: Mapping[str, Mapping[str, CatalogEntry]],
    found: Mapping[str, Mapping[Level, _Tally]],
) -> None:
    """Count all rows of libraries of which a part is compared; other numbers are wrong."""
    expected = {
        library: run.home.counts(Totals.of(catalog)).get(backbone.name, {}).get(level, 0)
        for library, catalog in catalogs.items()
    }
    for library, rows in expected.items():
        there = run.store.count(backbone, equals("library", library), level, strong=True)
        tally = found[library][level]
        tally.missing = max(tally.missing, rows - there)
        if library not in run.lost:  # else Milvus has the last copy of them
            tally.extra = max(tally.extra, there - rows)


def _parts(backbone: Backbone, videos: Iterable[EmbeddedVideo]) -> Iterator[list[EmbeddedVideo]]:
    """Yield batches of videos whose rows take about `BATCH_BYTES`."""
    most_rows = BATCH_BYTES // (4 * index_dim(backbone))
    part: list[EmbeddedVideo] = []
    rows = 0
    for video in videos:
        part.append(video)
        rows += video.row_counts()[backbone.name]
        if rows >= most_rows or len(part) == _VIDEOS:
            yield part
            part, rows = [], 0
    if part:
        yield part


def _sampler(sample: Sample, rows: int) -> _Sampler:
    """Return a sampler of `rows` records, which come in consecutive parts."""
    if sample == "all":
        return lambda part: part
    if sample == "each video":
        return lambda part: {r["video_id"]: r for r in part}.values()
    chosen = set(np.random.default_rng().choice(rows, min(sample, rows), replace=False).tolist())
    number = count()
    return lambda part: [r for r in part if next(number) in chosen]


def _comparison(library: str, backbone: Backbone, level: Level, tally: _Tally) -> LevelComparison:
    return LevelComparison(
        library=library,
        backbone=backbone.name,
        level=level,
        shards=tally.shards,
        milvus=tally.milvus,
        missing=tally.missing,
        extra=tally.extra,
        differing=tally.differing,
        vectors=tally.vectors,
        repaired=tally.repaired,
        examples=tally.examples,
    )
