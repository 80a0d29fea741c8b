"""Queries: from a clip to a ranking with evidence."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from ..ingest.milvus.filters import is_in
from ..ingest.shards.home import Place
from ..ingest.system.progress import Progress
from ..ingest.system.unknown_names import unknown_library
from ..schemas.backbones import Backbone
from ..schemas.errors import LibraryError, MediaError, ModelError, VidsimError
from ..schemas.modality import Modality
from ..schemas.part import WHOLE, Part
from ..schemas.results import MatchedMoment, ModalityMatch, QueryMatch, QueryResult
from ..schemas.rows import StoredRow
from ..schemas.video import SEGMENT_SECONDS
from .background import yardsticks
from .examples import Comparison, compare
from .fusion import TOP, Fused, FusionName, fuse, parse_weights, ranks
from .likeness import Yardstick, average, chance, in_words
from .moments import find_moments
from .neighbours import fetch_videos
from .search_index import SearchIndex, open_index
from .stored_backbones import choose_stored_backbones, other_samplings, other_weights
from .subject import Embed, Reading, read_clip
from .tuned import read_tuned
from .videos import VideoVectors, align

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class QueryOptions:
    """Search options.

    Attributes:
        modalities: What to compare by; None for all that the libraries have.
        overrides: Backbones such as ``color=vid2img``.
        preset: Restricts the search to this preset's backbones; None for the default preset's where
            they are stored, else for what is.
        k: Number of results.
        min_score: Least likeness of a result, from 0 to 1.
        libraries: Libraries to search; none for all.
        expression: Milvus filter over the scalar fields, "" for none.
        fusion: How to combine modalities.
        weights: ``frame=2,color=0.5``, ``default`` for the measured ones; None for tuned ones
            where there are some.
        exclude_self: Whether to leave the query's own video out; None does so for stored
            videos only.
        device: Device that embeds a new clip.
        segment_seconds: Segment length of a new clip.
        audio_track: Number of a new clip's audio track, from 1; None for the picture's own.
        part: The part of the clip that counts.
        unlike: Clips that the results are not to be like, as ids or files.
    """

    modalities: tuple[Modality, ...] | None = None
    overrides: tuple[str, ...] = ()
    preset: str | None = None
    k: int = 10
    min_score: float = 0.0
    libraries: tuple[str, ...] = ()
    expression: str = ""
    fusion: FusionName = "calibrated"
    weights: str | None = None
    exclude_self: bool | None = None
    device: str = "auto"
    segment_seconds: float = SEGMENT_SECONDS
    audio_track: int | None = None
    part: Part = WHOLE
    unlike: tuple[str, ...] = ()


def query(
    clips: str | Sequence[str], place: Place, options: QueryOptions, progress: Progress
) -> QueryResult:
    """Rank stored videos by similarity to `clips`, as `answer` does, opening what is searched.

    Raises:
        VidsimError: As `answer`, or the index cannot be opened.
    """
    with open_index(place) as index:
        return answer(clips, index, place, options, progress)


def answer(
    clips: str | Sequence[str],
    index: SearchIndex,
    place: Place,
    options: QueryOptions,
    progress: Progress,
    embed: Embed | None = None,
) -> QueryResult:
    """Rank stored videos by similarity to a clip or several; an open index answers sooner.

    Args:
        clips: Ids of stored videos (of which nothing is decoded), or files; one or several.
        index: What is searched, that of `place`.
        place: Home and Milvus of the libraries.
        options: Search options.
        progress: Receives the progress of embedding a new clip.
        embed: Embeds a new clip; None loads the networks for this call only.

    Raises:
        LibraryError: Nothing is stored, or a clip or a library does not exist.
        ModelError: A modality, backbone, weight or filter is invalid.
        MediaError: A clip cannot be read, or has nothing to compare, or the part is none of it.
        WeightsError: A new clip would be compared with rows of other weights than those here, or
            weights are missing.
        StoreError: Milvus cannot be read.
    """
    liked, disliked = _named(clips, options)
    weights = parse_weights(options.weights, options.fusion)
    if not 0 <= options.min_score <= 1:
        raise ModelError(f"{options.min_score:g} is no likeness; it goes from 0 to 1.")
    stored = index.weights()
    libraries = _choose_libraries(stored, options.libraries)
    own = {name.partition("/")[0] for name in liked} & stored.keys()
    asked_of = sorted(own) or libraries
    held = {name for library in asked_of for name in stored.get(library, ())}
    try:
        backbones = choose_stored_backbones(
            index, held, options.modalities, options.overrides, options.preset
        )
    except (LibraryError, ModelError) as error:
        raise _or_lost(error, index, asked_of) from error
    notes = []
    if options.part.region and options.modalities is None and Modality.AUDIO in backbones:
        del backbones[Modality.AUDIO]
        notes = ["A region is of the picture, so sound is left out unless it is asked for."]
    if not backbones:
        nothing = MediaError(
            "A region is of the picture, and only sound is stored; leave --region out, or ingest "
            "again with -m color,frame."
        )
        raise _or_lost(nothing, index, asked_of)
    if options.expression:
        index.check_filter(options.expression)
    how = Reading(
        options.part,
        options.exclude_self,
        options.device,
        options.segment_seconds,
        options.audio_track,
        {library: stored[library] for library in libraries if library in stored},
        embed,
    )
    examples = [read_clip(name, index, backbones, how, progress) for name in liked]
    asked = {m: b for m, b in backbones.items() if any(m in e.vectors for e in examples)}
    if not asked:
        nothing = MediaError(
            f"{' and '.join(liked)} has nothing to be compared by: "
            f"no {' and no '.join(backbones)}; ask for other modalities with -m."
        )
        raise _or_lost(nothing, index, asked_of) if any(map(index.knows, liked)) else nothing
    entire = replace(how, part=WHOLE)
    negatives = [read_clip(name, index, asked, entire, progress) for name in disliked]
    both = (*examples, *negatives)
    scope = [is_in("library", libraries)] if options.libraries else []
    scope += [f"({options.expression})"] if options.expression else []
    scope += dict.fromkeys(e.not_itself for e in both if e.not_itself)
    _log.debug(
        "%s is compared by %s in %s",
        ", ".join(liked),
        ", ".join(b.name for b in asked.values()),
        libraries,
    )
    check = index.begin_check(libraries, asked.values())
    proposals = max(TOP, options.k)
    compared = compare(index, examples, negatives, asked, proposals, " and ".join(scope))
    notes += [note for example in both for note in example.notes]
    notes += other_weights(how.searched, asked)
    notes += other_samplings(how.searched, asked, index.known)
    if options.weights is None and options.fusion == "calibrated" and len(asked) > 1:
        tuned, told = read_tuned(place.home, asked)
        weights |= tuned
        notes += told
    measured = yardsticks(place.home, libraries, asked, notes.append)
    fused = fuse(options.fusion, compared.similarities, measured, weights)
    best = _best(fused, options)
    matches, samples = _fetch(index, asked, best)  # where they match is reported to the row
    notes += check()
    bound = chance(measured, weights)
    highest = max((found.likeness for found in fused.values()), default=None)
    return QueryResult(
        query=", ".join(example.name for example in examples),
        examples=[example.name for example in examples],
        example_paths=[example.path for example in examples],
        negatives=[negative.name for negative in negatives],
        modalities=[m.value for m in asked],
        missing_modalities=[m.value for m in backbones if m not in asked],
        fusion=options.fusion,
        chance=bound,
        nothing_alike=highest is not None and highest < bound,
        best_likeness=highest,
        results=_explain(best, compared, measured, weights, matches, samples),
        notes=notes,
    )


def _best(fused: Mapping[str, Fused], options: QueryOptions) -> dict[str, Fused]:
    """Return the results that are asked for, best first."""
    alike = [(i, found) for i, found in fused.items() if found.likeness >= options.min_score]
    return dict(alike[: options.k])


def _named(
    clips: str | Sequence[str], options: QueryOptions
) -> tuple[Sequence[str], Sequence[str]]:
    """Return examples and negatives, each once.

    Raises:
        MediaError: There is no example, one is a negative too, or a part is asked of several.
    """
    liked = _each_once([clips] if isinstance(clips, str) else clips)
    disliked = _each_once(options.unlike)
    if not liked:
        raise MediaError("No clip was given; name at least one that the results are to be like.")
    if both := [name for path, name in liked.items() if path in disliked]:
        raise MediaError(f"{both[0]} is both an example and a --not; leave one of them out.")
    if len(liked) > 1 and options.part != WHOLE:
        raise MediaError(
            "--from, --to and --region are of one clip; ask by one, or leave them out."
        )
    return [*liked.values()], [*disliked.values()]


def _each_once(clips: Sequence[str]) -> dict[Path, str]:
    """Return clips by what tells them apart, of a file any way to write its path."""
    found: dict[Path, str] = {}
    for clip in clips:
        found.setdefault(Path(clip).absolute(), clip)
    return found


def _or_lost(error: VidsimError, index: SearchIndex, libraries: Collection[str]) -> VidsimError:
    """Return an error about what is not stored, which says too what of `libraries` is lost."""
    told = index.lacking(libraries, index.backbones())
    return type(error)(f"{error} It may be among what is lost: {told[0]}") if told else error


def _choose_libraries(counts: Mapping[str, object], asked: Sequence[str]) -> list[str]:
    unknown = [name for name in asked if counts and name not in counts]
    if unknown:
        raise unknown_library(unknown[0], counts)
    return sorted(asked or counts)


def _fetch(
    index: SearchIndex, backbones: Mapping[Modality, Backbone], video_ids: Collection[str]
) -> tuple[dict[Modality, dict[str, VideoVectors]], dict[str, StoredRow]]:
    """Fetch the vectors of videos by modality, and one row of each video."""
    found = index.concurrently(
        partial(fetch_videos, index, b, video_ids) for b in backbones.values()
    )
    samples = {name: row for _, rows in found for name, row in rows.items()}
    return {m: vectors for m, (vectors, _) in zip(backbones, found, strict=True)}, samples


def _explain(
    best: Mapping[str, Fused],
    compared: Comparison,
    yardsticks: Mapping[Modality, Yardstick],
    weights: Mapping[Modality, float],
    matches: Mapping[Modality, Mapping[str, VideoVectors]],
    samples: Mapping[str, StoredRow],
) -> list[QueryMatch]:
    """Build the results with each modality's evidence: the similarity, and where they match."""
    similarities = compared.similarities
    places = {modality: ranks(found) for modality, found in similarities.items()}
    results = []
    for rank, (video_id, total) in enumerate(best.items(), start=1):
        modalities = {}
        for modality, share in total.shares.items():
            nearest = compared.nearest(modality, video_id).vectors[modality]
            where = align(yardsticks[modality].backbone, nearest, matches[modality][video_id])
            modalities[modality.value] = ModalityMatch(
                rank=places[modality][video_id],
                similarity=similarities[modality][video_id],
                likeness=total.by_modality[modality],
                share=share,
                query_start_s=where.query_start_s,
                query_end_s=where.query_end_s,
                start_s=where.start_s,
                end_s=where.end_s,
                to_examples=compared.to_examples[modality][video_id],
                to_negatives=compared.to_negatives[modality].get(video_id, {}),
            )
        results.append(
            QueryMatch(
                rank=rank,
                video_id=video_id,
                path=samples[video_id].path,
                label=samples[video_id].label,
                likeness=total.likeness,
                word=in_words(total.likeness),
                relative_score=total.relative,
                moments=_moments(video_id, compared, yardsticks, weights, matches),
                modalities=modalities,
            )
        )
    return results


def _moments(
    video_id: str,
    compared: Comparison,
    yardsticks: Mapping[Modality, Yardstick],
    weights: Mapping[Modality, float],
    matches: Mapping[Modality, Mapping[str, VideoVectors]],
) -> list[MatchedMoment]:
    """Find where a result and the example that it is most like correspond."""

    def alike(name: str) -> float:
        there = {m: of[video_id] for m, of in compared.to_examples.items() if video_id in of}
        odds = {
            m: yardsticks[m].log_odds(np.array(to[name])) for m, to in there.items() if name in to
        }
        return float(average(odds, weights)) if odds else -np.inf

    example = compared.examples[max(compared.examples, key=alike)]
    video = {m: of[video_id] for m, of in matches.items() if video_id in of}
    found = find_moments(example.vectors, video, yardsticks, weights)
    return [MatchedMoment(example=example.name, **asdict(moment)) for moment in found]
