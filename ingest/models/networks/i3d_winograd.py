"""I3D in float32 with fewer multiplications, for CPUs that do not multiply 8-bit integers.

The same network as `i3d`, computed otherwise: convolutions of 3x3x3 and the first one by Winograd's
algorithm (`winograd`), those of 1x1x1 as products of matrices, of two branches of a module in one.
Activations lie as (T, H, W, channels) of one clip, so that the channels of a cell are a row of a
matrix, and every layer of a module writes its own columns of the module's output.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .i3d import I3D, Conv, Inception, Pool, mean_features
from .padding import same_padding
from .pooling import Size3d, max_pool_by_axis
from .winograd import ONES, WinogradConv, to_float32, transforms

_LARGE: Size3d = (4, 4, 4)
_SMALL: Size3d = (4, 2, 2)
"""Tiles of the layers before and after MaxPool3d_4a_3x3, with pictures of 56 and 28, and of 14 and
7, which 4 does not divide. Each is the fastest or within a tenth of it, among these two, (2, 4, 4)
and (2, 2, 2) (docs/models.md)."""

_FIRST_SMALL = "Mixed_4b"

_STEM_TILE = 7
"""Outputs of the first convolution's tiles, along height: 7 divides its 112. 4 needs 12 % longer,
and rounds a tenth as much, which the embeddings do not show."""

_STEM_TAPS = 4
"""Taps of a phase of the first convolution, along height."""

_STEM_ROWS = 4
"""So many rows of tiles are computed at a time, to stay in a cache."""


class I3DWinograd(nn.Module):
    """I3D for inference on a CPU."""

    def __init__(self, network: I3D) -> None:
        """Take the weights of `network`, in float32 on the CPU."""
        super().__init__()
        layers: list[nn.Module] = []
        tile = _LARGE
        for name, layer in network.layers.named_children():
            if name == _FIRST_SMALL:
                tile = _SMALL
            layers.append(_converted(layer, tile))
        self._layers = nn.Sequential(*layers)

    def forward(self, clips: Tensor) -> Tensor:
        """Compute what `I3D.forward` does, up to rounding."""
        # One at a time: a clip fills every product of matrices, and less memory is in use.
        found = [self._layers(clip.movedim(0, -1)) for clip in clips]
        return mean_features(torch.stack(found).movedim(-1, 1))


def _converted(layer: nn.Module, tile: Size3d) -> nn.Module:
    """Return what computes `layer` of one clip (T, H, W, C)."""
    if isinstance(layer, Inception):
        return _Module(layer, tile)
    if isinstance(layer, Pool):
        return _Pool(layer)
    assert isinstance(layer, Conv)
    if layer.stride[0] == 2:
        return _Stem(layer)
    return _Point([layer]) if layer.kernel_size[0] == 1 else _Cube(layer, tile)


class _Pool(nn.Module):
    """A max pool."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self._kernel, self._stride = pool.kernel, pool.stride

    def forward(self, x: Tensor) -> Tensor:
        """(T, H, W, C) -> each axis divided by its stride, rounded up."""
        pooled = max_pool_by_axis(x.movedim(-1, 0)[None], self._kernel, self._stride)
        return pooled[0].movedim(0, -1)


class _Cube(nn.Module):
    """A convolution of 3x3x3, then ReLU."""

    def __init__(self, conv: Conv, tile: Size3d) -> None:
        super().__init__()
        self._conv = WinogradConv(conv.weight.detach(), _bias(conv), tile)

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """(T, H, W, inputs) -> (T, H, W, outputs), written to `out` if given."""
        if out is None:
            out = x.new_empty(*x.shape[:3], self._conv.outputs)
        self._conv(x, out)
        return out


class _Point(nn.Module):
    """Convolutions of 1x1x1 of the same input as one product of matrices, then ReLU."""

    def __init__(self, convs: Iterable[Conv]) -> None:
        super().__init__()
        weights, biases = zip(
            *((conv.weight.detach().flatten(1), _bias(conv)) for conv in convs), strict=True
        )
        self._weight, self._bias = torch.cat(weights).T.contiguous(), torch.cat(biases)

    def forward(self, x: Tensor, out: Tensor | None = None) -> Tensor:
        """(T, H, W, inputs) -> (T, H, W, outputs of all), written to `out` if given."""
        if out is None:
            out = x.new_empty(*x.shape[:3], len(self._bias))
        rows = out.flatten(0, 2)  # a view, also of columns of a larger output
        torch.addmm(self._bias, x.flatten(0, 2), self._weight, out=rows)
        rows.relu_()
        return out


class _Module(nn.Module):
    """An Inception module."""

    def __init__(self, module: Inception, tile: Size3d) -> None:
        super().__init__()
        reduce_1, cube_1 = cast(Iterable[Conv], module.branch_1)
        reduce_2, cube_2 = cast(Iterable[Conv], module.branch_2)
        pool, projection = cast(tuple[Pool, Conv], tuple(module.branch_3))
        self._branch_0, self._reduce = _Point([module.branch_0]), _Point([reduce_1, reduce_2])
        self._cubes = nn.ModuleList([_Cube(cube_1, tile), _Cube(cube_2, tile)])
        self._pool, self._projection = _Pool(pool), _Point([projection])
        self._reduced = [reduce_1.out_channels, reduce_2.out_channels]
        self._outputs = [c.out_channels for c in (module.branch_0, cube_1, cube_2, projection)]

    def forward(self, x: Tensor) -> Tensor:
        """(T, H, W, inputs) -> (T, H, W, outputs of the four branches)."""
        out = x.new_empty(*x.shape[:3], sum(self._outputs))
        branch_0, branch_1, branch_2, branch_3 = torch.split_with_sizes(out, self._outputs, -1)
        self._branch_0(x, branch_0)
        reduced = torch.split_with_sizes(self._reduce(x), self._reduced, -1)
        for cube, part, to in zip(self._cubes, reduced, (branch_1, branch_2), strict=True):
            cube(part, to)
        self._projection(self._pool(x), branch_3)
        return out


class _Stem(nn.Module):
    """The first convolution, of 7x7x7 at stride 2, then ReLU.

    Rows at even and at odd heights are taken as channels of their own. On these the filter's even
    and odd taps are convolutions at stride 1 along height, of 4 and of 3 taps, the latter with a
    zero for a fourth. Winograd's algorithm computes them, which leaves a convolution along time and
    width for every point: 10 for 7 rows of outputs, in the place of 7 * 7 / 2.
    """

    def __init__(self, conv: Conv) -> None:
        super().__init__()
        self._taps = conv.kernel_size[0]
        weight = functional.pad(conv.weight.detach().double(), (0, 0, 0, 1))
        from_points, of_taps, to_points = transforms(_STEM_TILE, _STEM_TAPS)
        # (outputs, inputs, time, height / 2, 2, width) -> (points, outputs, 2, inputs, ...)
        phases = weight.view(*weight.shape[:3], _STEM_TAPS, 2, self._taps)
        weights = torch.einsum("ph,oithrw->poritw", torch.from_numpy(of_taps), phases).flatten(2, 3)
        self._weights = [w.float().to(memory_format=torch.channels_last) for w in weights]
        self._biases = [_bias(conv) if point == ONES else None for point in range(len(weights))]
        self._to_points, self._from_points = to_float32(to_points), to_float32(from_points)

    def forward(self, x: Tensor) -> Tensor:
        """(T, H, W, 3) -> (T / 2, H / 2, W / 2, outputs), rounded up."""
        times, height, width = (-(-size // 2) for size in x.shape[:3])
        count = -(-height // _STEM_TILE)
        rows = self._rows(x, count)
        out = x.new_empty(times, count * _STEM_TILE, width, len(self._weights[0]))
        tiles = out.view(times, count, _STEM_TILE, width, -1)
        for first in range(0, count, _STEM_ROWS):
            last = min(first + _STEM_ROWS, count)
            self._tiles(rows, range(first, last), tiles[:, first:last])
        return out[:, :height]

    def _rows(self, x: Tensor, count: int) -> Tensor:
        """(T, H, W, 3) -> (H / 2, T, W, 2 * 3), with SAME padding and for `count` tiles."""
        t, _, w = x.shape[:3]
        time, height, width = (same_padding(size, self._taps, 2) for size in x.shape[:3])
        heights = count * _STEM_TILE + _STEM_TAPS - 1
        rows = x.new_zeros(heights, t + sum(time), w + sum(width), 2 * x.shape[3])
        # numpy copies a pixel at once; torch copies number by number, in three times the time.
        pixel = np.dtype((np.void, x.shape[3] * x.element_size()))
        pixels = x.contiguous().numpy().view(pixel)[..., 0]
        to = rows.numpy().view(pixel)[:, time[0] : time[0] + t, width[0] : width[0] + w]
        for first in (0, 1):
            half, odd = divmod(first + height[0], 2)
            part = pixels[:, first::2].swapaxes(0, 1)
            to[half : half + len(part), :, :, odd] = part
        return rows

    def _tiles(self, rows: Tensor, which: range, out: Tensor) -> None:
        """Convolve some rows of tiles into `out`, (T, rows of tiles, tile, W, outputs)."""
        values = rows.new_empty(len(self._weights), len(which), *rows.shape[1:])
        for i, row in enumerate(which):
            seen = rows[row * _STEM_TILE :][: len(self._weights)]
            torch.mm(self._to_points, seen.flatten(1), out=values[:, i].flatten(1))
        products = [
            functional.conv2d(value.movedim(-1, 1), weight, bias, 2).movedim(1, -1)
            for value, weight, bias in zip(values, self._weights, self._biases, strict=True)
        ]
        found = torch.mm(self._from_points, torch.stack(products).flatten(1))
        torch.clamp_min(found.view(-1, *products[0].shape).permute(2, 1, 0, 3, 4), 0, out=out)


def _bias(conv: Conv) -> Tensor:
    return cast(Tensor, conv.bias).detach().clone()
