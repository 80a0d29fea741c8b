"""Which stored backbones videos are compared by, and what is told of libraries that lack them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ..schemas.backbones import Backbone, Backbones
from ..schemas.errors import LibraryError, ModelError
from ..schemas.modality import Modality
from ..schemas.presets import DEFAULT_PRESET, choose_backbones, named_modalities
from .search_index import SearchIndex


def choose_stored_backbones(
    index: SearchIndex,
    held: Collection[str],
    modalities: Collection[Modality] | None = None,
    overrides: Sequence[str] = (),
    preset: str | None = None,
) -> dict[Modality, Backbone]:
    """Choose one stored backbone per requested modality.

    An override wins, then the preset's; where no preset is named and its backbone is not `held`,
    any that is: a library of AudioSet's clips is compared by VGGish.
    """
    stored = index.backbones()
    if not stored:
        if held:
            raise LibraryError(
                "This Milvus holds nothing of what is stored; run 'vidsim reindex' first."
            )
        raise LibraryError("Nothing is stored yet; run 'vidsim ingest FOLDER' first.")
    named = named_modalities(overrides)
    wanted = choose_backbones(
        modalities or tuple(Modality),
        overrides,
        preset or DEFAULT_PRESET,
        index.known,
    )
    chosen = {}
    for modality, backbone in wanted.items():
        there = [b for b in stored if b.modality is modality]
        if there and preset is None and modality not in named:
            chosen[modality] = min(there, key=lambda b: (b.name not in held, b is not backbone))
        elif modality not in named and (
            alike := [b for b in there if b is backbone or b.is_sampling_of(backbone)]
        ):  # a preset names networks; which sampling of them is there is the library's
            chosen[modality] = min(alike, key=lambda b: (b.name not in held, b is not backbone))
        elif backbone in there:
            chosen[modality] = backbone
        elif modality in named | set(modalities or ()):
            names = ", ".join(f"{b.modality}={b.name}" for b in there or stored)
            raise ModelError(
                f"Nothing is stored as {modality}={backbone.name}, only {names}; choose of "
                f"those with --model, or ingest again with --model {modality}={backbone.name}."
            )
    if not chosen:
        names = ", ".join(f"{b.modality}={b.name}" for b in stored)
        raise ModelError(f"Nothing of preset {preset} is stored, only {names}; leave --preset out.")
    return chosen


def other_weights(
    searched: Mapping[str, Mapping[str, str]], backbones: Mapping[Modality, Backbone]
) -> list[str]:
    """Return a line per backbone whose weights differ between libraries."""
    notes = []
    for backbone in backbones.values():
        known = {name: found for name, of in searched.items() if (found := of.get(backbone.name))}
        if len(set(known.values())) > 1:
            notes.append(
                f"{' and '.join(sorted(known))} were not embedded with the same weights of "
                f"{backbone.name}, so their likeness by it means little; search one with --library."
            )
    return notes


def other_samplings(
    searched: Mapping[str, Mapping[str, str]],
    backbones: Mapping[Modality, Backbone],
    known: Backbones,
) -> list[str]:
    """Return a line per backbone that libraries lack, though they have another of its samplings."""
    notes = []
    for modality, backbone in backbones.items():
        lacking = {
            library: name
            for library, of in sorted(searched.items())
            if backbone.name not in of
            for name in of
            if name in known and known[name].is_sampling_of(backbone)
        }
        if lacking:
            libraries, names = " and ".join(lacking), " and ".join(sorted({*lacking.values()}))
            has, it = ("has", "it is") if len(lacking) == 1 else ("have", "they are")
            notes.append(
                f"{libraries} {has} {modality} by {names} and not by {backbone.name}, so {it} not "
                f"compared by {modality}; search alike ones with --library, or run 'vidsim ingest "
                f"FOLDER --model {modality}={backbone.name}'."
            )
    return notes
