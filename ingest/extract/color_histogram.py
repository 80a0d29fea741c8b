"""Colour histograms with adaptive bins, denser where a picture's colours are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ...schemas.embedding import ByteArray

Gathered = tuple[Any, Any]
"""Mean colours (n, bins, 3) and pixel counts (n, bins), float32, padded with bins of no pixel;
arrays of numpy or of torch."""

_UPPER = float(1 << 26)
"""Factor that packs two integers into a float64 of 53 bits: 255 x 2**18 stays below it."""


@dataclass(frozen=True)
class ColorHistogram:
    """The filled bins of a picture.

    Attributes:
        levels: Levels per channel.
        bins: (n, 3) int64 level of each bin in each channel.
        sums: (n, 3) float64 sums of the RGB values of its pixels.
        pixels: (n,) float64 their number.
    """

    levels: int
    bins: npt.NDArray[np.int64]
    sums: npt.NDArray[np.float64]
    pixels: npt.NDArray[np.float64]

    @property
    def colors(self) -> npt.NDArray[np.float64]:
        """Return the mean colour of each bin, (n, 3)."""
        return self.sums / self.pixels[:, None]

    def merged(self, levels: int) -> ColorHistogram:
        """Merge the bins to fewer `levels` per channel."""
        coarse = self.bins * levels // self.levels
        keys = np.ravel_multi_index(tuple(coarse.T), (levels,) * 3)
        summed = [np.bincount(keys, values) for values in (*self.sums.T, self.pixels)]
        filled = np.flatnonzero(summed[-1])
        *sums, pixels = (values[filled].astype(np.float64) for values in summed)
        return ColorHistogram(levels, _bins(filled, levels), np.stack(sums, axis=1), pixels)


def color_histogram(picture: ByteArray, levels: int) -> ColorHistogram:
    """Count the pixels of `picture` (h, w, 3) uint8, at most 2**18, in adaptive bins.

    The density of levels is proportional to the cube root of the channel's histogram, which
    minimises the squared error for a number of levels (Panter and Dite, 1951): a picture of
    mostly sky would fall into a handful of evenly spaced bins.
    """
    keys = None
    planes = cv2.split(picture)
    for channel, plane in enumerate(planes):
        counts = cv2.calcHist([plane], [0], None, [256], [0, 256]).ravel()
        mass = np.cbrt(counts.astype(np.float64)).cumsum()
        level = np.clip(np.ceil(mass / mass[-1] * levels) - 1, 0, levels - 1)
        part = cv2.LUT(plane, (level * levels ** (2 - channel)).astype(np.int32))
        keys = part if keys is None else cv2.add(keys, part)
    assert keys is not None
    # Each float64 packs two sums, in its upper and lower 26 bits: counting dominates the time,
    # and so runs twice instead of four times.
    red, green, blue = planes
    values = np.arange(256) * _UPPER
    pairs = cv2.LUT(red, values + 1), cv2.LUT(green, values) + blue
    reds_pixels, greens_blues = (
        np.bincount(keys.ravel(), pair.ravel(), levels**3) for pair in pairs
    )
    filled = np.flatnonzero(reds_pixels > 0)
    reds, pixels = np.divmod(reds_pixels[filled], _UPPER)
    greens, blues = np.divmod(greens_blues[filled], _UPPER)
    return ColorHistogram(levels, _bins(filled, levels), np.stack([reds, greens, blues], 1), pixels)


def padded(histograms: Sequence[ColorHistogram]) -> Gathered:
    """Stack the histograms of n pictures as arrays, padded with empty bins at the end."""
    bins = max(len(h.pixels) for h in histograms)
    points = np.zeros((len(histograms), bins, 3), np.float32)
    weights = np.zeros((len(histograms), bins), np.float32)
    for i, h in enumerate(histograms):
        points[i, : len(h.pixels)] = h.colors
        weights[i, : len(h.pixels)] = h.pixels
    return points, weights


def _bins(keys: npt.NDArray[np.integer], levels: int) -> npt.NDArray[np.int64]:
    """Return the levels (n, 3) per channel of the bins with these keys (n,)."""
    return np.stack(np.unravel_index(keys, (levels,) * 3), axis=1)
