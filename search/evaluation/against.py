"""Restrict two exports to the videos that both hold, so that only the vectors differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ...schemas.errors import LibraryError
from .exported import Exported, ExportedRows

AGAINST = "against:"
"""Prefix of the configurations of the second export."""


def in_common(
    first: Exported, second: Exported, folders: tuple[Path, Path]
) -> tuple[Exported, Exported]:
    """Drop the videos that either export lacks; the result uses the ids of the first.

    Videos match by id. Where no id is in both, the libraries have different names: then they
    match by the path within the library, where it is unique in an export.

    Args:
        first: One export.
        second: Another one, of the same videos.
        folders: Their folders, for messages.

    Raises:
        LibraryError: They have no video in common, or disagree about a video's class.
    """
    names = _matched(first.ids, second.ids)
    ours = _only(first, {i: i for i in names.values()})
    theirs = _only(second, names)
    if not ours.modalities or not theirs.modalities:
        raise LibraryError(
            f"{folders[0]} and {folders[1]} have no video in common, by id or by path within the "
            f"library ({first.ids[0]}, {second.ids[0]}); give two exports of the same videos."
        )
    for video_id, here, there in zip(ours.ids, ours.labels, theirs.labels, strict=True):
        if here != there:
            raise LibraryError(
                f"{video_id} has the class {here or 'none'!r} in {folders[0]} and "
                f"{there or 'none'!r} in {folders[1]}; export both anew from the same folders."
            )
    return ours, theirs


def _matched(first: Iterable[str], second: Iterable[str]) -> dict[str, str]:
    """Map ids of the second export to the ids of the first."""
    known = set(first)
    same = {i: i for i in second if i in known}
    if same:
        return same
    ours, theirs = _by_path(first), _by_path(second)
    return {theirs[path]: ours[path] for path in ours.keys() & theirs.keys()}


def _by_path(ids: Iterable[str]) -> dict[str, str]:
    """Map paths within the library to ids, without paths that several libraries have."""
    paths = {i: i.partition("/")[2] for i in ids}
    times = Counter(paths.values())
    return {path: i for i, path in paths.items() if times[path] == 1}


def _only(exported: Exported, names: Mapping[str, str]) -> Exported:
    """Keep the videos whose ids are in `names`, under their names there."""

    def renamed(rows: ExportedRows) -> ExportedRows:
        kept = {names[i]: vectors for i, vectors in rows.videos.items() if i in names}
        return replace(rows, videos=dict(sorted(kept.items())))

    kept = sorted((names[i], n) for n, i in enumerate(exported.ids) if i in names)
    modalities = {m: renamed(rows) for m, rows in exported.modalities.items()}
    colors = {name: renamed(rows) for name, rows in exported.colors.items()}
    return Exported(
        ids=tuple(i for i, _ in kept),
        labels=tuple(exported.labels[n] for _, n in kept),
        libraries=tuple(exported.libraries[n] for _, n in kept),
        modalities={m: rows for m, rows in modalities.items() if rows.videos},
        colors={name: rows for name, rows in colors.items() if rows.videos},
    )
