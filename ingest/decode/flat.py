"""Frames that show nothing: black, white or any one colour, as before a film or in a fade."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from ...schemas.embedding import ByteArray

BAR = 24
"""Grey level up to which an edge that stays dark throughout is a letterbox's (video black is
16, and codecs stray from it). A choice, as the next one is; neither was measured."""

MOST_BAR = 0.35
"""Part of a side that a bar may take on one edge; more is a dark scene."""

_CELLS = 28
"""Frames are averaged over so many cells a side, 8x8 pixels of 224: grain of a standard deviation
of 5 levels is left with under one, and what is eight pixels wide is still seen. Pixels that are
over at the right and below are left out, since cells of whole pixels are averaged 3.5 times
faster."""

_RANGE = 8
"""Grey levels between the darkest and the brightest cell, in the channel where they differ most,
under which a frame is flat. Twice the range that grain of a deviation of 5 levels leaves. Real
frames reach 19 in drone_visible (clear skies), 35 in capstone70, 70 in neardup_semi, 117 in
ucf101_mini, and 14 in av_segments, where two of 480 frames are black and reach 1."""

_UNEQUAL = 0.02
"""Part of a side by which two bars of a letterbox may differ: codecs blur where they end."""

_BLUR = 0.01
"""Part of a side beyond each bar that is left out too, being a blend of bar and picture."""


def flat_frames(frames: ByteArray) -> npt.NDArray[np.bool_]:
    """Which frames (n, h, w, 3) show nothing, (n,).

    What counts is the range and not the spread, so that a bird in a clear sky is something.
    The bars of a letterbox are not looked at.
    """
    return np.array([_is_flat(frame) for frame in frames], np.bool_)


def all_flat(frames: ByteArray) -> bool:
    """Whether all frames (n, h, w, 3) show nothing; ends with the first that shows something."""
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
    """What lies between dark bars at top and bottom, or left and right; else the frame.

    Bars on all four sides may as well be a bright thing on black, which is no flat frame.
    """
    edges = frame[0], frame[-1], frame[:, 0], frame[:, -1]
    if all(edge.max() > BAR for edge in edges):
        return frame  # most frames, and soon told
    top, bottom = _edges(cv2.reduce(frame, 1, cv2.REDUCE_MAX).max(axis=(1, 2)) > BAR)
    left, right = _edges(cv2.reduce(frame, 0, cv2.REDUCE_MAX).max(axis=(0, 2)) > BAR)
    height, width = frame.shape[:2]
    if (left, right) == (0, width):
        return frame[top:bottom]
    if (top, bottom) == (0, height):
        return frame[:, left:right]
    return frame


def _edges(bright: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """First and end index between two bars of the same width, or of all."""
    size = len(bright)
    lit = np.flatnonzero(bright)
    if not len(lit):
        return 0, size
    before, after = int(lit[0]), size - 1 - int(lit[-1])
    if not 0 < max(before, after) <= MOST_BAR * size or abs(before - after) > _UNEQUAL * size:
        return 0, size
    margin = round(_BLUR * size)
    return before + margin, size - after - margin
