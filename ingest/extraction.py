"""All extractors together: decoded segments in, their embeddings out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Protocol, Self

from ..schemas.embedding import SegmentEmbedding
from ..schemas.modality import Backbone, Modality
from .decode import SegmentMedia
from .stages import Meter, Stage


class Extractor(Protocol):
    """What every modality's extractor offers; one contract test runs over all of them."""

    backbone: Backbone

    def embed(self, media: Sequence[SegmentMedia]) -> list[SegmentEmbedding]:
        """One embedding a segment, in order."""
        ...


class Extraction:
    """The extractors of the asked modalities, loaded once and used for many segments."""

    def __init__(
        self,
        backbones: Mapping[Modality, Backbone],
        device: str = "auto",
        threads: int | None = None,
        meter: Meter | None = None,
    ) -> None:
        """Loads networks; the audio process loads in the background meanwhile.

        Args:
            backbones: One backbone for each modality wanted.
            device: ``auto``, ``cpu`` or ``cuda``.
            threads: Threads a process computes with; None for as many as there are cores.
            meter: Told what the modalities take.

        Raises:
            WeightsError: Weights are missing and cannot be fetched.
            ModelError: ``cuda`` was asked for and there is none.
        """
        # Idle OpenMP threads otherwise spin on cores that decoders and TensorFlow need:
        # contended inference was measured five times slower without it.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        import torch

        from .extractors.pixels import choose_device

        threads = threads or len(os.sched_getaffinity(0))
        torch.set_num_threads(threads)
        torch_device = choose_device(device)
        self.device = torch_device.type
        self._meter = meter or Meter()
        self._extractors: list[Extractor] = []
        self._background = ThreadPoolExecutor(1, "vidsim-audio")
        self._audio = None
        if Modality.AUDIO in backbones:
            from .extractors.audio import AudioExtractor

            self._audio = AudioExtractor(
                backbones[Modality.AUDIO], torch_device.type, threads, self._meter
            )
        try:
            if Modality.COLOR in backbones:
                from .extractors.color import ColorExtractor

                self._extractors.append(ColorExtractor(backbones[Modality.COLOR], torch_device))
            if Modality.FRAME in backbones:
                from .extractors.frame import FrameExtractor

                self._extractors.append(FrameExtractor(backbones[Modality.FRAME], torch_device))
            if Modality.MOTION in backbones:
                from .extractors.motion import MotionExtractor

                self._extractors.append(MotionExtractor(backbones[Modality.MOTION], torch_device))
        except BaseException:
            self.close()
            raise

    def embed(self, media: Sequence[SegmentMedia]) -> list[SegmentEmbedding]:
        """Embeddings of `media`, in order, each with the rows of every modality it has."""
        audio = self._background.submit(self._audio.embed, media) if self._audio else None
        results: list[list[SegmentEmbedding]] = []
        for extractor in self._extractors:
            seen = [i for i, m in enumerate(media) if extractor.backbone.modality in m.frames]
            with self._meter.working(Stage(extractor.backbone.modality)):
                embedded = extractor.embed([media[i] for i in seen]) if seen else []
            column = [SegmentEmbedding({})] * len(media)
            for i, embedding in zip(seen, embedded):
                column[i] = embedding
            results.append(column)
        if audio:
            with self._meter.waiting(Stage.AUDIO):
                results.append(audio.result())
        return [_merge(parts) for parts in zip(*results)]

    def close(self) -> None:
        """Ends the audio process."""
        self._background.shutdown()
        if self._audio:
            self._audio.close()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes."""
        self.close()


def _merge(parts: Sequence[SegmentEmbedding]) -> SegmentEmbedding:
    rows = {name: found for part in parts for name, found in part.rows.items()}
    strips = [part.vid2img for part in parts if part.vid2img is not None]
    return SegmentEmbedding(rows=rows, vid2img=strips[0] if strips else None)
