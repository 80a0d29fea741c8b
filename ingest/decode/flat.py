"""Detect flat frames: black, white or any single colour, as before a film or in a fade."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ...schemas.embedding import ByteArray

BAR = 24
"""Grey level up to which an edge that is dark throughout belongs to a letterbox (video black is
16, and codecs stray from it). Chosen, not measured, as is the next one."""

MOST_BAR = 0.35
"""Fraction of a side that a bar may take at one edge; more is a dark scene."""

_CELLS = 28
"""Cells per side over which a frame is averaged, 8x8 pixels each at 224. This reduces grain with a
standard deviation of 5 levels to under one, and keeps what is eight pixels wide. Leftover pixels
at the right and the bottom are cropped, as cells of whole pixels are averaged 3.5 times faster."""

_RANGE = 8
"""Range in levels from the darkest to the brightest cell, in the channel where it is largest,
below which a frame is flat. Twice the range that grain with a deviation of 5 levels leaves. The
least of real frames is 19 in drone_visible (clear skies), 35 in capstone70, 70 in neardup_semi,
117 in ucf101_mini, and 14 in av_segments, where two of 480 frames are black and have 1."""

_UNEQUAL = 0.02
"""Fraction of a side by which two bars of a letterbox may differ: codecs blur their edges."""

_BLUR = 0.01
"""Fraction of a side cropped beyond each bar, being a blend of bar and picture."""


def flat_frames(frames: ByteArray) -> npt.NDArray[np.bool_]:
    """Return which frames (n, h, w, 3) are flat, (n,) bool.

    The range decides, not the variance, so that a bird in a clear sky counts as content. The bars
    of a letterbox are ignored.
    """
    return np.array([_is_flat(frame) for frame in frames], np.bool_)


def all_flat(frames: ByteArray) -> bool:
    """Return whether all frames (n, h, w, 3) are flat; stop at the first that is not."""
    return all(_is_flat(frame) for frame in frames)


def _is_flat(frame: ByteArray) -> bool:
    if _range(frame) < _RANGE:
        return True
    inside = _without_bars(frame)
    return inside.shape != frame.shape and _range(inside) < _RANGE


def _range(frame: ByteArray) -> int:
    height, width = (size // _CELLS * _CELLS or size for size in frame.shape[:2])
    cells = cv2.resize(frame[:height, :width], (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    of_cell = cells.reshape(-1, 1, 3)
    darkest, brightest = (cv2.reduce(of_cell, 0, kind) for kind in (cv2.REDUCE_MIN, cv2.REDUCE_MAX))
    return int(cv2.subtract(brightest, darkest).max())


def _without_bars(frame: ByteArray) -> ByteArray:
    """Crop dark bars at top and bottom, or left and right; else return the frame itself.

    Bars on all four sides are kept: they may be a bright object on black, which is not flat.
    """
    edges = frame[0], frame[-1], frame[:, 0], frame[:, -1]
    if all(edge.max() > BAR for edge in edges):
        return frame  # most frames, and a cheap check
    top, bottom = _edges(cv2.reduce(frame, 1, cv2.REDUCE_MAX).max(axis=(1, 2)) > BAR)
    left, right = _edges(cv2.reduce(frame, 0, cv2.REDUCE_MAX).max(axis=(0, 2)) > BAR)
    height, width = frame.shape[:2]
    if (left, right) == (0, width):
        return frame[top:bottom]
    if (top, bottom) == (0, height):
        return frame[:, left:right]
    return frame


def _edges(bright: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Return the first and end index between two bars of equal width, or of the whole side."""
    size = len(bright)
    lit = np.flatnonzero(bright)
    if not len(lit):
        return 0, size
    before, after = int(lit[0]), size - 1 - int(lit[-1])
    if not 0 < max(before, after) <= MOST_BAR * size or abs(before - after) > _UNEQUAL * size:
        return 0, size
    margin = round(_BLUR * size)
    return before + margin, size - after - margin
