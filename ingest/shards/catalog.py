"""The catalogue of a library: its videos without their vectors, joined over its shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...schemas.backbones import sound_backbones
from ...schemas.embedding import NO_DAMAGE, Damage, Version
from ...schemas.video import Video


@dataclass(frozen=True)
class CatalogEntry:
    """A stored video without its vectors.

    Attributes:
        rows: Rows by backbone, 0 for one that was computed and gave none.
        described: Segments that have rows, by backbone.
        shards: By backbone, the file that holds its rows.
        weights: By backbone, the SHA-256 of the weights that its rows were computed with,
            "" where it has none or they are unknown.
        damage: What of it did not decode.
        audio_track: Number of its audio track, from 1; None for the picture's own.
    """

    video: Video
    duration_s: float
    segment_seconds: float
    segments: int
    rows: dict[str, int] = field(default_factory=dict)
    described: dict[str, int] = field(default_factory=dict)
    shards: dict[str, Path] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    damage: Damage = NO_DAMAGE
    audio_track: int | None = None

    @property
    def version(self) -> Version:
        """The values that are equal for two entries of the same file, cut the same way."""
        return self.video.fingerprint, self.segment_seconds, self.video.path


def join_entries(catalog: dict[str, CatalogEntry], entries: Iterable[CatalogEntry]) -> None:
    """Add the entries of a newer shard to a catalog."""
    for new in entries:
        old = catalog.get(new.video.video_id)
        if old and old.version == new.version:
            new = replace(
                new,
                rows={**old.rows, **new.rows},
                described={**old.described, **new.described},
                shards={**old.shards, **new.shards},
                weights={**old.weights, **new.weights},
                damage=old.damage.then(new.damage, new.rows),
                audio_track=(new if sound_backbones(new.rows) else old).audio_track,
            )
        catalog[new.video.video_id] = new


def stored_weights(catalog: Mapping[str, CatalogEntry]) -> dict[str, str]:
    """Return, by backbone, the SHA-256 of the weights that a library's rows were computed with.

    Commas join several files of one set of weights; semicolons join different sets, which an older
    vidsim let mix. "" where there are none, or they are unknown.
    """
    found: dict[str, set[str]] = {}
    for entry in catalog.values():
        for backbone, digest in entry.weights.items():
            found.setdefault(backbone, set()).add(digest)
    return {backbone: ";".join(sorted(of - {""})) for backbone, of in found.items()}
