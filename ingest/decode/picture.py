"""Convert a decoded frame to upright RGB pixels of the size that a backbone takes."""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from ...schemas.embedding import ByteArray
from ...schemas.modality import SHORT_SIDE, FrameSampling
from .display_matrix import display_matrix, upright
from .rgb import resize, to_rgb

_WIDEST = 4
"""Largest aspect ratio, 4:1; longer frames are squeezed to it, which bounds their memory."""


class Picture:
    """A decoded frame whose pixels are converted lazily, on first use."""

    def __init__(self, frame: VideoFrame, aspect: float, reformatter: VideoReformatter) -> None:
        """Wrap a frame; `aspect` is the width over the height of one of its pixels."""
        self._frame = frame
        self._aspect = aspect
        self._reformatter = reformatter
        self._fitted: dict[FrameSampling, ByteArray] = {}
        self._rgb: dict[tuple[int, int], ByteArray] = {}

    def fitted(self, sampling: FrameSampling) -> ByteArray:
        """Return the frame as `sampling` describes, (size, size, 3) uint8 RGB."""
        size = _converted_size(self._frame, self._aspect, sampling)
        if size not in self._rgb:
            rgb = to_rgb(self._frame, self._reformatter, *size)
            self._rgb[size] = upright(rgb, display_matrix(self._frame))
        if sampling not in self._fitted:
            self._fitted[sampling] = fit(self._rgb[size], sampling)
        return self._fitted[sampling]

    def upright(self, size: int) -> ByteArray:
        """Return the whole frame as a person sees it, (h, w, 3) uint8 RGB; `size` is the longer."""
        shown = self._frame.width * self._aspect, float(self._frame.height)
        scale = size / max(shown)
        width, height = (max(1, round(side * scale)) for side in shown)
        rgb = to_rgb(self._frame, self._reformatter, width, height)
        return upright(rgb, display_matrix(self._frame))


def _converted_size(frame: VideoFrame, aspect: float, sampling: FrameSampling) -> tuple[int, int]:
    """Return the width and height of the conversion from which a backbone's frame is made.

    The short side is `SHORT_SIDE` for most backbones, which then share one conversion, and larger
    for those with larger input.
    """
    if sampling.fit == "stretch":
        return sampling.size, sampling.size
    wanted = sampling.resize if isinstance(sampling.resize, int) else max(sampling.resize)
    short_side = max(SHORT_SIDE, sampling.size, wanted)
    shown = frame.width * aspect, float(frame.height)
    scale = short_side / min(shown)
    width, height = (min(_WIDEST * short_side, max(1, round(side * scale))) for side in shown)
    return width, height


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
