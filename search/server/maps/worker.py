"""The child process that makes a map: a quick one of what is stored, or a better one of that."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ....ingest.shards.home import Home, Place
from ....ingest.shards.searched import SearchedVectors
from ....ingest.shards.searched_part import video_means
from ....ingest.system.channel import Channel
from ....schemas.backbones import Backbone
from ....schemas.embedding import FloatArray, from_index
from ....schemas.errors import VidsimError
from ....schemas.modality import Modality
from ....schemas.presets import DEFAULT_PRESET, PRESETS
from ...fusion import WEIGHTS
from .projection import clusters, neighbour_plane, plane, reduced

_NICE = 5
"""Queries and ingests go before."""


def main(channel: Channel) -> None:
    """Answer ``begin`` with what is stored on a quick plane, ``better`` with a better plane."""
    message = channel.receive()
    if message.kind == "better":
        os.nice(_NICE)
        channel.send("map", {}, {"xy": neighbour_plane(message.arrays["components"])})
        return
    fields = message.fields
    try:
        ids, components = _read(Path(fields["home"]), fields["modalities"], fields["libraries"])
    except VidsimError as error:
        channel.send("failed", {"reason": str(error)})
        return
    # Ids in an array, as there may be more of them than a message's fields can hold.
    found: dict[str, npt.NDArray[Any]] = {
        "ids": np.frombuffer("\0".join(ids).encode(), np.uint8),
        "components": components,
        "clusters": clusters(components),
        "xy": plane(components),
    }
    channel.send("map", {}, found)


def _read(
    home: Path, modalities: Sequence[str], libraries: Sequence[str]
) -> tuple[list[str], FloatArray]:
    """Return the ids of the videos that have one of `modalities`, and their components."""
    found: dict[Modality, tuple[list[str], FloatArray]] = {}
    with closing(SearchedVectors(Home(Place(home)))) as vectors:
        for name in modalities:
            if (backbone := _chosen(vectors, Modality(name), libraries)) is not None:
                of, means = video_means(vectors.parts(backbone), libraries)
                if of:
                    rows = from_index(backbone, np.concatenate(means))
                    found[Modality(name)] = of, rows
    ids = sorted({each for of, _ in found.values() for each in of})
    place = {each: number for number, each in enumerate(ids)}
    whole = []
    for modality, (of, rows) in found.items():
        filled = np.full((len(ids), rows.shape[1]), np.nan, np.float32)
        filled[[place[each] for each in of]] = rows
        whole.append((filled, WEIGHTS["calibrated"][modality]))
    return ids, reduced(whole) if whole else np.zeros((0, 1), np.float32)


def _chosen(
    vectors: SearchedVectors, modality: Modality, libraries: Sequence[str]
) -> Backbone | None:
    """Return the backbone of a modality that most of `libraries` have (none for all).

    Of equals it is the default preset's, or the first.
    """
    stored = vectors.weights()
    has = Counter(name for each in libraries or stored for name in stored.get(each, ()))
    there = [b for b in vectors.backbones() if b.modality is modality]
    usual = PRESETS[DEFAULT_PRESET].get(modality)
    return min(there, key=lambda b: (-has[b.name], b.name != usual, b.name), default=None)
