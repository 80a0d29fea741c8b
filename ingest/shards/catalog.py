"""The catalogue of a library: its videos without their vectors, joined over its shards.

It is read from the shards themselves, which are checked; there is no second copy that could be
older, or damaged. Videos that have as many rows share one `StoredRows`, so an entry is small.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...schemas.backbones import sound_backbones
from ...schemas.embedding import NO_DAMAGE, Damage, Version
from ...schemas.video import Video


@dataclass(frozen=True, slots=True)
class StoredRows:
    """What is stored of a video, by backbone; videos of the same numbers share it.

    Attributes:
        rows: Rows, 0 for a backbone that was computed and gave none.
        described: Segments that have rows.
        shards: The file that holds the rows.
        weights: SHA-256 of the weights that the rows were computed with, "" where the backbone has
            none or they are unknown.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    described: Mapping[str, int] = field(default_factory=dict)
    shards: Mapping[str, Path] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)

    def joined(self, newer: StoredRows) -> StoredRows:
        """Return these, with those of a newer shard in their place where it has the backbone."""
        return StoredRows(
            {**self.rows, **newer.rows},
            {**self.described, **newer.described},
            {**self.shards, **newer.shards},
            {**self.weights, **newer.weights},
        )


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A stored video without its vectors.

    Attributes:
        stored: What is stored of it, by backbone.
        damage: What of it did not decode.
        audio_track: Number of its audio track, from 1; None for the picture's own.
        stored_at: When its newest rows were first stored, seconds since the epoch; 0 if unknown.
    """

    video: Video
    duration_s: float
    segment_seconds: float
    segments: int
    stored: StoredRows
    damage: Damage = NO_DAMAGE
    audio_track: int | None = None
    stored_at: int = field(default=0, compare=False)

    @property
    def rows(self) -> Mapping[str, int]:
        """As `StoredRows`."""
        return self.stored.rows

    @property
    def shards(self) -> Mapping[str, Path]:
        """As `StoredRows`."""
        return self.stored.shards

    @property
    def weights(self) -> Mapping[str, str]:
        """As `StoredRows`."""
        return self.stored.weights

    @property
    def version(self) -> Version:
        """The values that are equal for two entries of the same file, cut the same way."""
        return self.video.fingerprint, self.segment_seconds, self.video.path


def join_entries(catalog: dict[str, CatalogEntry], entries: Iterable[CatalogEntry]) -> None:
    """Add the entries of a newer shard to a catalog."""
    joined: dict[tuple[int, int], StoredRows] = {}
    for new in entries:
        old = catalog.get(new.video.video_id)
        if old and old.version == new.version:
            both = id(old.stored), id(new.stored)
            if both not in joined:
                joined[both] = old.stored.joined(new.stored)
            new = replace(
                new,
                stored=joined[both],
                damage=old.damage.then(new.damage, new.rows),
                audio_track=(new if sound_backbones(new.rows) else old).audio_track,
            )
        catalog[new.video.video_id] = new


@dataclass
class Totals:
    """What a library holds in all, kept in step with its catalog by `add` and `subtract`.

    Attributes:
        videos: Their number.
        segments: The number of their segments.
        seconds: Their length.
        computed: By backbone, the videos it was computed of.
        rows: By backbone, rows.
        described: By backbone, segments that have rows.
        weights: Videos by backbone and SHA-256 of the weights of their rows.
    """

    videos: int = 0
    segments: int = 0
    seconds: float = 0.0
    computed: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)
    described: Counter[str] = field(default_factory=Counter)
    weights: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def of(cls, catalog: Mapping[str, CatalogEntry]) -> Totals:
        """Add up a catalog."""
        totals = cls()
        totals.add(catalog.values())
        return totals

    def add(self, entries: Iterable[CatalogEntry]) -> None:
        """Count entries that a catalog has now."""
        self._count(entries, 1)

    def subtract(self, entries: Iterable[CatalogEntry]) -> None:
        """Count entries no more that a catalog had."""
        self._count(entries, -1)

    def _count(self, entries: Iterable[CatalogEntry], sign: int) -> None:
        alike: Counter[int] = Counter()
        kinds: dict[int, StoredRows] = {}
        for entry in entries:
            self.videos += sign
            self.segments += sign * entry.segments
            self.seconds += sign * entry.duration_s
            kinds[id(entry.stored)] = entry.stored
            alike[id(entry.stored)] += sign
        for kind, stored in kinds.items():
            for name, rows in stored.rows.items():
                self.computed[name] += alike[kind]
                self.rows[name] += alike[kind] * rows
                self.described[name] += alike[kind] * stored.described[name]
                self.weights[name, stored.weights[name]] += alike[kind]

    def backbones(self) -> set[str]:
        """Return the names of the backbones that were computed of any video."""
        return {name for name, videos in self.computed.items() if videos}

    def stored_weights(self) -> dict[str, str]:
        """Return, by backbone, the SHA-256 of the weights that a library's rows come from.

        Commas join several files of one set of weights; semicolons join different sets, which an
        older vidsim let mix. "" where there are none, or they are unknown.
        """
        found: dict[str, set[str]] = {}
        for (backbone, digest), videos in self.weights.items():
            if videos:
                found.setdefault(backbone, set()).add(digest)
        return {backbone: ";".join(sorted(of - {""})) for backbone, of in found.items()}


def stored_weights(catalog: Mapping[str, CatalogEntry]) -> dict[str, str]:
    """Return the `Totals.stored_weights` of a catalog."""
    return Totals.of(catalog).stored_weights()
