"""Which sampling of a network an ingest goes on with: the one of the rows that are there.

A network fed with smaller pictures is another backbone, whose rows are not compared with those of
the first. So a home keeps the samplings it was made with until somebody asks for another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from ...schemas.backbones import Backbone, Backbones
from ...schemas.modality import Modality


def kept_samplings(
    backbones: Mapping[Modality, Backbone],
    asked: Collection[Modality],
    own: Collection[str],
    others: Callable[[], Iterable[Collection[str]]],
    known: Backbones,
) -> dict[Modality, Backbone]:
    """Replace backbones by other samplings of their networks where rows of those are stored.

    The library's own decide; where it has none, those of the home's other libraries: what is usual
    if any has it, else what most have.

    Args:
        backbones: Those of an ingest.
        asked: Modalities whose backbone was asked for, and stays.
        own: Names of the backbones that have rows in the library.
        others: Returns those of each other library of the home; called where `own` decides not.
        known: The backbones of the home, by name.
    """
    kept = dict(backbones)
    undecided = []
    for modality, backbone in backbones.items():
        if modality in asked or backbone.frames is None:
            continue
        if found := _stored_sampling(backbone, [own], known):
            kept[modality] = found
        else:
            undecided.append(modality)
    of_others = list(others()) if undecided else []
    for modality in undecided:
        found = _stored_sampling(backbones[modality], of_others, known)
        kept[modality] = found or backbones[modality]
    return kept


def _stored_sampling(
    backbone: Backbone, stored: Iterable[Collection[str]], known: Backbones
) -> Backbone | None:
    """Return `backbone` if any library has it, else its sampling that most have, if any."""
    there = Counter(
        name
        for names in stored
        for name in sorted(names)
        if name in known and known[name].is_sampling_of(backbone)
    )
    if backbone.name in there:
        return backbone
    return known[there.most_common(1)[0][0]] if there else None


def sampling_notes(
    library: str, backbones: Mapping[Modality, Backbone], kept: Mapping[Modality, Backbone]
) -> list[str]:
    """Return a note per backbone of `kept` that is another sampling than the usual one.

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
        larger = usual.frames.size < backbone.frames.size
        which = (
            "of smaller pictures, is as good and faster" if larger else "of larger ones, is better"
        )
        notes.append(
            f"{library} has {modality} by {backbone.name}, as what was stored before; "
            f"{usual.name}, {which}. To change, run 'vidsim ingest FOLDER --model "
            f"{modality}={usual.name}' for each library."
        )
    return notes
