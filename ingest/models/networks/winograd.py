"""Convolutions of 3x3x3 with fewer multiplications, for CPUs.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016): along each axis, the m
outputs of a tile of a convolution with r taps g see the m + r - 1 inputs d, and are

    A' [(G g) * (B' d)],

where the brackets hold a product for each of m + r - 1 points: of numbers for one channel, of
matrices for many. Along three axes the transforms are Kronecker products, and tiles of 4x4x4
outputs need 216 products in the place of 64 * 27. The matrices are those by which Toom and Cook
multiply polynomials, evaluated at `POINTS` and at infinity.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from .pooling import Size3d

Matrix = npt.NDArray[np.floating]

POINTS = (0.0, 1.0, -1.0, 0.5, -2.0, 2.0, -0.5, 0.25, -4.0)
"""Where polynomials are evaluated; a short tile takes the first ones. Small numbers, their inverses
and opposites round least (Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd
Convolution for Deep Neural Networks" (2018))."""

ONES = 1
"""Index of the point 1: its powers are 1, so that what is added there is added to every output."""

_TILES = 98
"""About so many tiles are computed at a time. Fewer make products of small matrices, which are
slow; with more, transformed inputs and outputs leave the cache."""


def transforms(outputs: int, taps: int) -> tuple[Matrix, Matrix, Matrix]:
    """Return A' (outputs, points), G (points, taps) and B' (points, points) along an axis."""
    n = outputs + taps - 1
    points = np.array(POINTS[: n - 1])
    assert len(points) == n - 1
    from_points, of_taps, to_points = np.zeros((outputs, n)), np.zeros((n, taps)), np.zeros((n, n))
    from_points[:, :-1] = points ** np.arange(outputs)[:, None]
    for i, point in enumerate(points):
        others = np.delete(points, i)
        of_taps[i] = point ** np.arange(taps) / np.prod(point - others)
        to_points[i, :-1] = np.poly(others)[::-1]
    # At infinity a polynomial has the value of its highest coefficient.
    from_points[-1, -1] = of_taps[-1, -1] = 1
    to_points[-1] = np.poly(points)[::-1]
    return from_points, of_taps, to_points


def to_float32(matrix: Matrix) -> Tensor:
    """Return a tensor of float32."""
    return torch.from_numpy(np.ascontiguousarray(matrix, np.float32))


class WinogradConv(nn.Module):
    """A convolution of 3x3x3 at stride 1 with SAME padding and a bias, then ReLU; for inference.

    Attributes:
        outputs: Channels of its output.
    """

    def __init__(self, weight: Tensor, bias: Tensor, tile: Size3d) -> None:
        """Transform the weights.

        Args:
            weight: (outputs, inputs, 3, 3, 3) float32.
            bias: (outputs,) float32.
            tile: Outputs of a tile along time, height and width.
        """
        super().__init__()
        self.outputs, inputs = weight.shape[:2]
        self._tile = tile
        self._points = cast(Size3d, tuple(size + 2 for size in tile))
        time, height, width = (transforms(size, 3) for size in tile)
        from_points, of_taps, to_points = (
            np.kron(*axes) for axes in zip(height, width, strict=True)
        )
        # In float32: float64 needs three times as long, a quarter of a second of a start.
        taps = weight.flatten(2).permute(2, 1, 0).reshape(27, -1)
        points = to_float32(np.kron(time[1], of_taps)) @ taps
        self._weight = points.view(-1, inputs, self.outputs)
        self._bias = bias
        self._time_to_points, self._to_points = to_float32(time[2]), to_float32(to_points)
        self._time_from_points, self._from_points = to_float32(time[0]), to_float32(from_points)

    def forward(self, x: Tensor, out: Tensor) -> None:
        """Convolve.

        Args:
            x: (T, H, W, inputs), of any strides.
            out: (T, H, W, outputs), of any strides; written.
        """
        time, height, width = x.shape[:3]
        counts = [-(-size // m) for size, m in zip(x.shape[:3], self._tile, strict=True)]
        whole = [count * m for count, m in zip(counts, self._tile, strict=True)]
        padded = x.new_zeros(*(size + 2 for size in whole), x.shape[3])
        padded[1 : time + 1, 1 : height + 1, 1 : width + 1] = x
        fits = list(out.shape[:3]) == whole
        found = out if fits else out.new_empty(*whole, self.outputs)
        times = max(1, _TILES // (counts[1] * counts[2]))
        rows = max(1, round(_TILES / counts[2]))
        mt, mh, _ = self._tile
        for first in range(0, counts[0], times):
            last = min(first + times, counts[0])
            frames = self._along_time(padded, range(first, last))
            for top in range(0, counts[1], rows):
                bottom = min(top + rows, counts[1])
                self._tiles(
                    frames[:, :, top * mh : bottom * mh + 2],
                    found[first * mt : last * mt, top * mh : bottom * mh],
                )
        if not fits:
            out.copy_(found[:time, :height, :width])

    def _along_time(self, padded: Tensor, which: range) -> Tensor:
        """Transform some tiles' frames along time, to (points, tiles, H, W, inputs)."""
        frames = padded.flatten(1)
        points = padded.new_empty(self._points[0], len(which), *padded.shape[1:])
        for i, tile in enumerate(which):
            seen = frames[tile * self._tile[0] :][: self._points[0]]
            torch.mm(self._time_to_points, seen, out=points[:, i].flatten(1))
        return points

    def _tiles(self, frames: Tensor, out: Tensor) -> None:
        """Convolve tiles of `frames`, of `_along_time`, into `out`, (T, H, W, outputs)."""
        (mt, mh, mw), (pt, ph, pw) = self._tile, self._points
        t, h, w = out.shape[0] // mt, out.shape[1] // mh, out.shape[2] // mw
        inputs = frames.shape[-1]
        point, tile, row, column, channel = frames.stride()
        seen = frames.as_strided(
            (pt, ph, pw, t, h, w, inputs),
            (point, row, column, tile, row * mh, column * mw, channel),
        ).reshape(pt, ph * pw, -1)
        values = torch.empty_like(seen)
        for i in range(pt):
            torch.mm(self._to_points, seen[i], out=values[i])
        products = torch.bmm(values.view(pt * ph * pw, -1, inputs), self._weight)
        products[(ONES * ph + ONES) * pw + ONES] += self._bias
        summed = torch.mm(self._time_from_points, products.view(pt, -1)).view(mt, ph * pw, -1)
        found = summed.new_empty(mt, mh * mw, summed.shape[-1])
        for i in range(mt):
            torch.mm(self._from_points, summed[i], out=found[i])
        tiles = found.view(mt, mh, mw, t, h, w, -1).permute(3, 0, 4, 1, 5, 2, 6)
        torch.clamp_min(tiles, 0, out=out.view(t, mt, h, mh, w, mw, -1))
