"""Stored videos with byte-identical files, by the fingerprints that ingest took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from ...ingest.shards.catalog import CatalogEntry


def has_content(entry: CatalogEntry) -> bool:
    """Return whether a file was read: videos imported as rows have no size."""
    return bool(entry.video.fingerprint and entry.video.size)


def have_same_content(first: CatalogEntry, second: CatalogEntry) -> bool:
    """Return whether two videos come from identical files."""
    ours, theirs = first.video, second.video
    same = (ours.fingerprint, ours.size) == (theirs.fingerprint, theirs.size)
    return has_content(first) and same


def same_content(stored: Sequence[CatalogEntry]) -> Iterator[tuple[CatalogEntry, CatalogEntry]]:
    """Yield pairs of videos with identical files, each in order of id."""
    alike: dict[str, list[CatalogEntry]] = {}
    for entry in filter(has_content, stored):
        alike.setdefault(entry.video.fingerprint, []).append(entry)
    for group in alike.values():
        for first, second in combinations(sorted(group, key=lambda e: e.video.video_id), 2):
            if have_same_content(first, second):
                yield first, second
