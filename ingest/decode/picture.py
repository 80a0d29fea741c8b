"""Convert a decoded frame to upright RGB pixels of the size that a backbone takes."""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from ...schemas.embedding import ByteArray
from ...schemas.errors import MediaError
from ...schemas.modality import SHORT_SIDE, FrameSampling
from ...schemas.part import Region, is_fraction
from .display_matrix import display_matrix, lies, upright
from .rgb import resize, to_rgb

_WIDEST = 4
"""Largest aspect ratio, 4:1; longer frames are squeezed to it, which bounds their memory."""


class Picture:
    """A decoded frame whose pixels are converted lazily, on first use."""

    def __init__(
        self,
        frame: VideoFrame,
        aspect: float,
        reformatter: VideoReformatter,
        region: Region | None = None,
    ) -> None:
        """Wrap a frame.

        Args:
            frame: The frame.
            aspect: Width over height of one of its pixels.
            reformatter: Converts it.
            region: The part of it that counts, once it is upright; None for all of it.
        """
        self._frame = frame
        self._shown = frame.width * aspect, float(frame.height)
        self._reformatter = reformatter
        self._region = region
        self._fitted: dict[FrameSampling, ByteArray] = {}
        self._rgb: dict[tuple[int, int], ByteArray] = {}

    def fitted(self, sampling: FrameSampling) -> ByteArray:
        """Return the frame as `sampling` describes, (size, size, 3) uint8 RGB.

        Raises:
            MediaError: The region lies outside of the frame.
        """
        if sampling not in self._fitted:
            if self._region is None:
                rgb = self._upright(*_converted_size(*self._shown, sampling))
            else:  # in full detail, as a small region is enlarged
                width, height = (max(1, round(side)) for side in self._shown)
                rgb = crop(self._upright(width, height), self._region)
                width, height = _converted_size(rgb.shape[1], rgb.shape[0], sampling)
                rgb = resize(rgb, height, width)
            self._fitted[sampling] = fit(rgb, sampling)
        return self._fitted[sampling]

    def _upright(self, width: int, height: int) -> ByteArray:
        size = width, height
        if size not in self._rgb:
            rgb = to_rgb(self._frame, self._reformatter, *size)
            self._rgb[size] = upright(rgb, display_matrix(self._frame))
        return self._rgb[size]

    def upright_size(self) -> tuple[float, float]:
        """Return the width and height of the whole frame as a person sees it, in square pixels."""
        width, height = self._shown
        return (height, width) if lies(display_matrix(self._frame)) else (width, height)

    def upright(self, size: int) -> ByteArray:
        """Return the whole frame as a person sees it, (h, w, 3) uint8 RGB; `size` is the longer."""
        scale = size / max(self._shown)
        return self._upright(*(max(1, round(side * scale)) for side in self._shown))


def crop(rgb: ByteArray, region: Region) -> ByteArray:
    """Return a region of (h, w, 3) as it lies within it, rounded to whole pixels.

    Raises:
        MediaError: It lies outside, or covers no pixel.
    """
    height, width = rgb.shape[:2]
    across, down = (width, height) if is_fraction(region) else (1, 1)
    left, top = round(region[0] * across), round(region[1] * down)
    right = min(width, round((region[0] + region[2]) * across))
    bottom = min(height, round((region[1] + region[3]) * down))
    if left >= right or top >= bottom:
        said = ",".join(f"{number:g}" for number in region)
        raise MediaError(f"the region {said} covers nothing of its {width}x{height} pixels")
    return rgb[top:bottom, left:right]


def _converted_size(width: float, height: float, sampling: FrameSampling) -> tuple[int, int]:
    """Return the width and height of the conversion from which a backbone's frame is made.

    Args:
        width: Of what is shown, in square pixels.
        height: The same.
        sampling: What the backbone takes.

    The short side is `SHORT_SIDE` for most backbones, which then share one conversion, and larger
    for those with larger input.
    """
    if sampling.fit == "stretch":
        return sampling.size, sampling.size
    wanted = sampling.resize if isinstance(sampling.resize, int) else max(sampling.resize)
    short_side = max(SHORT_SIDE, sampling.size, wanted)
    scale = short_side / min(width, height)
    across, down = (
        min(_WIDEST * short_side, max(1, round(side * scale))) for side in (width, height)
    )
    return across, down


def fit(rgb: ByteArray, sampling: FrameSampling) -> ByteArray:
    """Resize and crop (h, w, 3) uint8 RGB to (size, size, 3) as `sampling` describes."""
    size = sampling.size
    if sampling.fit == "stretch":
        return resize(rgb, size, size)
    if isinstance(sampling.resize, int):
        # A crop larger than the short side must be filled too.
        scale = max(size, sampling.resize) / min(rgb.shape[:2])
        height, width = (round(side * scale) for side in rgb.shape[:2])
    else:
        height, width = sampling.resize
    rgb = resize(rgb, height, width)
    # Odd margins are split as by torchvision, timm and Hara's code.
    top, left = round((height - size) / 2), round((width - size) / 2)
    return np.ascontiguousarray(rgb[top : top + size, left : left + size])
