"""The colours of a picture, gathered into bins that lie densely where its colours do."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ...schemas.embedding import ByteArray

Gathered = tuple[torch.Tensor, torch.Tensor]
"""Mean colours (n, bins, 3) and pixel counts (n, bins), float32, padded with bins of no pixel."""

_UPPER = float(1 << 26)
"""Places the upper of two whole numbers in a float64 of 53 bits: 255 x 2**18 stays below it."""


@dataclass(frozen=True)
class ColorHistogram:
    """The filled bins of a picture.

    Attributes:
        levels: Levels a channel.
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
        """(n, 3) mean colour of each bin."""
        return self.sums / self.pixels[:, None]

    def merged(self, levels: int) -> ColorHistogram:
        """The same with fewer `levels` a channel."""
        coarse = self.bins * levels // self.levels
        keys = np.ravel_multi_index(tuple(coarse.T), (levels,) * 3)
        summed = [np.bincount(keys, values) for values in (*self.sums.T, self.pixels)]
        filled = np.flatnonzero(summed[-1])
        *sums, pixels = (values[filled].astype(np.float64) for values in summed)
        return ColorHistogram(levels, _bins(filled, levels), np.stack(sums, axis=1), pixels)


def color_histogram(picture: ByteArray, levels: int) -> ColorHistogram:
    """Gathers the pixels of `picture` (h, w, 3) uint8, 2**18 of them at most.

    Levels lie as densely as the cube root of the channel's histogram, which loses the least
    squared error for a number of levels (Panter and Dite, 1951): a picture of mostly sky
    would fall into a handful of evenly spaced bins.
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
    # Two sums in every float64, one in its upper 26 bits and one in its lower: counting is
    # what takes longest, and is done twice, not four times.
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


def color_histograms(
    pictures: torch.Tensor, levels: int, coarse_levels: int
) -> tuple[Gathered, Gathered]:
    """`color_histogram` of many pictures at once, and the same merged to `coarse_levels`.

    For a GPU: on a CPU it takes three times as long as one after another. The counts and sums are
    whole numbers, which come out the same in whatever order they are added.

    Args:
        pictures: (n, h, w, 3) uint8.
        levels: Levels a channel.
        coarse_levels: Levels a channel of the second result.

    Returns:
        Both, on the device of `pictures`.
    """
    n, device = len(pictures), pictures.device
    pixels = pictures.reshape(n, -1, 3)
    slots = pixels + 256 * torch.arange(3 * n, device=device).view(n, 1, 3)
    counts = torch.bincount(slots.flatten(), minlength=3 * 256 * n).view(n, 3, 256)
    mass = counts.double().pow(1 / 3).cumsum(2)
    level = torch.ceil(mass / mass[..., -1:] * levels).long().sub_(1).clamp_(0, levels - 1)
    bins = torch.take(level, slots)
    coarse = _gather_all(bins * coarse_levels // levels, pixels, coarse_levels)
    return _gather_all(bins, pixels, levels), coarse


def _gather_all(bins: torch.Tensor, pixels: torch.Tensor, levels: int) -> Gathered:
    """Sums pixels (n, m, 3) by their bins (n, m, 3), int64."""
    n, size = len(bins), levels**3
    base = torch.tensor([levels**2, levels, 1], device=bins.device)
    keys = (bins * base).sum(2) + size * torch.arange(n, device=bins.device)[:, None]
    counts = torch.bincount(keys.flatten(), minlength=n * size).view(n, size)
    sums = counts.new_zeros(n * size, 3)
    sums.index_add_(0, keys.flatten(), pixels.reshape(-1, 3).long())
    # The filled bins first, in their order, and only as many as the fullest picture has.
    filled = int((counts > 0).sum(1).max())
    order = torch.argsort((counts == 0).byte(), dim=1, stable=True)[:, :filled]
    counts = counts.gather(1, order)
    sums = sums.view(n, size, 3).gather(1, order[..., None].expand(-1, -1, 3))
    return (sums.double() / counts.clamp_min(1)[..., None]).float(), counts.float()


def _bins(keys: npt.NDArray[np.integer], levels: int) -> npt.NDArray[np.int64]:
    """Levels (n, 3) in each channel of the bins with these keys (n,)."""
    return np.stack(np.unravel_index(keys, (levels,) * 3), axis=1)
