"""Libraries as a person handles them: list, find, remove, reindex, verify."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ...schemas.errors import LibraryError
from ...schemas.results import LibrarySummary, StoredVideo, VerifyReport
from ...schemas.video import Video
from ..milvus.store import open_store
from ..shards.catalog import Shards
from ..shards.home import (
    Place,
    expected_rows,
    open_shards,
    stored_root,
    trust,
    undisturbed,
    without_user,
    writing,
)
from ..system.progress import Progress
from .repair import reindex, remove
from .verify import Sample, compare

_FIGURES = ("shards", "milvus", "missing", "extra", "differing", "repaired")
"""Columns of the table of 'vidsim verify'."""


def summarize(home: Path) -> list[LibrarySummary]:
    """What each library under `home` holds, by name.

    Raises:
        StoreError: A shard cannot be read.
    """
    shards = open_shards(home)
    found = []
    for library in shards.libraries():
        entries = list(shards.catalog(library).values())
        found.append(
            LibrarySummary(
                library=library,
                videos=len(entries),
                segments=sum(e.segments for e in entries),
                hours=sum(e.duration_s for e in entries) / 3600,
                rows=expected_rows({e.video.video_id: e for e in entries}),
                root=_origin(entries[0].video),
            )
        )
    return found


def _origin(video: Video) -> str:
    """The folder a library was made from, the site of its addresses, or that it was imported."""
    address = urlsplit(video.path)
    site = f"{address.scheme}://{address.netloc}" if address.netloc else "imported files"
    return str(stored_root(video) or site)


def list_videos(home: Path) -> list[StoredVideo]:
    """All stored videos, by library and id."""
    shards = open_shards(home)
    return [
        StoredVideo(video_id=video_id, damage=entry.damage.describe())
        for library in shards.libraries()
        for video_id, entry in sorted(shards.catalog(library).items())
    ]


def find(home: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Video ids by library, for names of libraries and ids of videos.

    Raises:
        LibraryError: A name that is neither.
    """
    shards = open_shards(home)
    libraries = shards.libraries()
    found: dict[str, dict[str, None]] = {}  # in order, each once
    for name in names:
        library = name.partition("/")[0]
        catalog = shards.catalog(library) if library in libraries else {}
        if name in libraries:
            found[name] = dict.fromkeys(catalog)
        elif name in catalog:
            found.setdefault(library, {})[name] = None
        else:
            raise LibraryError(
                f"{name} is no library and no stored video; 'vidsim libraries' lists them "
                "('--videos' the ids)."
            )
    return {library: list(video_ids) for library, video_ids in found.items()}


def remove_all(place: Place, found: Mapping[str, Sequence[str]]) -> None:
    """Removes videos, as `find` gives them, from Milvus and the shards.

    Raises:
        StoreError: Another process holds the store, or it cannot be written.
    """
    with writing(place.home), open_store(place, writing=True) as store:
        for library, video_ids in found.items():
            remove(store, open_shards(place.home), library, video_ids, place.home)


def reindex_all(
    place: Place, libraries: Sequence[str], progress: Progress, fresh: bool = False
) -> VerifyReport:
    """Has Milvus hold of libraries (all, where none is named) what their shards do.

    Args:
        place: Whose shards to write, and to which Milvus.
        libraries: Names of libraries.
        progress: Told about the rows.
        fresh: Whether to delete all rows of the libraries first.

    Raises:
        LibraryError: A library that is not there.
        StoreError: Another process holds the store, or it cannot be written.
    """
    shards = _shards_of(place.home, libraries)
    with writing(place.home), open_store(place, writing=True) as store:
        report = reindex(store, shards, libraries, place.home, progress, fresh)
        return report.model_copy(update={"notes": store.notes})


def verify_all(
    place: Place, libraries: Sequence[str], sample: Sample, progress: Progress, repair: bool = False
) -> VerifyReport:
    """Compares libraries (all, where none is named) with Milvus row by row.

    Args:
        place: Whose shards to compare, and with which Milvus.
        libraries: Names of libraries.
        sample: Whose vectors to compare too.
        progress: Told about the rows.
        repair: Whether to write what is missing or differs, and to delete what is extra.

    Raises:
        LibraryError: A library that is not there.
        StoreError: Another process is writing, or Milvus or a shard cannot be read.
    """
    shards = _shards_of(place.home, libraries)
    held = writing if repair else undisturbed
    with held(place.home), open_store(place, writing=repair, latest=True) as store:
        report = compare(store, shards, libraries, sample, progress, repair=repair)
        # A sample may miss a video that was embedded anew; reindex reads a row of each.
        for library in (libraries or shards.libraries()) if repair and sample == "all" else ():
            trust(place.home, library, store.name)
        return report.model_copy(update={"notes": store.notes})


def describe_reindex(report: VerifyReport) -> str:
    """What a reindex did, in a line."""
    written: Counter[str] = Counter()
    for c in report.comparisons:
        written[f"{c.level} of {c.backbone}"] += c.missing + c.differing
    told = [f"{number:,} {what}" for what, number in written.items() if number]
    parts = [f"Written: {', '.join(told) or 'nothing'}"]
    if kept := sum(c.shards - c.missing - c.differing for c in report.comparisons):
        parts.append(f"{kept:,} were there")
    if deleted := sum(c.extra for c in report.comparisons):
        parts.append(f"{deleted:,} that no shard knows were deleted")
    return "; ".join(parts) + "."


def how_to_use(target: Place, usual: Place) -> str | None:
    """What to set so that commands use `target`, None where they do: it is the `usual` one."""
    if target.uri == usual.uri:
        return None
    where = "the embedded Milvus" if usual.uri is None else "the Milvus of VIDSIM_URI"
    change = f"set VIDSIM_URI={without_user(target.uri)}" if target.uri else "unset VIDSIM_URI"
    return f"Other commands still use {where}; to have them use this one, {change}."


def verify_table(report: VerifyReport) -> list[str]:
    """Lines a person reads: a heading, then one a library, backbone and level."""
    table: list[tuple[str, ...]] = [("library", "backbone", "level", *_FIGURES)]
    table += [
        (c.library, c.backbone, c.level, *(f"{getattr(c, name):,}" for name in _FIGURES))
        for c in report.comparisons
    ]
    widths = [max(map(len, column)) for column in zip(*table)]
    return [
        "  ".join(
            [cell.ljust(width) for cell, width in zip(row[:3], widths)]
            + [cell.rjust(width) for cell, width in zip(row[3:], widths[3:])]
        )
        for row in table
    ]


def verify_notes(report: VerifyReport) -> list[str]:
    """Lines beside the table: examples of what differs, and what was left alone."""
    lines = report.notes + [
        f"{c.library} {c.backbone} {c.level}, for example {', '.join(c.examples)}"
        for c in report.comparisons
        if c.examples
    ]
    if report.elsewhere:
        told = ", ".join(f"{library} ({rows:,})" for library, rows in report.elsewhere.items())
        lines.append(f"Left alone are the rows of libraries that have no shard here: {told}.")
    return lines


def _shards_of(home: Path, libraries: Sequence[str]) -> Shards:
    """The shards under `home`; raises LibraryError for a library that has none."""
    shards = open_shards(home)
    known = shards.libraries()
    for name in libraries:
        if name not in known:
            raise LibraryError(
                f"No library is called {name}; there is {', '.join(known) or 'none'}."
            )
    return shards
