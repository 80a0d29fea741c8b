"""One decoded frame and its pixels: upright, RGB, and of the size that a backbone wants."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
import numpy.typing as npt
from av.buffer import Buffer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from ..schemas.embedding import ByteArray
from ..schemas.modality import SHORT_SIDE, FrameSampling

_WIDEST = 4
"""Wider pictures than 4:1 are squeezed to it, so that no frame takes much memory."""


class Picture:
    """A decoded frame whose pixels are converted when they are first asked for."""

    def __init__(self, frame: VideoFrame, aspect: float, reformatter: VideoReformatter) -> None:
        """Keeps the frame; `aspect` is width over height of one of its pixels."""
        self._frame = frame
        self._aspect = aspect
        self._reformatter = reformatter
        self._fitted: dict[FrameSampling, ByteArray] = {}
        self._rgb: dict[tuple[int, int], ByteArray] = {}

    def fitted(self, sampling: FrameSampling) -> ByteArray:
        """The picture as a backbone wants it, (size, size, 3) uint8 RGB."""
        size = _converted_size(self._frame, self._aspect, sampling)
        if size not in self._rgb:
            self._rgb[size] = _to_rgb(self._frame, self._reformatter, *size)
        if sampling not in self._fitted:
            self._fitted[sampling] = fit(self._rgb[size], sampling)
        return self._fitted[sampling]


def _converted_size(frame: VideoFrame, aspect: float, sampling: FrameSampling) -> tuple[int, int]:
    """Width and height of the picture that a backbone's is made from.

    Its short side is `SHORT_SIDE` for most, so that they share one conversion; larger for a
    larger network.
    """
    if sampling.fit == "stretch":
        return sampling.size, sampling.size
    wanted = sampling.resize if isinstance(sampling.resize, int) else max(sampling.resize)
    short_side = max(SHORT_SIDE, sampling.size, wanted)
    shown = frame.width * aspect, float(frame.height)
    scale = short_side / min(shown)
    width, height = (min(_WIDEST * short_side, max(1, round(side * scale))) for side in shown)
    return width, height


def _to_rgb(frame: VideoFrame, reformatter: VideoReformatter, width: int, height: int) -> ByteArray:
    """The upright picture (h, w, 3) uint8 RGB; width and height are those before it is turned."""
    if width >= frame.width and height >= frame.height:
        # Four times as fast as to convert a picture while it grows.
        rgb = _resize(_converted(frame, reformatter, frame.width, frame.height), height, width)
    else:
        rgb = _converted(frame, reformatter, width, height)
    return _upright(rgb, _display_matrix(frame))


def _converted(
    frame: VideoFrame, reformatter: VideoReformatter, width: int, height: int
) -> ByteArray:
    """(h, w, 3) uint8 RGB; where it shrinks, averages."""
    # Without full chroma, a white picture that shrinks to an even width comes out as 253.
    how = Interpolation.AREA | Interpolation.FULL_CHR_H_INT
    rgb = reformatter.reformat(frame, width, height, "rgb24", interpolation=how, threads=1)
    return np.asarray(rgb.to_ndarray(), np.uint8)


def _display_matrix(frame: VideoFrame) -> npt.NDArray[np.int32] | None:
    data = frame.side_data.get("DISPLAYMATRIX")
    return (
        None if data is None else np.frombuffer(bytes(cast(Buffer, data)), np.int32).reshape(3, 3)
    )


def _upright(rgb: ByteArray, matrix: npt.NDArray[np.int32] | None) -> ByteArray:
    """Turns and mirrors (h, w, 3) as the display matrix says, to the nearest quarter turn.

    The matrix sends (x, y) to (a x + c y, b x + d y).
    """
    if matrix is None:
        return rgb
    (a, b), (c, d) = matrix[0, :2], matrix[1, :2]
    if abs(int(a)) < abs(int(c)):
        rgb, mirrored, upended = rgb.transpose(1, 0, 2), c < 0, b < 0
    else:
        mirrored, upended = a < 0, d < 0
    return np.ascontiguousarray(rgb[:: -1 if upended else 1, :: -1 if mirrored else 1])


def fit(rgb: ByteArray, sampling: FrameSampling) -> ByteArray:
    """Resizes and cuts (h, w, 3) uint8 RGB to (size, size, 3) as `sampling` says."""
    size = sampling.size
    if sampling.fit == "stretch":
        return _resize(rgb, size, size)
    if isinstance(sampling.resize, int):
        # A crop that is larger than the short side still has to be filled.
        scale = max(size, sampling.resize) / min(rgb.shape[:2])
        height, width = (round(side * scale) for side in rgb.shape[:2])
    else:
        height, width = sampling.resize
    rgb = _resize(rgb, height, width)
    # A margin of odd size is split as torchvision, timm and Hara's code split it.
    top, left = round((height - size) / 2), round((width - size) / 2)
    return np.ascontiguousarray(rgb[top : top + size, left : left + size])


def _resize(rgb: ByteArray, height: int, width: int) -> ByteArray:
    if rgb.shape[:2] == (height, width):
        return rgb
    # Averages where the picture shrinks, so that nothing finer than a pixel is left to alias.
    smaller = height * width < rgb.shape[0] * rgb.shape[1]
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=how), np.uint8)
