"""Explanations: what makes two videos alike, in which modalities, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np

from ..ingest.shards.home import Place, open_shards
from ..ingest.system.progress import Progress
from ..schemas.embedding import ByteArray, SegmentEmbedding
from ..schemas.errors import StoreError
from ..schemas.explanation import ExplainedVideo, Explanation, LikenessAt, ModalityLikeness
from ..schemas.modality import Modality
from ..schemas.results import MatchedMoment
from .likeness import average, in_words, likeness
from .moments import find_moments, likeness_along
from .pair import Pair, read_pair
from .query import QueryOptions
from .search_index import SearchIndex
from .subject import Embed, Example
from .videos import similarity

if TYPE_CHECKING:  # torch and PyAV, which stored clips do not need
    from ..ingest.extract.batching import FailedVideo
    from ..ingest.extract.embed import EmbedOptions
    from ..schemas.embedding import EmbeddedVideo
    from ..schemas.video import Video

_MOST_LINES = 2000
"""Lines of a strip that are drawn: of 100 segments (a choice)."""


def explain(
    first: str,
    second: str,
    index: SearchIndex,
    place: Place,
    options: QueryOptions,
    progress: Progress,
    embed: Embed,
) -> Explanation:
    """Compare two clips, each the id of a stored video or a file.

    Args:
        first: Taken for the query.
        second: Taken for its result.
        index: What is stored, that of `place`.
        place: Home and Milvus of the libraries.
        options: Which modalities and backbones to compare by, and how to embed a file.
        progress: Receives the progress of embedding.
        embed: Embeds a file.

    Raises:
        VidsimError: As `query.answer`.
    """
    strips: dict[str, ByteArray] = {}

    def embed_and_keep(
        video: Video, how: EmbedOptions, told: Progress
    ) -> EmbeddedVideo | FailedVideo:
        result = embed(video, how, told)
        if parts := getattr(result, "embeddings", None):
            strips.update(_named(video.path, joined_strip(parts)))
        return result

    pair = read_pair((first, second), index, place, options, progress, embed_and_keep)
    if Modality.COLOR in pair.yardsticks:
        for name in {clip.name for clip in (pair.first, pair.second) if index.knows(clip.name)}:
            strips.update(_named(name, stored_strip(place, name)))
    return _compared(pair, strips)


def _compared(pair: Pair, strips: dict[str, ByteArray]) -> Explanation:
    ours, theirs = pair.first.vectors, pair.second.vectors
    found = {
        m: similarity(yardstick.backbone, ours[m], theirs[m])
        for m, yardstick in pair.yardsticks.items()
    }
    odds = {m: pair.yardsticks[m].log_odds(np.array(value)) for m, value in found.items()}
    total = float(likeness(average(odds, pair.weights)))
    moments = find_moments(ours, theirs, pair.yardsticks, pair.weights)
    shift_s = moments[0].start_s - moments[0].query_start_s
    times, alike, by_modality = likeness_along(ours, theirs, pair.yardsticks, pair.weights, shift_s)
    return Explanation(
        first=_described(pair.first, strips),
        second=_described(pair.second, strips),
        likeness=total,
        word=in_words(total),
        modalities={
            m.value: ModalityLikeness(
                similarity=value, likeness=float(likeness(odds[m])), weight=pair.weights[m]
            )
            for m, value in found.items()
        },
        missing_modalities=[m.value for m in pair.missing],
        moments=[MatchedMoment(example=pair.first.name, **asdict(moment)) for moment in moments],
        over_time=[
            LikenessAt(
                first_s=time_s,
                second_s=time_s + shift_s,
                likeness=alike[n],
                modalities={m.value: of[n] for m, of in by_modality.items()},
            )
            for n, time_s in enumerate(times)
        ],
        notes=pair.notes,
    )


def _described(clip: Example, strips: dict[str, ByteArray]) -> ExplainedVideo:
    from ..ingest.decode.pictures import png

    strip = strips.get(clip.name, strips.get(clip.path))
    return ExplainedVideo(
        name=clip.name, path=clip.path, strip=b"" if strip is None else png(strip)
    )


def _named(name: str, strip: ByteArray | None) -> dict[str, ByteArray]:
    return {} if strip is None else {name: strip}


def stored_strip(place: Place, video_id: str) -> ByteArray | None:
    """Return the `joined_strip` of a stored video; None where no shard here holds it."""
    shards = open_shards(place.home)
    try:
        entry = shards.catalog(video_id.partition("/")[0]).get(video_id)
        color = {n for n, b in shards.backbones.items() if b.modality is Modality.COLOR}
        videos = shards.read([entry], color) if entry else ()
        strips = (joined_strip(video.embeddings) for video in videos)
        return next((strip for strip in strips if strip is not None), None)
    except StoreError:  # a picture less, which is no reason to refuse the rest
        return None


def joined_strip(parts: Iterable[SegmentEmbedding]) -> ByteArray | None:
    """Return the vid2img strips of all segments as one picture, time from left to right.

    Returns:
        (100, n, 3) uint8 RGB with 20 columns per segment, of 2,000 at most; None without any.
    """
    found = [part.vid2img for part in parts if part.vid2img is not None]
    if not found:
        return None
    lines = np.concatenate(found)
    wanted = np.linspace(0, len(lines) - 1, min(len(lines), _MOST_LINES)).round().astype(int)
    return np.ascontiguousarray(lines[wanted].transpose(1, 0, 2))
