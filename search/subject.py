"""What a query asks by: a stored video, a file, or a still picture, as vectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..ingest.discover.regular_file import ODD_NAMES, odd_kind
from ..ingest.discover.stills import still_format
from ..ingest.discover.videos import describe
from ..ingest.milvus.filters import differs
from ..ingest.system.progress import Progress
from ..ingest.system.unknown_names import nearest_path
from ..schemas.answer import clock
from ..schemas.backbones import Backbone
from ..schemas.errors import LibraryError, MediaError
from ..schemas.modality import Modality
from ..schemas.part import WHOLE, Part
from ..schemas.video import SEGMENT_SECONDS, VideoId
from .neighbours import fetch_videos
from .search_index import SearchIndex
from .videos import VideoVectors, from_embedded, within

if TYPE_CHECKING:  # torch and PyAV, which a stored clip does not need
    from ..ingest.extract.batching import FailedVideo
    from ..ingest.extract.embed import EmbedOptions
    from ..schemas.embedding import EmbeddedVideo
    from ..schemas.video import Video

Embed = Callable[["Video", "EmbedOptions", Progress], "EmbeddedVideo | FailedVideo"]
"""Embeds a clip, as `ingest.extract.embed.embed_one` does."""

_STILL = (Modality.COLOR, Modality.FRAME)
"""What a still picture has."""

_BEYOND_S = 1.0
"""How far rows may reach beyond a part before that is told: frames' rows do by less."""


@dataclass(frozen=True)
class Example:
    """A clip that a query asks by.

    Attributes:
        name: The clip as given.
        vectors: By modality.
        hidden: Id of the video to leave out of the answer, "" for none.
        not_itself: Filter that leaves out videos of the same content, "" for none.
        notes: What a person should know about it, such as what of it did not decode.
        path: Where its file is, or was; "" where that is unknown.
    """

    name: str
    vectors: Mapping[Modality, VideoVectors]
    hidden: str = ""
    not_itself: str = ""
    notes: tuple[str, ...] = ()
    path: str = ""


@dataclass(frozen=True)
class Reading:
    """How clips are read.

    Attributes:
        part: The part that counts.
        exclude_self: Whether to leave a clip's own video out; None does so for stored videos only.
        device: Device that embeds a new clip.
        segment_seconds: Segment length of a new clip.
        audio_track: Number of a new clip's audio track, from 1; None for the picture's own.
        searched: Weights of the rows that it will be compared with, by library and backbone.
        embed: Embeds a new clip; None loads the networks for this call only.
    """

    part: Part = WHOLE
    exclude_self: bool | None = None
    device: str = "auto"
    segment_seconds: float = SEGMENT_SECONDS
    audio_track: int | None = None
    searched: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    embed: Embed | None = None


def read_clip(
    clip: str,
    index: SearchIndex,
    backbones: Mapping[Modality, Backbone],
    how: Reading,
    progress: Progress,
) -> Example:
    """Fetch a stored video by its id, without decoding anything, or embed a file.

    Args:
        clip: The id, or the file.
        index: What is searched.
        backbones: One per modality.
        how: How it is read.
        progress: Receives the progress of embedding.

    Raises:
        LibraryError: It is neither a file nor an id.
        MediaError: The file cannot be read, or there is nothing of the part.
        WeightsError: As `ingest.extract.embed.embed_all`.
    """
    fetched = index.concurrently(
        partial(fetch_videos, index, b, [clip]) for b in backbones.values()
    )
    vectors = {
        modality: found[clip]
        for modality, (found, _) in zip(backbones, fetched, strict=True)
        if clip in found
    }
    if vectors or index.knows(clip):
        hidden = "" if how.exclude_self is False else clip
        paths = sorted({row.path for _, rows in fetched for row in rows.values()})
        path = paths[0] if paths else ""
        if how.part.region:
            raise MediaError(
                f"Of {clip} no pictures are stored, which a region is of; "
                f"give its file{f', {path},' if path else ''} instead."
            )
        if how.part.at_all_times:
            return Example(clip, vectors, hidden, path=path)
        vectors, notes = _stretch(clip, vectors, backbones, how.part)
        return Example(clip, vectors, hidden, notes=notes, path=path)
    if isinstance(clip, VideoId):
        raise _unknown(clip, index)
    file = Path(clip)
    try:
        _check_file(file, index)
    except LibraryError as error:
        if told := index.lacking([clip.partition("/")[0]], ()):
            raise LibraryError(
                f"{clip} is no file, and not among what is found: {told[0]}"
            ) from error
        raise
    return _embed(file, backbones, how, progress)


def _stretch(
    clip: str,
    vectors: Mapping[Modality, VideoVectors],
    backbones: Mapping[Modality, Backbone],
    part: Part,
) -> tuple[dict[Modality, VideoVectors], tuple[str, ...]]:
    """Return the stored rows of a part, and a note where they say more than was asked for."""
    last_s = max((float(v.end_s.max()) for v in vectors.values()), default=0.0)
    if vectors and last_s <= part.start_s:
        raise MediaError(
            f"{clip} lasts {clock(last_s, tenths=True)}, "
            f"and the part begins at {clock(part.start_s, tenths=True)}; give an earlier --from."
        )
    end_s = last_s if part.end_s is None else min(part.end_s, last_s)
    found = {m: within(backbones[m], v, part.start_s, end_s) for m, v in vectors.items()}
    taken = {m: v for m, v in found.items() if v is not None}
    reach = {m: (float(v.start_s.min()), float(v.end_s.max())) for m, v in taken.items()}
    wide: dict[str, list[str]] = {}
    for modality, (start, end) in reach.items():
        if start < part.start_s - _BEYOND_S or end > end_s + _BEYOND_S:
            wide.setdefault(_span(start, end), []).append(modality)
    if not wide:
        return taken, ()
    stretches = ", ".join(f"{' and '.join(of)} of {where}" for where, of in wide.items())
    asked = _span(part.start_s, end_s)
    return taken, (
        f"{clip} is stored by segments: {stretches} stand for {asked}; "
        "give its file for that alone.",
    )


def _span(start_s: float, end_s: float) -> str:
    return f"{clock(start_s, tenths=True)}-{clock(end_s, tenths=True)}"


def _check_file(path: Path, index: SearchIndex) -> None:
    """Raise LibraryError unless `path` leads to a regular file."""
    try:
        odd = odd_kind(path.stat().st_mode)
    except PermissionError as error:
        raise LibraryError(f"{path} may not be read; change its permissions.") from error
    except (OSError, ValueError) as error:  # it does not exist, or cannot be a path
        raise _unknown(str(path), index) from error
    if odd:
        raise LibraryError(
            f"{path} is {ODD_NAMES[odd]}; give a video file, or the id of a stored video."
        )


def _unknown(name: str, index: SearchIndex) -> LibraryError:
    nearest = nearest_path(name, ids := index.ids())
    hint = f" (did you mean {nearest}?)" if nearest in ids else ""
    return LibraryError(
        f"{name} is neither a file nor the id of a stored video{hint}; "
        "'vidsim videos' lists the ids."
    )


def _embed(
    path: Path, backbones: Mapping[Modality, Backbone], how: Reading, progress: Progress
) -> Example:
    from ..ingest.extract.batching import FailedVideo
    from ..ingest.extract.embed import EmbedOptions, embed_one

    try:
        video = describe(path, path.parent, "query")
    except MediaError as error:
        reason = str(error).rstrip(".")
        raise MediaError(
            f"{path} cannot be searched with ({reason}); give another file."
        ) from error
    still = _still(path, backbones, how.part)
    if still:
        backbones = {m: b for m, b in backbones.items() if m in _STILL}
    options = EmbedOptions(
        backbones,
        how.segment_seconds,
        how.device,
        audio_track=how.audio_track,
        stored=how.searched,
        part=how.part,
        still=still,
    )
    result = (how.embed or embed_one)(video, options, progress)
    if isinstance(result, FailedVideo):
        advice = (
            "give another file, or the id of a stored video"
            if how.part == WHOLE
            else "give another --from, --to or --region"
        )
        reason = result.reason.rstrip(".")
        raise MediaError(f"{path} cannot be searched with ({reason}); {advice}.")
    vectors = {}
    for modality, backbone in backbones.items():
        found = from_embedded(backbone, result)
        if found is not None:
            vectors[modality] = found
    same = differs("fingerprint", video.fingerprint) if how.exclude_self else ""
    damage = result.damage.describe()
    notes = [f"{path}: {damage}"] if damage else []
    if still:
        notes.append(f"{path} is a still picture, which has neither sound nor motion.")
    return Example(str(path), vectors, not_itself=same, notes=tuple(notes), path=video.path)


def _still(path: Path, backbones: Mapping[Modality, Backbone], part: Part) -> str:
    """Return the demuxer of a still picture, "" for another file.

    Raises:
        MediaError: The file cannot be read, or it is asked for what a still picture has not.
    """
    try:
        still = still_format(path)
    except OSError as error:
        raise MediaError(f"{path} cannot be read ({error.strerror}); give another file.") from error
    if still and not part.at_all_times:
        raise MediaError(f"{path} is a still picture; leave --from and --to out.")
    if still and not backbones.keys() & set(_STILL):
        raise MediaError(
            f"{path} is a still picture, which has no {' and no '.join(backbones)}; "
            "ask for color or frame with -m."
        )
    return still
