"""Weights for convolutions in bfloat16, of which 8 bits are left."""

from __future__ import annotations

import torch
from torch import Tensor


def rounded_to_bfloat16(weight: Tensor) -> Tensor:
    """Round weights (outputs, ...) to bfloat16, preserving the sums per output.

    From the largest to the smallest, whose steps are the finest, each absorbs the rounding errors
    so far: what they multiply is alike (neighbouring pixels) or of one sign (after a ReLU).

    Returns:
        float32 of the same shape, of which each value is one of bfloat16.
    """
    taps = weight.flatten(1)
    order = taps.abs().argsort(1, descending=True)
    rounded = torch.empty_like(taps)
    error = torch.zeros_like(taps[:, :1])
    for place in torch.split(order, 1, dim=1):
        wanted = taps.gather(1, place) + error
        kept = wanted.bfloat16().float()
        rounded.scatter_(1, place, kept)
        error = wanted - kept
    return rounded.view_as(weight)
