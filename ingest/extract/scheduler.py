"""Scheduler of all extractors: decoded segments in, embeddings out."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from threadpoolctl import threadpool_limits

from ...schemas.backbones import Backbone
from ...schemas.embedding import SegmentEmbedding
from ...schemas.modality import Modality
from ..decode.events import SegmentMedia
from ..models.device import choose_device
from ..system.stages import Meter, Spent, Stage
from .audio import AudioExtractor, infers_in_torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt (malloc.h)."""

_KEPT_BYTES = 1 << 30
"""Smaller blocks, and up to this much at the end of the heap, are not returned to the kernel."""


class Extractor(Protocol):
    """Interface of every modality's extractor; one contract test covers them all."""

    backbone: Backbone

    def embed(self, media: Sequence[SegmentMedia]) -> list[SegmentEmbedding]:
        """Return one embedding per segment, in order."""
        ...


class Extraction:
    """The extractors of the requested modalities, loaded once and used for many segments.

    On a CPU every segment and modality is a separate task: with one thread per task, no thread of
    the parallel tasks waits for another, as those of one large batch do. A GPU takes whole
    batches, one modality after the other.
    """

    def __init__(
        self,
        backbones: Mapping[Modality, Backbone],
        device: str = "auto",
        threads: int | None = None,
        meter: Meter | None = None,
        batch: int | None = None,
    ) -> None:
        """Load networks, while an audio process loads in the background where there is one.

        Args:
            backbones: One backbone per modality.
            device: ``auto``, ``cpu`` or ``cuda``.
            threads: Threads per process; None for as many as there are cores.
            meter: Receives the modalities' times.
            batch: Segments per batch; None for the default of `batch_size`.

        Raises:
            WeightsError: Weights are missing and cannot be fetched.
            ModelError: ``cuda`` was requested and there is none.
        """
        # Idle OpenMP threads otherwise spin on cores that decoders and TensorFlow need:
        # contended inference was measured five times slower without it.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        _keep_freed_memory()
        self._threads = threads or len(os.sched_getaffinity(0))
        self.device = choose_device(device)
        self._workers = self._threads if self.device == "cpu" else 1
        self._batch = batch
        sound = backbones.get(Modality.AUDIO)
        self._hears = sound is not None and infers_in_torch(sound, self.device)
        self._uses_torch = self._hears or bool(backbones.keys() & {Modality.FRAME, Modality.MOTION})
        self._meter = meter or Meter()
        self._extractors: list[Extractor] = []
        self._background = ThreadPoolExecutor(1, "vidsim-audio")
        self._pool = ThreadPoolExecutor(self._workers, "vidsim-networks")
        self._audio: AudioExtractor | None = None
        if sound and not self._hears:
            self._audio = AudioExtractor(sound, self.device, self._threads, self._meter)
        # The colour modality uses numpy's matrix products, each of which would take all cores.
        self._limits = threadpool_limits(1 if self.device == "cpu" else None, "blas")
        try:
            self._load(backbones)
        except BaseException:
            self.close()
            raise

    def _load(self, backbones: Mapping[Modality, Backbone]) -> None:
        """Load the extractors, longest tasks first, so that the tail of a batch is short."""
        if self._uses_torch:
            import torch

            torch.set_num_threads(self._threads)
            device = torch.device(self.device)
        if Modality.MOTION in backbones:
            from .motion import MotionExtractor

            self._extractors.append(MotionExtractor(backbones[Modality.MOTION], device))
        if Modality.FRAME in backbones:
            from .frame import FrameExtractor

            self._extractors.append(FrameExtractor(backbones[Modality.FRAME], device))
        if self._hears:
            from .audio_torch import TorchAudioExtractor

            self._extractors.append(TorchAudioExtractor(backbones[Modality.AUDIO]))
        if Modality.COLOR in backbones:
            from .color import ColorExtractor

            self._extractors.append(ColorExtractor(backbones[Modality.COLOR], self.device))

    @property
    def batch_size(self) -> int:
        """Segments per call of `submit`: as requested, or enough to keep the device busy.

        On a CPU two tasks per modality and thread, and at least 4 so that audio patches come many
        at a time; on a GPU 32, whose activations take less than 8 GB.
        """
        if self._batch is not None:
            return self._batch
        return max(4, 2 * self._threads) if self.device == "cpu" else 32

    def embed(self, media: Sequence[SegmentMedia]) -> list[SegmentEmbedding]:
        """Embed `media`; return embeddings in order, each with the rows of every modality it has.

        Raises:
            WorkerError: The audio process failed.
        """
        return self.submit(media).result()

    def submit(self, media: Sequence[SegmentMedia]) -> Extracting:
        """Start embedding `media` and return immediately."""
        groups = []
        for extractor in self._extractors:
            seen = [i for i, m in enumerate(media) if _has(m, extractor.backbone.modality)]
            if self.device == "cpu":
                groups += [(extractor, [i]) for i in seen]
            elif seen:
                groups.append((extractor, seen))
        threads = max(1, self._threads // max(1, min(len(groups), self._workers)))
        tasks: dict[Future[list[SegmentEmbedding]], _Task] = {}
        if self._audio:
            future = self._background.submit(self._audio.embed, media)
            tasks[future] = _Task(Stage.AUDIO, range(len(media)))
        for extractor, owners in groups:
            stage = Stage(extractor.backbone.modality)
            part = [media[i] for i in owners]
            future = self._pool.submit(self._compute, stage, extractor, part, threads)
            tasks[future] = _Task(stage, owners)
        return Extracting(len(media), tasks, self._meter)

    def _compute(
        self, stage: Stage, extractor: Extractor, media: Sequence[SegmentMedia], threads: int
    ) -> list[SegmentEmbedding]:
        if self._uses_torch:
            import torch

            if torch.get_num_threads() != threads:  # of this thread, as OpenMP keeps it
                torch.set_num_threads(threads)
        with self._meter.beside(stage):
            return extractor.embed(media)

    def close(self) -> None:
        """End the threads and the audio process, dropping tasks that have not begun."""
        self._pool.shutdown(cancel_futures=True)
        self._background.shutdown(cancel_futures=True)
        if self._audio:
            self._audio.close()
        self._limits.restore_original_limits()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


@dataclass(frozen=True)
class _Task:
    """One modality of some of a batch's segments, by their places in it."""

    stage: Stage
    owners: Sequence[int]


class Extracting:
    """A batch that is being embedded."""

    def __init__(
        self, count: int, tasks: Mapping[Future[list[SegmentEmbedding]], _Task], meter: Meter
    ) -> None:
        """Take the tasks of a batch of `count` segments."""
        self._count, self._tasks, self._meter = count, tasks, meter

    def result(self) -> list[SegmentEmbedding]:
        """Wait for the embeddings, in the batch's order.

        Raises:
            WorkerError: The audio process failed.
        """
        began = time.perf_counter()
        for future in as_completed(self._tasks):
            ended = time.perf_counter()
            self._meter.add(self._tasks[future].stage, Spent(held_s=ended - began))
            began = ended
        parts: list[list[SegmentEmbedding]] = [[] for _ in range(self._count)]
        for future, task in self._tasks.items():
            for owner, embedding in zip(task.owners, future.result(), strict=True):
                parts[owner].append(embedding)
        return [_merge(of) for of in parts]


def _has(media: SegmentMedia, modality: Modality) -> bool:
    return media.audio is not None if modality is Modality.AUDIO else modality in media.frames


def _keep_freed_memory() -> None:
    """Make the C library keep the memory that networks free, for their next layer.

    By default glibc returns blocks of some megabytes to the kernel, which clears every page
    again: a quarter of the time of EfficientNet-Lite0 alone.
    """
    with suppress(AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def _merge(parts: Sequence[SegmentEmbedding]) -> SegmentEmbedding:
    rows = {name: found for part in parts for name, found in part.rows.items()}
    strips = [part.vid2img for part in parts if part.vid2img is not None]
    flat = frozenset().union(*(part.flat for part in parts))
    return SegmentEmbedding(rows=rows, vid2img=strips[0] if strips else None, flat=flat)
