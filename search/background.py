"""Background: the similarity of random pairs of videos, by which chance is told from likeness."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError

from ..ingest.shards.catalog import CatalogEntry, Totals
from ..ingest.shards.home import Home, Place
from ..ingest.shards.shard_files import Shards
from ..ingest.system.checked_json import ChangedError, read_checked, write_checked
from ..schemas.backbones import Backbone
from ..schemas.errors import StoreError
from ..schemas.modality import Modality
from ..schemas.presets import DEFAULT_PRESET, PRESETS
from .likeness import TYPICAL, Background, Yardstick
from .videos import VideoVectors, from_embedded, similarity

_log = logging.getLogger(__name__)

T = TypeVar("T")

_SAMPLE = 128
"""Videos sampled per library: 8,128 pairs, measured in well under a second per backbone."""

_PRIOR_PAIRS = 20
"""Pairs that the prior counts for: a library of seven videos (21 pairs) already gives as much
weight to its own."""


def background(
    home: Path,
    libraries: Collection[str],
    backbones: Sequence[Backbone],
    tell: Callable[[str], object] = _log.warning,
) -> dict[str, Background]:
    """Return the background of each backbone over `libraries`, measuring only what has changed.

    Libraries without shards here (ingested elsewhere) count with the prior alone.

    Args:
        home: Home of the shards.
        libraries: The libraries.
        backbones: The backbones.
        tell: Receives a sentence per library that cannot be measured, and then counts as one
            without shards.

    Returns:
        By backbone name.
    """
    measured = [_measured(home, library, tell) for library in sorted(libraries)]
    return {b.name: pool(b, [m[b.name] for m in measured if b.name in m]) for b in backbones}


def yardsticks(
    home: Path,
    libraries: Collection[str],
    backbones: Mapping[Modality, Backbone],
    tell: Callable[[str], object] = _log.warning,
) -> dict[Modality, Yardstick]:
    """Return what similarities mean over `libraries`, as `background` measures them."""
    found = background(home, libraries, list(backbones.values()), tell)
    return {m: Yardstick(b, found[b.name]) for m, b in backbones.items()}


def refresh(home: Path, library: str) -> None:
    """Measure a library again if it has changed, so that the next query need not."""
    _measured(home, library, _log.warning)


Moments = tuple[float, float, float]
"""Number of pairs, mean, and mean square of their similarities."""


@dataclass(frozen=True)
class _Note:
    """What was measured of a library.

    Attributes:
        shards: The `Shards.stamp` of what it was measured on.
        moments: By backbone.
    """

    shards: str
    moments: dict[str, Moments]


_NOTE = TypeAdapter(_Note)


def _prior_moments(backbone: Backbone) -> Moments:
    # The default backbone of the modality stands in for one that has no measured prior.
    prior = TYPICAL.get(backbone.name) or TYPICAL[PRESETS[DEFAULT_PRESET][backbone.modality]]
    return _PRIOR_PAIRS, prior.mean, prior.deviation**2 + prior.mean**2


def pool(backbone: Backbone, measured: Sequence[Moments]) -> Background:
    """Pool the backgrounds of several libraries with the prior, which counts if they are small."""
    moments = [_prior_moments(backbone), *measured]
    count = sum(n for n, _, _ in moments)
    mean = sum(n * m for n, m, _ in moments) / count
    square = sum(n * s for n, _, s in moments) / count
    return Background(mean, max(square - mean**2, 1e-8) ** 0.5)


def _measured(home: Path, library: str, tell: Callable[[str], object]) -> dict[str, Moments]:
    """Return moments by backbone, from the note under `home` unless the library has changed."""
    opened = Home(Place(home))
    shards = opened.shards
    stamp = shards.stamp(library)
    note = home / "background" / f"{library}.json"
    try:
        kept = _NOTE.validate_python(read_checked(note) or {"shards": "", "moments": {}})
        if kept.shards == stamp:
            return kept.moments
    except (StoreError, ChangedError, ValidationError) as error:
        _log.warning("%s cannot be used (%s); %s is measured again.", note, error, library)
    if not shards.files(library):
        return {}
    try:
        with shards.pinned():  # a writer may replace one meanwhile
            catalog = shards.catalog(library)
            moments = {
                name: found
                for name in opened.rows(Totals.of(catalog))
                if (found := _measure(shards, catalog, shards.backbones[name])) is not None
            }
    except StoreError as error:
        tell(
            "What is chance is told without this library, as the similarity of random pairs of "
            f"{library} cannot be measured: {error}"
        )
        return {}
    try:
        write_checked(note, {"shards": stamp, "moments": moments})
    except OSError as error:  # the next query measures again
        _log.info("%s cannot be written (%s).", note, error)
    return moments


def _measure(
    shards: Shards, catalog: Mapping[str, CatalogEntry], backbone: Backbone
) -> Moments | None:
    """Measure a stored library; None where no two videos have rows of `backbone`."""
    entries = [catalog[i] for i in sorted(catalog) if catalog[i].rows.get(backbone.name)]
    found = {}
    for video in shards.read(spread(entries), [backbone.name]):
        vectors = from_embedded(backbone, video)
        if vectors is not None:
            found[video.video.video_id] = vectors
    # Similarity is not symmetric: the order of ids, not of shards, decides which one is the query.
    return measure(backbone, [found[i] for i in sorted(found)])


def spread(videos: Sequence[T]) -> list[T]:
    """Take up to `_SAMPLE` videos, evenly spaced among those given (in the order of their ids)."""
    count = min(len(videos), _SAMPLE)
    return [videos[i * len(videos) // count] for i in range(count)]


def measure(backbone: Backbone, videos: Sequence[VideoVectors]) -> Moments | None:
    """Return the moments of the similarities of all pairs in a `spread`; None without a pair."""
    values = np.array(
        [similarity(backbone, a, b) for i, a in enumerate(videos) for b in videos[:i]]
    )
    if not len(values):
        return None
    return float(len(values)), float(values.mean()), float((values**2).mean())
