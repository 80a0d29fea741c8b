"""Files to embeddings: decoders and networks side by side, one video after another.

Decoding runs ahead in child processes; segments of different videos share a batch. What
comes out is a whole video, or the reason why it failed.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain

from ..schemas.embedding import EmbeddedVideo, SegmentEmbedding
from ..schemas.modality import Backbone, Modality
from ..schemas.video import SEGMENT_SECONDS, Segment, Video
from .decode import DecodeRequest, Opened, SegmentMedia
from .decoders import DecodeLimits, Failed, decode_all
from .extraction import Extraction
from .progress import Progress, shown
from .stages import Meter, Stage
from .weights import check_stored, ensure, status

_BATCH = {"cpu": 4, "cuda": 16}
"""Segments a batch; a batch of 4 on CPU keeps activations of the 3D network under 1 GB."""


@dataclass(frozen=True)
class EmbedOptions:
    """How to embed.

    Attributes:
        backbones: One for each modality wanted.
        segment_seconds: Length of a segment in seconds.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: Decoder processes; None chooses by the number of cores.
        stored: The weights of the rows that the new ones will be compared with, by library
            and backbone (see `weights.check_stored`).
    """

    backbones: Mapping[Modality, Backbone]
    segment_seconds: float = SEGMENT_SECONDS
    device: str = "auto"
    workers: int | None = None
    stored: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class FailedVideo:
    """A video that gave no rows, with one sentence that says why."""

    video: Video
    reason: str


@dataclass
class _Open:
    """A video of which some segments may still be on their way."""

    video: Video
    duration_s: float
    waiting: int = 0
    finished: bool = False
    parts: dict[int, tuple[Segment, SegmentEmbedding]] = field(default_factory=dict)


def embed_all(
    videos: Sequence[Video],
    options: EmbedOptions,
    progress: Progress,
    limits: DecodeLimits | None = None,
    meter: Meter | None = None,
) -> Generator[EmbeddedVideo | FailedVideo]:
    """Embeds `videos`, yielding each as soon as it is whole; the order may differ.

    Weights that are missing are pulled first. Closing the iterator ends every process it started.

    Args:
        videos: What to embed.
        options: How.
        progress: Told about the videos.
        limits: What one file may cost.
        meter: Told what each stage takes.

    Raises:
        WeightsError: Weights are missing and cannot be fetched, or `options.stored` were others.
        ModelError: The device is not there.
        WorkerError: The audio process failed.
    """
    if not videos:
        return
    pull(options.backbones.values(), progress)
    check_stored(options.backbones.values(), options.stored)
    progress.start("embedding", len(videos), "videos")
    with closing(_run(videos, options, limits or DecodeLimits(), meter or Meter())) as results:
        for result in results:
            progress.advance("embedding", 1)
            yield result
    progress.finish("embedding")


def _run(
    videos: Sequence[Video], options: EmbedOptions, limits: DecodeLimits, meter: Meter
) -> Generator[EmbeddedVideo | FailedVideo]:
    frames = {m.value: b.frames for m, b in options.backbones.items() if b.frames}
    requests = (
        (
            i,
            DecodeRequest(
                path=video.path,
                frames=frames,
                audio=Modality.AUDIO in options.backbones,
                segment_seconds=options.segment_seconds,
            ),
        )
        for i, video in enumerate(videos)
    )
    opened: dict[int, _Open] = {}
    batch: list[tuple[int, SegmentMedia]] = []
    workers = min(options.workers or default_workers(), len(videos))
    with closing(decode_all(requests, workers, limits)) as events:
        first = next(events)  # decoders start and run ahead while the networks load
        with Extraction(options.backbones, options.device, meter=meter) as extraction:
            meter.start()
            size = _BATCH[extraction.device]
            for i, event in chain([first], meter.waited_for(Stage.DECODE, events)):
                if isinstance(event, Opened):
                    opened[i] = _Open(videos[i], event.duration_s)
                elif isinstance(event, SegmentMedia):
                    opened[i].waiting += 1
                    batch.append((i, event))
                    if len(batch) >= size:
                        yield from _embed_batch(extraction, batch, opened, options)
                elif isinstance(event, Failed):
                    opened.pop(i, None)
                    batch = [(owner, media) for owner, media in batch if owner != i]
                    yield FailedVideo(videos[i], _sentence(event.reason))
                else:
                    meter.add(Stage.DECODE, event.spent)
                    opened[i].finished = True
                    yield from _complete([i], opened, options)
            yield from _embed_batch(extraction, batch, opened, options)


def pull(backbones: Iterable[Backbone], progress: Progress) -> None:
    """Gets the weights that `backbones` need and that are not in the cache yet.

    Raises:
        WeightsError: They cannot be fetched, or are not what they should be.
    """
    for backbone in backbones:
        if status(backbone) in ("missing", "damaged"):
            with shown(progress, f"pulling {backbone.name}") as advance:
                ensure(backbone, advance)


def _embed_batch(
    extraction: Extraction,
    batch: list[tuple[int, SegmentMedia]],
    opened: dict[int, _Open],
    options: EmbedOptions,
) -> Generator[EmbeddedVideo | FailedVideo]:
    """Embeds and empties `batch`; yields the videos that this completes."""
    if not batch:
        return
    embeddings = extraction.embed([media for _, media in batch])
    for (i, media), embedding in zip(batch, embeddings):
        opened[i].waiting -= 1
        opened[i].parts[media.segment.index] = (media.segment, embedding)
    owners = sorted({i for i, _ in batch})
    batch.clear()
    yield from _complete(owners, opened, options)


def _complete(
    indexes: Sequence[int], opened: dict[int, _Open], options: EmbedOptions
) -> Generator[EmbeddedVideo | FailedVideo]:
    for i in indexes:
        state = opened[i]
        if state.waiting or not state.finished:
            continue
        del opened[i]
        parts = [state.parts[n] for n in sorted(state.parts)]
        if not any(embedding.rows for _, embedding in parts) and not _only_sound(options):
            heard = Modality.AUDIO in options.backbones
            sound = "no sound but silence" if heard else "its sound was not asked for"
            yield FailedVideo(state.video, f"It has no picture, and {sound}.")
            continue
        yield EmbeddedVideo(
            video=state.video,
            duration_s=state.duration_s,
            segment_seconds=options.segment_seconds,
            backbones=frozenset(b.name for b in options.backbones.values()),
            segments=tuple(segment for segment, _ in parts),
            embeddings=tuple(embedding for _, embedding in parts),
        )


def _sentence(reason: str) -> str:
    """A decoder's reason, which follows "path: " in a log, as a sentence of its own."""
    return f"{reason[:1].upper()}{reason[1:]}."


def _only_sound(options: EmbedOptions) -> bool:
    """Whether sound alone was asked for: then a video without it is no failure."""
    return list(options.backbones) == [Modality.AUDIO]


def default_workers() -> int:
    """One decoder for every two cores, four at most: more would starve the networks."""
    return max(1, min(4, len(os.sched_getaffinity(0)) // 2))
