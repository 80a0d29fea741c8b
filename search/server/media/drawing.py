"""Pictures of a file put together from its frames or its sound: storyboards, previews, strips."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....ingest.decode.container import UnreachableError
from ....ingest.decode.description import Description
from ....ingest.decode.events import Failed, SegmentMedia
from ....ingest.decode.pictures import png
from ....ingest.decode.pool import decode_all
from ....ingest.decode.segments import DecodeRequest
from ....ingest.discover.stills import still_format
from ....ingest.extract.color import ColorExtractor
from ....schemas.backbones import BACKBONES
from ....schemas.embedding import ByteArray, FloatArray
from ....schemas.errors import MediaError
from ....schemas.modality import FrameSampling
from ...explain import joined_strip
from ...pages.spectrogram import spectrogram

TILE = 160
"""Pixels of the longer side of a frame of a storyboard or preview."""

COLUMNS = ROWS = 5
PREVIEW_FRAMES = 12
_PREVIEW_MS = 300
_WEBP_QUALITY = 60

_ROUGHLY_S = 4.0
"""Where frames lie this far apart, the key frame before each moment will do: to decode up to the
moment itself may take hundreds of frames."""


@dataclass(frozen=True)
class Storyboard:
    """Frames from all over a file.

    Attributes:
        width: Pixels of each, upright.
        height: The same.
        times_s: When each is on the screen, about; seconds from the file's start.
        roughly: Whether the key frames before do.
    """

    width: int
    height: int
    times_s: tuple[float, ...]
    roughly: bool


def plan_storyboard(of: Description, count: int = COLUMNS * ROWS) -> Storyboard | None:
    """Say which frames a storyboard has: at the middles of equal parts; None for no video."""
    if of.kind != "video" or not of.width or not of.height:
        return None
    scale = TILE / max(of.width, of.height)
    width, height = (max(1, round(side * scale)) for side in (of.width, of.height))
    every_s = (of.duration_s or 0.0) / count
    times_s = tuple(round((number + 0.5) * every_s, 3) for number in range(count))
    return Storyboard(width, height, times_s, every_s >= _ROUGHLY_S)


def tiled(plan: Storyboard, frames: Sequence[ByteArray | None]) -> ByteArray:
    """Return frames as rows of `COLUMNS`, (h, w, 3) uint8 RGB; black where one is missing."""
    found = np.stack(_of_one_size(plan, frames))
    lines = found.reshape(-1, COLUMNS, plan.height, plan.width, 3)
    return np.ascontiguousarray(np.concatenate([np.concatenate([*line], 1) for line in lines]))


def animated(plan: Storyboard, frames: Sequence[ByteArray | None]) -> bytes:
    """Return frames as an animated WebP that repeats; those that are missing are left out."""
    from PIL import Image

    found = _of_one_size(plan, [frame for frame in frames if frame is not None])
    first, *others = [Image.fromarray(frame) for frame in found]
    target = io.BytesIO()
    first.save(
        target,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=_PREVIEW_MS,
        loop=0,
        quality=_WEBP_QUALITY,
        method=2,
    )
    return target.getvalue()


def _of_one_size(plan: Storyboard, frames: Sequence[ByteArray | None]) -> list[ByteArray]:
    import cv2

    black = np.zeros((plan.height, plan.width, 3), np.uint8)
    size = plan.width, plan.height
    return [
        black
        if frame is None
        else np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
        for frame in frames
    ]


def spectrogram_of(sound: FloatArray) -> bytes:
    """Return the spectrogram of (n,) sound at 16 kHz as PNG."""
    return png(spectrogram(sound))


def strip_of(path: str) -> ByteArray:
    """Return the `joined_strip` of a file that is not stored.

    Raises:
        MediaError: It does not decode, or has no picture.
        WorkerError: No child process can be started.
    """
    backbone = BACKBONES["labhist"]
    assert backbone.frames is not None
    try:
        still = still_format(Path(path))
    except OSError as error:
        raise UnreachableError(f"it cannot be read ({error.strerror})") from error
    frames: dict[str, FrameSampling] = {backbone.modality: backbone.frames}
    request = DecodeRequest(path, frames, audio=False, still=still)
    extractor = ColorExtractor(backbone, "cpu")
    parts = []
    with closing(decode_all([(0, request)], 1)) as events:
        for _, event in events:
            if isinstance(event, Failed):
                raise MediaError(event.reason)
            if isinstance(event, SegmentMedia) and event.frames:
                parts += extractor.embed([event])
    strip = joined_strip(parts)
    if strip is None:
        raise MediaError("it has no picture")
    return strip
