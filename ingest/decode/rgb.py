"""Convert a decoded frame to pixels for an ordinary screen: BT.709 RGB, 8 bits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from av.video.format import VideoFormat
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace, Interpolation, VideoReformatter

from ...schemas.embedding import ByteArray
from .colorimetry import Primaries, Transfer, to_sdr
from .deinterlace import deinterlace

# Code points of ITU-T H.273, which FFmpeg's AVColor... and thus PyAV use.
_TRANSFERS = {16: Transfer.PQ, 18: Transfer.HLG}
_PRIMARIES = {9: Primaries.BT2020, 11: Primaries.P3, 12: Primaries.P3}
_UNSPECIFIED = (0, 2, 3)  # 2 is; the others are reserved
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    # With constant luminance, which libswscale refuses: nearly the same for pale colours.
    10: Colorspace.BT2020,
}

Pixels = npt.NDArray[Any]  # uint8 or uint16

_HD_WIDTH, _HD_HEIGHT = 1280, 577
"""Width or height from which a frame that states no matrix counts as BT.709, as in mpv and
libplacebo (`pl_color_system_guess_ycbcr`); libswscale alone would assume BT.601."""


@dataclass(frozen=True)
class Coding:
    """How a frame encodes colours.

    Attributes:
        matrix: Conversion from luma and chroma to RGB.
        transfer: Conversion from RGB to light.
        primaries: Chromaticities of its red, green and blue.
        alpha: Whether it has an alpha channel.
        interlaced: Whether its even and odd rows are two moments.
    """

    matrix: Colorspace
    transfer: Transfer
    primaries: Primaries
    alpha: bool
    interlaced: bool

    @property
    def wide(self) -> bool:
        """Return whether its transfer or primaries differ from those of an ordinary screen."""
        return self.transfer is not Transfer.SDR or self.primaries is not Primaries.BT709


def coding(frame: VideoFrame) -> Coding:
    """Return what a frame's metadata states, with the usual defaults for what it does not."""
    transfer = _TRANSFERS.get(frame.color_trc, Transfer.SDR)
    primaries = _PRIMARIES.get(frame.color_primaries, Primaries.BT709)
    if transfer is not Transfer.SDR and frame.color_primaries in _UNSPECIFIED:
        primaries = Primaries.BT2020  # the only primaries of BT.2100
    matrix = _MATRICES.get(frame.colorspace)
    if matrix is None:
        if primaries is Primaries.BT2020:
            matrix = Colorspace.BT2020
        elif frame.width >= _HD_WIDTH or frame.height >= _HD_HEIGHT:
            matrix = Colorspace.ITU709
        else:
            matrix = Colorspace.ITU601
    return Coding(
        matrix, transfer, primaries, _has_alpha(frame.format.name), frame.interlaced_frame
    )


@lru_cache
def _has_alpha(pixel_format: str) -> bool:
    format_ = VideoFormat(pixel_format)
    return format_.has_palette or any(part.is_alpha for part in format_.components)


def to_rgb(frame: VideoFrame, reformatter: VideoReformatter, width: int, height: int) -> ByteArray:
    """Convert a frame to (height, width, 3) uint8 BT.709 RGB, over black where transparent."""
    found = coding(frame)
    whole = frame.width, frame.height
    # To enlarge after converting is four times as fast as to do both at once.
    grows = width >= frame.width and height >= frame.height
    size = whole if grows else (width, height)
    alpha = found.alpha and not _opaque(frame, reformatter, found, size)
    if not (alpha or found.interlaced or found.wide):
        return resize(_converted(frame, reformatter, found, "rgb24", size), height, width)
    # Fields and transparent pixels can be separated only before the frame shrinks.
    size = whole if alpha or found.interlaced else size
    pixels = _converted(frame, reformatter, found, _FORMATS[found.wide, alpha], size)
    if alpha:
        pixels = _over_black(pixels)
    if found.interlaced:
        pixels = deinterlace(pixels)
    pixels = resize(pixels, height, width)
    return to_sdr(pixels, found.transfer, found.primaries) if found.wide else pixels


# Not rgb48: without resizing and with full chroma, libswscale gets its colours wrong.
_FORMATS = {
    (False, False): "rgb24",
    (False, True): "rgba",
    (True, False): "gbrp16le",
    (True, True): "gbrap16le",
}
"""Pixel format by (16 bits, alpha channel)."""


def _opaque(
    frame: VideoFrame, reformatter: VideoReformatter, found: Coding, size: tuple[int, int]
) -> bool:
    pixels = _converted(frame, reformatter, found, "rgba", size)
    return bool(pixels[..., 3].min() == np.iinfo(np.uint8).max)


def _over_black(pixels: Pixels) -> Pixels:
    """Blend (h, w, 4) with straight alpha over black; return (h, w, 3)."""
    top = np.iinfo(pixels.dtype).max
    colours = np.ascontiguousarray(pixels[..., :3])
    # Integers, not floats: the frame has its full size here.
    return np.asarray(cv2.multiply(colours, cv2.merge([pixels[..., 3]] * 3), scale=1 / top))


def _converted(
    frame: VideoFrame,
    reformatter: VideoReformatter,
    found: Coding,
    pixel_format: str,
    size: tuple[int, int],
) -> Pixels:
    """Convert a frame to (h, w, 3 or 4) of 8 or 16 bits, averaging pixels if it shrinks."""
    # Without full chroma, a white frame that shrinks to an even width comes out as 253.
    how = Interpolation.AREA | Interpolation.FULL_CHR_H_INT
    pixels = reformatter.reformat(
        frame,
        *size,
        pixel_format,
        src_colorspace=found.matrix,
        dst_colorspace=found.matrix,
        interpolation=how,
        threads=1,
    )
    return np.asarray(pixels.to_ndarray())


def resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Resize (h, w, 3) of 8 or 16 bits."""
    if pixels.shape[:2] == (height, width):
        return pixels
    # Average when shrinking, so that detail finer than a pixel does not alias.
    smaller = height * width < pixels.shape[0] * pixels.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how))
