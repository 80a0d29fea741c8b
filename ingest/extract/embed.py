"""Files to embeddings: decoders and networks in parallel, for a folder or one clip at a time.

Decoding runs ahead in child processes; segments of different videos share a batch. The output is
whole videos, or the reasons why they failed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain, count
from queue import SimpleQueue

from ...schemas.backbones import Backbone
from ...schemas.embedding import EmbeddedVideo
from ...schemas.errors import WorkerError
from ...schemas.modality import Modality
from ...schemas.part import WHOLE, Part
from ...schemas.video import SEGMENT_SECONDS, Video
from ..decode.events import Event, Finished, Opened
from ..decode.pool import DecodeLimits, decode_all
from ..decode.segments import DecodeRequest
from ..models.pull import pull
from ..models.weights import check_stored
from ..system.progress import Progress
from ..system.stages import Meter, Stage
from ..system.stop import Stop
from .batching import Assembly, FailedVideo
from .pace import Pace
from .scheduler import Extraction

_FOR_ONE_FILE = 2
"""Decoders of a long file, at least: one alone keeps a machine of two cores waiting for it."""

_LOADING = "loading networks"
"""The stage before the first video."""


@dataclass(frozen=True)
class EmbedOptions:
    """Embedding options.

    Attributes:
        backbones: One per modality.
        segment_seconds: Length of a segment in seconds.
        device: ``auto``, ``cpu`` or ``cuda``.
        workers: Decoder processes; None chooses by the number of cores.
        nvdec: Whether an NVIDIA GPU may decode large pictures.
        batch: Segments per batch; None chooses by the device. A GPU with less memory takes fewer.
        audio_track: Number of the audio track, from 1; None for the picture's own.
        stored: Weights of the rows that the new ones will be compared with, by library
            and backbone (see `weights.check_stored`).
        part: The part of each video that counts.
        still: The demuxer that reads it as a still picture, as `stills.still_format` says; "" for
            a video or sound.
        asked: Modalities whose backbone was asked for; of others, rows that are there decide which
            sampling of the network it is.
    """

    backbones: Mapping[Modality, Backbone]
    segment_seconds: float = SEGMENT_SECONDS
    device: str = "auto"
    workers: int | None = None
    nvdec: bool = False
    batch: int | None = None
    audio_track: int | None = None
    stored: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    part: Part = WHOLE
    still: str = ""
    asked: Collection[Modality] = ()


def embed_all(
    videos: Sequence[Video],
    options: EmbedOptions,
    progress: Progress,
    limits: DecodeLimits | None = None,
    meter: Meter | None = None,
    stop: Stop | None = None,
) -> Generator[EmbeddedVideo | FailedVideo]:
    """Embed `videos`, yielding each as soon as it is complete; the order may differ.

    Missing weights are pulled first. Closing the iterator ends every process it started.

    Args:
        videos: What to embed.
        options: How to embed.
        progress: Receives the progress: of loading networks, then of `Pace`.
        limits: Limits per file.
        meter: Receives each stage's times.
        stop: Once it asks for that, no other video is begun; it counts those that were.

    Raises:
        WeightsError: Weights are missing and cannot be fetched, or differ from `options.stored`.
        ModelError: The device does not exist.
        WorkerError: The audio process failed.
    """
    if not videos:
        return
    pull(options.backbones.values(), progress)
    check_stored(options.backbones.values(), options.stored)
    limits = limits or DecodeLimits(nvdec=options.nvdec)
    pace = Pace(videos, progress)
    requests = _requests(videos, options, stop or Stop())
    with closing(
        _run(videos, requests, options, limits, meter or Meter(), progress, pace)
    ) as results:
        for result in results:
            pace.decided(result.video)
            yield result
    pace.finish()


def _requests(
    videos: Sequence[Video], options: EmbedOptions, stop: Stop
) -> Iterator[tuple[int, DecodeRequest]]:
    for i, video in enumerate(videos):
        if stop.asked:
            return
        stop.begun += 1
        yield i, _request(video, options)


def _run(
    videos: Sequence[Video],
    requests: Iterator[tuple[int, DecodeRequest]],
    options: EmbedOptions,
    limits: DecodeLimits,
    meter: Meter,
    progress: Progress,
    pace: Pace,
) -> Generator[EmbeddedVideo | FailedVideo]:
    workers = options.workers or default_workers()
    joining = 0 if options.workers else max(0, _FOR_ONE_FILE - workers)
    with (
        closing(decode_all(requests, workers, limits, joining)) as events,
        ThreadPoolExecutor(1, "vidsim-decoders") as starter,
    ):
        first = starter.submit(next, events)  # decoders run ahead while the networks load
        progress.start(_LOADING, None, "networks")
        with Extraction(
            options.backbones, options.device, meter=meter, batch=options.batch
        ) as extraction:
            progress.finish(_LOADING)
            meter.start()
            pace.start()
            assembly = _assemble(videos, options, extraction, pace.embedded)
            with meter.waiting(Stage.DECODE):
                try:
                    started = first.result()
                except StopIteration:  # asked to stop before the first one
                    return
            for i, event in chain([started], meter.waited_for(Stage.DECODE, events)):
                if isinstance(event, Opened):
                    pace.opened(videos[i])
                if isinstance(event, Finished):
                    meter.add(Stage.DECODE, event.spent)
                yield from assembly.take(i, event)
            yield from assembly.flush()


class Embedder:
    """Embeds one video after another; the networks and a decoder stay loaded in between.

    Only one thread at a time may use it. Closing it ends every process it started.

    Attributes:
        backbones: Loaded backbones.
    """

    def __init__(
        self, options: EmbedOptions, progress: Progress, limits: DecodeLimits | None = None
    ) -> None:
        """Start nothing yet: the networks load while the first video is decoded.

        Args:
            options: Backbones and device.
            progress: Receives the progress of downloads.
            limits: Limits per file.
        """
        self._progress = progress
        self.backbones = dict(options.backbones)
        self._options = options
        self._extraction: Extraction | None = None
        self._numbers = count()
        self._requests: SimpleQueue[tuple[int, DecodeRequest] | None] = SimpleQueue()
        endless = iter(self._requests.get, None)
        limits = limits or DecodeLimits(nvdec=options.nvdec)
        self._events = decode_all(endless, 1, limits)

    def embed(self, video: Video, options: EmbedOptions) -> EmbeddedVideo | FailedVideo:
        """Embed `video`; `options` may request fewer modalities than are loaded.

        Raises:
            WeightsError: Weights are missing and cannot be fetched, or differ from
                `options.stored`.
            ModelError: The device does not exist.
            WorkerError: The audio process failed, and this embedder with it.
        """
        number = next(self._numbers)
        self._requests.put((number, _request(video, options)))
        events: Iterator[tuple[int, Event]] = self._events
        if self._extraction is None:
            with ThreadPoolExecutor(1, "vidsim-decoder") as starter:
                # The decoder starts at once: torch's import keeps the interpreter to itself.
                first = starter.submit(next, self._events)
                self.load()
                events = chain([first.result()], self._events)
        assert self._extraction is not None
        check_stored(options.backbones.values(), options.stored)
        assembly = _assemble([video], options, self._extraction)
        for owner, event in events:
            if owner != number:
                continue  # of a failed video
            decided = [*assembly.take(0, event)]
            if isinstance(event, Finished):
                decided += assembly.flush()
            for result in decided:
                return result
        raise WorkerError("The embedder is closed.")

    def load(self) -> None:
        """Pull missing weights and load the networks, so that the first video need not wait.

        Raises:
            WeightsError, ModelError: As `Extraction`.
        """
        if self._extraction is None:
            pull(self.backbones.values(), self._progress)
            how = self._options
            self._extraction = Extraction(self.backbones, how.device, batch=how.batch)

    def close(self) -> None:
        """End the decoder and the audio process."""
        self._requests.put(None)
        self._events.close()
        if self._extraction:
            self._extraction.close()


def embed_one(
    video: Video, options: EmbedOptions, progress: Progress
) -> EmbeddedVideo | FailedVideo:
    """Embed `video` with networks loaded for this call only.

    Raises:
        VidsimError: As `embed_all`.
    """
    with closing(embed_all([video], options, progress)) as results:
        (result,) = results
    return result


def _request(video: Video, options: EmbedOptions) -> DecodeRequest:
    return DecodeRequest(
        path=video.path,
        frames={m.value: b.frames for m, b in options.backbones.items() if b.frames},
        audio=Modality.AUDIO in options.backbones,
        segment_seconds=options.segment_seconds,
        nvdec=options.nvdec,
        audio_track=options.audio_track,
        part=options.part,
        still=options.still,
    )


def _assemble(
    videos: Sequence[Video],
    options: EmbedOptions,
    extraction: Extraction,
    embedded: Callable[[Video, float], object] = lambda *_: None,
) -> Assembly:
    return Assembly(
        videos,
        options.backbones.values(),
        options.segment_seconds,
        extraction,
        options.audio_track,
        embedded,
    )


def default_workers() -> int:
    """Return one decoder per two cores, at most four: more would starve the networks."""
    return max(1, min(4, len(os.sched_getaffinity(0)) // 2))
