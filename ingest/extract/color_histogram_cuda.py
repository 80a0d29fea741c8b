"""Colour histograms of many pictures at once, in torch, for a GPU."""

from __future__ import annotations

import torch

from .color_histogram import Gathered


def color_histograms(
    pictures: torch.Tensor, levels: int, coarse_levels: int
) -> tuple[Gathered, Gathered]:
    """Compute `color_histogram` of many pictures at once, and the same merged to `coarse_levels`.

    Counts and sums are integers, so the order of additions does not change them. On a CPU it takes
    three times as long as one picture after another.

    Args:
        pictures: (n, h, w, 3) uint8.
        levels: Levels per channel.
        coarse_levels: Levels per channel of the second result.

    Returns:
        Both histograms, on the device of `pictures`.
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
    """Sum pixels (n, m, 3) by their bins (n, m, 3), int64."""
    n, size = len(bins), levels**3
    base = torch.tensor([levels**2, levels, 1], device=bins.device)
    keys = (bins * base).sum(2) + size * torch.arange(n, device=bins.device)[:, None]
    counts = torch.bincount(keys.flatten(), minlength=n * size).view(n, size)
    sums = counts.new_zeros(n * size, 3)
    sums.index_add_(0, keys.flatten(), pixels.reshape(-1, 3).long())
    # The non-empty bins first, in order, and only as many as the fullest picture has.
    filled = int((counts > 0).sum(1).max())
    order = torch.argsort((counts == 0).byte(), dim=1, stable=True)[:, :filled]
    counts = counts.gather(1, order)
    sums = sums.view(n, size, 3).gather(1, order[..., None].expand(-1, -1, 3))
    return (sums.double() / counts.clamp_min(1)[..., None]).float(), counts.float()
