"""Stored videos: chosen by name, label or filter, and listed."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ...schemas.backbones import Backbones, sound_backbones
from ...schemas.errors import LibraryError, ModelError
from ...schemas.modality import Modality
from ...schemas.results import LabelSummary, StoredVideo
from ...schemas.video import LABEL_SEPARATOR, VideoOrder
from ..shards.catalog import CatalogEntry
from ..shards.home import open_shards
from ..shards.row_filter import FilterError, RowFilter, parse_filter
from ..shards.shard_files import Shards
from ..system.unknown_names import did_you_mean, nearest_path

FIELDS = ("video_id", "library", "path", "label", "fingerprint")
"""The scalar fields of Milvus (`schemas.collections.FIELDS`) that are about a whole video."""

Catalogs = dict[str, dict[str, CatalogEntry]]
"""Entries by video id, by library."""


@dataclass(frozen=True)
class Wanted:
    """Which of the stored videos.

    Attributes:
        names: Libraries, folders in them, ids, or patterns (``ucf101/*/v_YoYo_*``), of which each
            part matches one part of an id, and what lies below; none for all videos.
        label: A label that they have, "" for those without any; None for whatever label.
        expression: Milvus filter over `FIELDS`, "" for none.
        damaged: Whether only those of which a part did not decode.
    """

    names: tuple[str, ...] = ()
    label: str | None = None
    expression: str = ""
    damaged: bool = False

    @property
    def everything(self) -> bool:
        """Whether all that the names say is wanted."""
        return self.label is None and not self.expression and not self.damaged


ALL = Wanted()


def choose(shards: Shards, wanted: Wanted) -> Catalogs:
    """Return the entries of the wanted videos, by library and id.

    A library that was named is there even where it has no video left.

    Raises:
        LibraryError: There is nothing of a name, or no video has the label.
        ModelError: The filter is not understood.
        StoreError: A shard cannot be read.
    """
    condition = _parsed(wanted.expression)
    found = _named(shards, wanted.names)
    if wanted.everything:
        return found
    if wanted.label is not None:
        found = _labelled(found, wanted.label)
    if wanted.damaged:
        found = _kept(found, lambda entry: bool(entry.damage.describe()))
    if condition:
        found = {library: _filtered(of, condition) for library, of in found.items()}
    return {library: of for library, of in found.items() if of}


def find(
    home: Path, names: Sequence[str], label: str | None = None, expression: str = ""
) -> dict[str, list[str]]:
    """Return the ids of videos by library, as `choose` does; nothing where nothing is asked for.

    Raises:
        LibraryError, ModelError, StoreError: As `choose`.
    """
    wanted = Wanted(tuple(names), label, expression)
    if not names and wanted.everything:
        return {}
    return {library: list(of) for library, of in choose(open_shards(home), wanted).items()}


def list_videos(
    home: Path, wanted: Wanted = ALL, order: VideoOrder = "id", reverse: bool = False
) -> list[StoredVideo]:
    """List the wanted videos, by library and id where they are alike in `order`.

    Raises:
        LibraryError, ModelError, StoreError: As `choose`.
    """
    shards = open_shards(home)
    chosen = choose(shards, wanted)
    entries = [entry for _, of in sorted(chosen.items()) for _, entry in sorted(of.items())]
    if order != "id":
        entries.sort(key=_KEYS[order], reverse=reverse)
    elif reverse:
        entries.reverse()
    return [_described(entry, shards.backbones) for entry in entries]


def list_labels(home: Path, names: Sequence[str] = ()) -> list[LabelSummary]:
    """List the labels of videos, with the number of those that have each.

    Raises:
        LibraryError, StoreError: As `choose`.
    """
    chosen = choose(open_shards(home), Wanted(tuple(names)))
    entries = [entry for of in chosen.values() for entry in of.values()]
    counted = Counter(label for entry in entries for label in _labels(entry))
    return [LabelSummary(label=label, videos=videos) for label, videos in sorted(counted.items())]


def _named(shards: Shards, names: Sequence[str]) -> Catalogs:
    """Return the entries of what is named; those of all videos where no name is given."""
    known = shards.libraries()
    catalog = cache(shards.catalog)
    if not names:
        return {library: catalog(library) for library in known}
    found: Catalogs = {}
    for name in names:
        library, _, rest = name.rstrip("/").partition("/")
        if library in known and not rest:
            found.setdefault(library, {}).update(catalog(library))
            continue
        there = {library: catalog(library)} if library in known else {}
        matching = _literally(name, there) or _by_pattern(name, known, catalog)
        if not matching:
            raise unknown(name, {library: catalog(library) for library in known})
        for library, of in matching.items():
            found.setdefault(library, {}).update(of)
    return found


def _literally(name: str, catalogs: Catalogs) -> Catalogs:
    """Return the video of this id, or those of this folder."""
    for library, catalog in catalogs.items():
        if name in catalog:
            return {library: {name: catalog[name]}}
        start = name.rstrip("/") + "/"
        if below := {i: entry for i, entry in catalog.items() if i.startswith(start)}:
            return {library: below}
    return {}


def _by_pattern(
    name: str, known: Iterable[str], catalog: Callable[[str], dict[str, CatalogEntry]]
) -> Catalogs:
    """Return what a pattern matches, part by part; nothing for a name without wildcards."""
    if not set(name) & set("*?["):
        return {}
    first, *rest = (re.compile(translate(part)).match for part in name.rstrip("/").split("/"))
    found: Catalogs = {}
    for library in filter(first, known):
        of = catalog(library)
        matching = {i: entry for i, entry in of.items() if _fits(i.split("/")[1:], rest)}
        if matching or not rest:
            found[library] = matching
    return found


def _fits(parts: Sequence[str], patterns: Sequence[Callable[[str], Any]]) -> bool:
    return len(parts) >= len(patterns) and all(of(part) for of, part in zip(patterns, parts))


def unknown(name: str, catalogs: Catalogs) -> LibraryError:
    """Return the error about a name, of which there is nothing in the catalogs of all libraries."""
    ids = [video_id for of in catalogs.values() for video_id in of]
    if set(name) & set("*?["):
        return LibraryError(f"No stored video matches {name}; 'vidsim videos' lists their ids.")
    nearest = nearest_path(name, [*catalogs, *ids])
    hint = f" (did you mean {nearest}?)" if nearest else ""
    return LibraryError(
        f"{name} is no library, folder or stored video{hint}; 'vidsim videos' lists what is stored."
    )


def _labels(entry: CatalogEntry) -> list[str]:
    return list(dict.fromkeys(entry.video.label.split(LABEL_SEPARATOR)))


def _labelled(catalogs: Catalogs, label: str) -> Catalogs:
    """Return the entries that have a label, among others or alone."""
    found = _kept(catalogs, lambda e: label == e.video.label or label in _labels(e))
    if not any(found.values()):
        entries = [entry for of in catalogs.values() for entry in of.values()]
        hint = did_you_mean(label, {each for entry in entries for each in _labels(entry)})
        raise LibraryError(
            f"No video there has the label {label!r}{hint}; 'vidsim labels' lists them."
        )
    return found


def _kept(catalogs: Catalogs, condition: Callable[[CatalogEntry], bool]) -> Catalogs:
    return {
        library: {video_id: entry for video_id, entry in of.items() if condition(entry)}
        for library, of in catalogs.items()
    }


def _parsed(expression: str) -> RowFilter | None:
    if not expression:
        return None
    fields = f'fields of a video are {", ".join(FIELDS)}, for example: label == "snow"'
    try:
        condition = parse_filter(expression)
    except FilterError as error:
        raise ModelError(
            f"The filter {expression!r} is not understood ({error}); {fields}."
        ) from error
    if others := sorted(condition.fields - {*FIELDS}):
        raise ModelError(f"The filter {expression!r} asks for {others[0]} of rows; {fields}.")
    return condition


def _filtered(catalog: Mapping[str, CatalogEntry], condition: RowFilter) -> dict[str, CatalogEntry]:
    entries = list(catalog.values())
    columns = {
        name: np.array([getattr(entry.video, name) for entry in entries], object)
        for name in condition.fields or FIELDS[:1]
    }
    mask = condition.mask(columns).tolist()
    return {entry.video.video_id: entry for entry, fits in zip(entries, mask) if fits}


_KEYS: dict[VideoOrder, Callable[[CatalogEntry], Any]] = {
    "label": lambda entry: entry.video.label,
    "duration": lambda entry: entry.duration_s,
    "size": lambda entry: entry.video.size,
    "damage": lambda entry: entry.damage.describe(),
    "stored": lambda entry: entry.stored_at,
}


def _described(entry: CatalogEntry, backbones: Backbones) -> StoredVideo:
    heard = [entry.rows[name] for name in sound_backbones(entry.rows)]
    with_rows = {
        backbones[name].modality for name, rows in entry.rows.items() if rows and name in backbones
    }
    moment = time.gmtime(entry.stored_at)
    return StoredVideo(
        video_id=entry.video.video_id,
        path=entry.video.path,
        label=entry.video.label,
        duration_s=entry.duration_s,
        size=entry.video.size,
        segments=entry.segments,
        sound=any(heard) if heard else None,
        modalities=[modality.value for modality in Modality if modality in with_rows],
        rows=dict(entry.rows),
        damage=entry.damage.describe(),
        stored_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", moment) if entry.stored_at else "",
    )
