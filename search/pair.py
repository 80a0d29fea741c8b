"""Two clips to be compared with each other."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..ingest.shards.home import Place
from ..ingest.system.progress import Progress
from ..schemas.errors import MediaError
from ..schemas.modality import Modality
from ..schemas.presets import DEFAULT_PRESET, choose_backbones
from .background import yardsticks
from .fusion import parse_weights
from .likeness import Yardstick
from .query import QueryOptions
from .search_index import SearchIndex
from .stored_backbones import choose_stored_backbones, other_samplings, other_weights
from .subject import Embed, Example, Reading, read_clip
from .tuned import read_tuned


@dataclass(frozen=True)
class Pair:
    """Two clips to be compared with each other.

    Attributes:
        first: Has the vectors of the modalities that both have, as `second` has.
        second: The other one.
        yardsticks: For each of those modalities.
        weights: By modality, at least for those.
        missing: What was asked for and one of the two lacks.
        notes: What a person should know about it.
    """

    first: Example
    second: Example
    yardsticks: dict[Modality, Yardstick]
    weights: dict[Modality, float]
    missing: list[Modality]
    notes: list[str]


def read_pair(
    names: tuple[str, str],
    index: SearchIndex,
    place: Place,
    options: QueryOptions,
    progress: Progress,
    embed: Embed | None = None,
) -> Pair:
    """Return two clips, each the id of a stored video or a file, ready to be compared.

    Weights and yardsticks are those of a query with the first in all libraries, backbones those
    that the libraries of both have. Two files are compared by the backbones of the preset, though,
    whatever is stored.

    Raises:
        VidsimError: As `answer`.
    """
    weights = parse_weights(options.weights, options.fusion)
    stored = index.weights()
    own = sorted({name.partition("/")[0] for name in names if index.knows(name)})
    if own:
        of_each = [{*stored[library]} for library in own if library in stored]
        # What both have, if both are stored; else what the stored one has.
        held = set.intersection(*of_each) if of_each else set()
        held = held or {name for of in of_each for name in of}
        backbones = choose_stored_backbones(
            index, held, options.modalities, options.overrides, options.preset
        )
    else:
        wanted, preset = options.modalities or tuple(Modality), options.preset or DEFAULT_PRESET
        backbones = choose_backbones(wanted, options.overrides, preset, index.known)
    searched = {library: stored[library] for library in own if library in stored}
    how = Reading(
        device=options.device,
        segment_seconds=options.segment_seconds,
        audio_track=options.audio_track,
        searched=searched,
        embed=embed,
    )
    clips = [read_clip(name, index, backbones, how, progress) for name in names]
    first, second = clips
    both = {m: b for m, b in backbones.items() if m in first.vectors and m in second.vectors}
    if not both:
        raise MediaError(
            f"{first.name} and {second.name} have nothing in common to be compared by; "
            "ask for other modalities with -m."
        )
    notes = [note for clip in clips for note in clip.notes]
    notes += other_weights(searched, both)
    notes += other_samplings(searched, backbones, index.known)
    asked = {m: b for m, b in backbones.items() if m in first.vectors}
    if options.weights is None and len(asked) > 1:
        tuned, told = read_tuned(place.home, asked)
        weights |= tuned
        notes += told
    first, second = (replace(c, vectors={m: c.vectors[m] for m in both}) for c in clips)
    measured = yardsticks(place.home, stored.keys(), both, notes.append)
    missing = [m for m in backbones if m not in both]
    return Pair(first, second, measured, weights, missing, notes)
