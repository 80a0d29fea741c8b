"""The four modalities, and the input of their networks: frames, pixels, audio samples.

A *modality* is a way to describe a video; a *backbone* (`schemas.backbones`) computes the
description.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from .errors import ModelError


class Modality(StrEnum):
    """An aspect by which videos are compared."""

    COLOR = "color"
    FRAME = "frame"
    AUDIO = "audio"
    MOTION = "motion"


SHORT_SIDE = 256
"""Short side in pixels of a sampled frame before the centre crop, unless a backbone states
another (the 256/224 evaluation protocol of both EfficientNet-Lite and I3D)."""


@dataclass(frozen=True)
class FrameSampling:
    """The frames of a segment that a backbone sees, and their size.

    Attributes:
        count: Frames per segment.
        size: Side of the square frame handed over, in pixels.
        fit: ``stretch`` resizes to the square whatever the aspect ratio; ``crop`` takes
            the centre square of the frame after it was resized to `resize`.
        fps: Frames per second around the segment's middle; None spreads them evenly over it.
        resize: Before a crop: the short side in pixels, or the (height, width) to which the
            frame is stretched. Ignored where `fit` is ``stretch``.
    """

    count: int
    size: int
    fit: Literal["stretch", "crop"]
    fps: float | None = None
    resize: int | tuple[int, int] = SHORT_SIDE


RGB = tuple[float, float, float]
"""One number for each of red, green and blue."""


@dataclass(frozen=True)
class PixelScale:
    """Input scaling of an image network: ``(pixel - mean) / std`` of pixels in 0..255."""

    mean: RGB
    std: RGB


SIGNED_UNIT = PixelScale(mean=(127.5,) * 3, std=(127.5,) * 3)
"""Pixels in [-1, 1], as EfficientNet-Lite and I3D were trained with."""

SAMPLE_RATE = 16_000
"""Audio samples per second, mono, on which YAMNet and VGGish were trained."""

SILENCE_RMS = 1e-4
"""Root mean square (full scale 1.0) under which a stretch of audio is silence, -80 dBFS."""


def parse_modalities(text: str | None) -> tuple[Modality, ...]:
    """Read ``color,audio``; None means all four, in their fixed order.

    Raises:
        ModelError: A name is not a modality, or there is none at all.
    """
    if text is None:
        return tuple(Modality)
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    known = [m.value for m in Modality]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        what = f"No modality is called {unknown[0]!r}" if unknown else "No modality was named"
        raise ModelError(f"{what}; choose from {', '.join(known)}, separated by commas.")
    return tuple(m for m in Modality if m.value in names)
