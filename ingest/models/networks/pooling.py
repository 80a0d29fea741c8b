"""Max pooling one axis at a time, which is fast on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor

from .padding import same_padding

Size3d = tuple[int, int, int]
"""Cells along time, height, width."""


def max_pool_by_axis(x: Tensor, kernel: Size3d, stride: Size3d) -> Tensor:
    """Max-pool with TensorFlow's SAME padding, for any dtype; for inference only.

    The maximum over a box is taken over each axis in turn. That takes the fewest comparisons, runs
    along the channels of channels-last memory, pads without copying, and works on integers, for
    which torch has no max pool.

    Args:
        x: (N, C, T, H, W).
        kernel: Cells of a box.
        stride: Cells from one box to the next.

    Returns:
        Each axis divided by its stride, rounded up.
    """
    for axis in range(3):
        x = _max_along(x, 2 + axis, kernel[axis], stride[axis])
    return x


def _max_along(x: Tensor, axis: int, kernel: int, stride: int) -> Tensor:
    """Return the maximum of every `kernel` cells along one axis, ignoring cells outside."""
    if kernel == stride == 1:
        return x
    size = x.shape[axis]
    before, _ = same_padding(size, kernel, stride)
    count = -(-size // stride)
    whole: list[Tensor] = []
    parts: list[tuple[int, Tensor]] = []
    for offset in range(-before, kernel - before):
        # The outputs whose cell at this offset lies inside; the cell of output i is i * stride.
        first = max(0, -(offset // stride))
        inside = min(count, (size - 1 - offset) // stride + 1) - first
        if inside <= 0:
            continue
        cells = _every(x, axis, first * stride + offset, inside, stride)
        if inside == count:
            whole.append(cells)
        else:
            parts.append((first, cells))
    pooled = torch.maximum(whole[0], whole[1]) if len(whole) > 1 else whole[0].clone()
    for first, cells in [(0, cells) for cells in whole[2:]] + parts:
        part = pooled.narrow(axis, first, cells.shape[axis])
        torch.maximum(part, cells, out=part)
    return pooled


def _every(x: Tensor, axis: int, start: int, count: int, step: int) -> Tensor:
    """Return a view of `count` cells along `axis` from `start`, `step` apart."""
    along = [slice(None)] * x.dim()
    along[axis] = slice(start, start + (count - 1) * step + 1, step)
    return x[tuple(along)]
