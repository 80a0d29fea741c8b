"""Queries: from a clip to a ranking with evidence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..ingest.discover.regular_file import ODD_NAMES, odd_kind
from ..ingest.discover.videos import describe
from ..ingest.milvus.filters import differs, is_in
from ..ingest.shards.home import Place
from ..ingest.system.progress import Progress
from ..ingest.system.unknown_names import nearest_path, unknown_library
from ..schemas.backbones import DEFAULT_PRESET, Backbone, choose_backbones
from ..schemas.errors import LibraryError, MediaError, ModelError, VidsimError
from ..schemas.modality import Modality
from ..schemas.results import MatchedMoment, ModalityMatch, QueryMatch, QueryResult
from ..schemas.rows import StoredRow
from ..schemas.video import SEGMENT_SECONDS
from .background import yardsticks
from .fusion import TOP, Fused, FusionName, fuse, parse_weights, ranks
from .likeness import Yardstick, chance, in_words
from .moments import find_moments
from .neighbours import fetch_videos, propose, similarity_to_each
from .search_index import SearchIndex, open_index
from .tuned import read_tuned
from .videos import VideoVectors, align, from_embedded

if TYPE_CHECKING:  # torch and PyAV, which a stored clip does not need
    from ..ingest.extract.batching import FailedVideo
    from ..ingest.extract.embed import EmbedOptions
    from ..schemas.embedding import EmbeddedVideo
    from ..schemas.video import Video


_log = logging.getLogger(__name__)

Embed = Callable[["Video", "EmbedOptions", Progress], "EmbeddedVideo | FailedVideo"]
"""Embeds a clip, as `ingest.extract.embed.embed_one` does."""


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


@dataclass(frozen=True)
class Clip:
    """A query: its vectors by modality, and how to leave out its own video.

    Attributes:
        name: The clip as given.
        vectors: By modality.
        hidden: Id of the video to leave out, "" for none.
        not_itself: Filter that leaves out videos of the same content, "" for none.
        damage: What of it did not decode, "" where no loss is known.
        path: Where its file is, or was; "" where that is unknown.
    """

    name: str
    vectors: dict[Modality, VideoVectors]
    hidden: str = ""
    not_itself: str = ""
    damage: str = ""
    path: str = ""


def query(clip: str, place: Place, options: QueryOptions, progress: Progress) -> QueryResult:
    """Rank stored videos by similarity to `clip`, as `answer` does, opening what is searched.

    Raises:
        VidsimError: As `answer`, or the index cannot be opened.
    """
    with open_index(place) as index:
        return answer(clip, index, place, options, progress)


def answer(
    clip: str,
    index: SearchIndex,
    place: Place,
    options: QueryOptions,
    progress: Progress,
    embed: Embed | None = None,
) -> QueryResult:
    """Rank stored videos by similarity to `clip`; an open index answers sooner.

    Args:
        clip: The id of a stored video (then nothing is decoded), or a file.
        index: What is searched, that of `place`.
        place: Home and Milvus of the libraries.
        options: Search options.
        progress: Receives the progress of embedding a new clip.
        embed: Embeds a new clip; None loads the networks for this call only.

    Raises:
        LibraryError: Nothing is stored, or the clip or a library does not exist.
        ModelError: A modality, backbone, weight or filter is invalid.
        MediaError: The clip cannot be read, or has nothing to compare.
        WeightsError: A new clip would be compared with rows of other weights than those here, or
            weights are missing.
        StoreError: Milvus cannot be read.
    """
    weights = parse_weights(options.weights, options.fusion)
    if not 0 <= options.min_score <= 1:
        raise ModelError(f"{options.min_score:g} is no likeness; it goes from 0 to 1.")
    stored = index.weights()
    libraries = _choose_libraries(stored, options.libraries)
    own = clip.partition("/")[0]
    asked_of = [own] if own in stored else libraries
    held = {name for library in asked_of for name in stored.get(library, ())}
    try:
        backbones = _choose_backbones(index, options, held)
    except (LibraryError, ModelError) as error:
        raise _or_lost(error, index, asked_of) from error
    if options.expression:
        index.check_filter(options.expression)
    searched = {library: stored[library] for library in libraries if library in stored}
    subject = _embed_or_fetch(clip, index, backbones, searched, options, progress, embed)
    asked = {m: backbones[m] for m in subject.vectors}
    if not asked:
        nothing = MediaError(
            f"{clip} has nothing to be compared by: no {' and no '.join(backbones)}; "
            "ask for other modalities with -m."
        )
        raise _or_lost(nothing, index, asked_of) if index.knows(clip) else nothing
    scope = [is_in("library", libraries)] if options.libraries else []
    scope += [f"({options.expression})"] if options.expression else []
    scope += [subject.not_itself] if subject.not_itself else []
    _log.debug(
        "%s is compared by %s in %s", clip, ", ".join(b.name for b in asked.values()), libraries
    )
    check = index.begin_check(libraries, asked.values())
    similarities = _similarities(index, subject, asked, max(TOP, options.k), " and ".join(scope))
    notes = [f"{subject.name}: {subject.damage}"] if subject.damage else []
    notes += _other_weights(searched, asked)
    if options.weights is None and options.fusion == "calibrated" and len(asked) > 1:
        tuned, told = read_tuned(place.home, asked)
        weights |= tuned
        notes += told
    measured = yardsticks(place.home, libraries, asked, notes.append)
    fused = fuse(options.fusion, similarities, measured, weights)
    best = _best(fused, options)
    matches, samples = _fetch(index, asked, best)  # where they match is reported to the row
    notes += check()
    bound = chance(measured, weights)
    return QueryResult(
        query=subject.name,
        query_path=subject.path,
        modalities=[m.value for m in asked],
        missing_modalities=[m.value for m in backbones if m not in asked],
        fusion=options.fusion,
        chance=bound,
        nothing_alike=bool(fused) and max(f.likeness for f in fused.values()) < bound,
        results=_explain(best, subject, measured, weights, matches, similarities, samples),
        notes=notes,
    )


def _best(fused: Mapping[str, Fused], options: QueryOptions) -> dict[str, Fused]:
    """Return the results that are asked for, best first."""
    alike = [(i, found) for i, found in fused.items() if found.likeness >= options.min_score]
    return dict(alike[: options.k])


def _or_lost(error: VidsimError, index: SearchIndex, libraries: Collection[str]) -> VidsimError:
    """Return an error about what is not stored, which says too what of `libraries` is lost."""
    told = index.lacking(libraries, index.backbones())
    return type(error)(f"{error} It may be among what is lost: {told[0]}") if told else error


def _choose_libraries(counts: Mapping[str, object], asked: Sequence[str]) -> list[str]:
    unknown = [name for name in asked if counts and name not in counts]
    if unknown:
        raise unknown_library(unknown[0], counts)
    return sorted(asked or counts)


def _choose_backbones(
    index: SearchIndex, options: QueryOptions, held: Collection[str]
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
    named = {item.partition("=")[0].strip() for item in options.overrides}
    wanted = choose_backbones(
        options.modalities or tuple(Modality),
        options.overrides,
        options.preset or DEFAULT_PRESET,
        index.known,
    )
    chosen = {}
    for modality, backbone in wanted.items():
        there = [b for b in stored if b.modality is modality]
        if there and options.preset is None and modality not in named:
            chosen[modality] = min(there, key=lambda b: (b.name not in held, b is not backbone))
        elif backbone in there:
            chosen[modality] = backbone
        elif modality in named | set(options.modalities or ()):
            names = ", ".join(f"{b.modality}={b.name}" for b in there or stored)
            raise ModelError(
                f"Nothing is stored as {modality}={backbone.name}, only {names}; choose of "
                f"those with --model, or ingest again with --model {modality}={backbone.name}."
            )
    if not chosen:
        names = ", ".join(f"{b.modality}={b.name}" for b in stored)
        raise ModelError(
            f"Nothing of preset {options.preset} is stored, only {names}; leave --preset out."
        )
    return chosen


def _embed_or_fetch(
    clip: str,
    index: SearchIndex,
    backbones: Mapping[Modality, Backbone],
    searched: Mapping[str, Mapping[str, str]],
    options: QueryOptions,
    progress: Progress,
    embed: Embed | None,
) -> Clip:
    """Return the query; `searched` are the weights of the rows to compare it with."""
    fetched, samples = _fetch(index, backbones, [clip])
    vectors = {modality: found[clip] for modality, found in fetched.items() if found}
    if vectors or index.knows(clip):
        hidden = "" if options.exclude_self is False else clip
        return Clip(clip, vectors, hidden, path=samples[clip].path if clip in samples else "")
    path = Path(clip)
    try:
        _check_file(path, index)
    except LibraryError as error:
        if told := index.lacking([clip.partition("/")[0]], ()):
            raise LibraryError(
                f"{clip} is no file, and not among what is found: {told[0]}"
            ) from error
        raise
    return _embed(path, backbones, searched, options, progress, embed)


def _check_file(path: Path, index: SearchIndex) -> None:
    """Raise LibraryError unless `path` leads to a regular file."""
    try:
        odd = odd_kind(path.stat().st_mode)
    except PermissionError as error:
        raise LibraryError(f"{path} may not be read; change its permissions.") from error
    except (OSError, ValueError) as error:  # it does not exist, or cannot be a path
        nearest = nearest_path(str(path), ids := index.ids())
        hint = f" (did you mean {nearest}?)" if nearest in ids else ""
        raise LibraryError(
            f"{path} is neither a file nor the id of a stored video{hint}; "
            "'vidsim videos' lists the ids."
        ) from error
    if odd:
        raise LibraryError(
            f"{path} is {ODD_NAMES[odd]}; give a video file, or the id of a stored video."
        )


def _embed(
    path: Path,
    backbones: Mapping[Modality, Backbone],
    searched: Mapping[str, Mapping[str, str]],
    options: QueryOptions,
    progress: Progress,
    embed: Embed | None,
) -> Clip:
    from ..ingest.extract.batching import FailedVideo
    from ..ingest.extract.embed import EmbedOptions, embed_one

    video = describe(path, path.parent, "query")
    how = EmbedOptions(
        backbones,
        options.segment_seconds,
        options.device,
        audio_track=options.audio_track,
        stored=searched,
    )
    result = (embed or embed_one)(video, how, progress)
    if isinstance(result, FailedVideo):
        raise MediaError(
            f"{path} cannot be searched with ({result.reason.rstrip('.')}); "
            "give another file, or the id of a stored video."
        )
    vectors = {}
    for modality, backbone in backbones.items():
        found = from_embedded(backbone, result)
        if found is not None:
            vectors[modality] = found
    same = differs("fingerprint", video.fingerprint) if options.exclude_self else ""
    damage = result.damage.describe()
    return Clip(str(path), vectors, not_itself=same, damage=damage, path=video.path)


def _fetch(
    index: SearchIndex, backbones: Mapping[Modality, Backbone], video_ids: Collection[str]
) -> tuple[dict[Modality, dict[str, VideoVectors]], dict[str, StoredRow]]:
    """Fetch the vectors of videos by modality, and one row of each video."""
    found = index.concurrently(
        partial(fetch_videos, index, b, video_ids) for b in backbones.values()
    )
    samples = {name: row for _, rows in found for name, row in rows.items()}
    return {m: vectors for m, (vectors, _) in zip(backbones, found, strict=True)}, samples


def _similarities(
    index: SearchIndex,
    subject: Clip,
    backbones: Mapping[Modality, Backbone],
    proposals: int,
    expression: str,
) -> dict[Modality, dict[str, float]]:
    """Compute, in every modality, the similarity of every video that any modality proposes.

    A video missing from one modality's list may still be similar in it, so it is looked up.
    """
    queries = [(backbone, subject.vectors[modality]) for modality, backbone in backbones.items()]
    lists = index.concurrently(
        partial(
            propose,
            index,
            backbone,
            query,
            proposals,
            expression,
            subject.hidden,
        )
        for backbone, query in queries
    )
    proposed = {video_id for each in lists for video_id in each}
    found = index.concurrently(
        partial(similarity_to_each, index, b, query, proposed) for b, query in queries
    )
    return dict(zip(backbones, found, strict=True))


def _other_weights(
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


def _explain(
    best: Mapping[str, Fused],
    subject: Clip,
    yardsticks: Mapping[Modality, Yardstick],
    weights: Mapping[Modality, float],
    matches: Mapping[Modality, Mapping[str, VideoVectors]],
    similarities: Mapping[Modality, Mapping[str, float]],
    samples: Mapping[str, StoredRow],
) -> list[QueryMatch]:
    """Build the results with each modality's evidence: the similarity, and where they match."""
    places = {modality: ranks(found) for modality, found in similarities.items()}
    results = []
    for rank, (video_id, total) in enumerate(best.items(), start=1):
        modalities = {}
        for modality, share in total.shares.items():
            where = align(
                yardsticks[modality].backbone,
                subject.vectors[modality],
                matches[modality][video_id],
            )
            modalities[modality.value] = ModalityMatch(
                rank=places[modality][video_id],
                similarity=similarities[modality][video_id],
                likeness=total.by_modality[modality],
                share=share,
                query_start_s=where.query_start_s,
                query_end_s=where.query_end_s,
                start_s=where.start_s,
                end_s=where.end_s,
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
                moments=[
                    MatchedMoment(**asdict(moment))
                    for moment in find_moments(
                        subject.vectors,
                        {m: of[video_id] for m, of in matches.items() if video_id in of},
                        yardsticks,
                        weights,
                    )
                ],
                modalities=modalities,
            )
        )
    return results


@dataclass(frozen=True)
class Pair:
    """Two clips to be compared with each other.

    Attributes:
        first: Has the vectors of the modalities that both have, as `second` has.
        second: The other one.
        yardsticks: For each of those modalities.
        weights: For each of those modalities.
        missing: What was asked for and one of the two lacks.
        notes: What a person should know about it.
    """

    first: Clip
    second: Clip
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

    Two files are compared by the backbones of the preset, others by what is stored.

    Raises:
        VidsimError: As `answer`.
    """
    weights = parse_weights(options.weights, options.fusion)
    stored = index.weights()
    own = sorted({name.partition("/")[0] for name in names if index.knows(name)})
    if own:
        held = set.intersection(*(set(stored.get(library, ())) for library in own))
        backbones = _choose_backbones(index, options, held)
    else:
        wanted, preset = options.modalities or tuple(Modality), options.preset or DEFAULT_PRESET
        backbones = choose_backbones(wanted, options.overrides, preset, index.known)
    searched = {library: stored[library] for library in own if library in stored}
    clips = [
        _embed_or_fetch(name, index, backbones, searched, options, progress, embed)
        for name in names
    ]
    first, second = clips
    both = {m: b for m, b in backbones.items() if m in first.vectors and m in second.vectors}
    if not both:
        raise MediaError(
            f"{first.name} and {second.name} have nothing in common to be compared by; "
            "ask for other modalities with -m."
        )
    notes = [f"{clip.name}: {clip.damage}" for clip in clips if clip.damage]
    notes += _other_weights(searched, both)
    if options.weights is None and len(both) > 1:
        tuned, told = read_tuned(place.home, both)
        weights |= tuned
        notes += told
    first, second = (replace(c, vectors={m: c.vectors[m] for m in both}) for c in clips)
    measured = yardsticks(place.home, own, both, notes.append)
    missing = [m for m in backbones if m not in both]
    return Pair(first, second, measured, weights, missing, notes)
