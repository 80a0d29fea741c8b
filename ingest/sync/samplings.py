"""Which sampling of a network an ingest goes on with: the one of the rows that are there.

A network fed with smaller pictures is another backbone, whose rows are not compared with those of
the first. So a home keeps the samplings it was made with until somebody asks for another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ...schemas.backbones import Backbone, Backbones
from ...schemas.modality import Modality


def kept_samplings(
    backbones: Mapping[Modality, Backbone],
    asked: Collection[Modality],
    stored: Iterable[Collection[str]],
    known: Backbones,
) -> dict[Modality, Backbone]:
    """Replace backbones by other samplings of their networks where rows of those are stored.

    Args:
        backbones: Those of an ingest.
        asked: Modalities whose backbone was asked for, and stays.
        stored: Names of the backbones that have rows: of the library, then of each other one of
            the home. The first that has a sampling of a network decides.
        known: The backbones of the home, by name.
    """
    kept = dict(backbones)
    undecided = backbones.keys() - set(asked)
    for names in stored:
        for modality in sorted(undecided):
            backbone = backbones[modality]
            there = sorted(n for n in names if n in known and known[n].is_sampling_of(backbone))
            if there:
                kept[modality] = backbone if backbone.name in there else known[there[0]]
                undecided.discard(modality)
        if not undecided:
            break
    return kept


def slower_note(
    library: str, backbones: Mapping[Modality, Backbone], kept: Mapping[Modality, Backbone]
) -> list[str]:
    """Return a note per backbone of `kept` whose pictures are larger than needed.

    Args:
        library: The library that was ingested.
        backbones: What a new home would have.
        kept: What this one has.
    """
    notes = []
    for modality, backbone in kept.items():
        usual = backbones[modality]
        if usual is backbone or usual.frames is None or backbone.frames is None:
            continue
        if usual.frames.size < backbone.frames.size:
            notes.append(
                f"{library} goes on with {modality} by {backbone.name}, as this home began with "
                f"it; {usual.name}, of smaller pictures, is as good and faster. To change, run "
                f"'vidsim ingest FOLDER --model {modality}={usual.name}' for each library."
            )
    return notes
