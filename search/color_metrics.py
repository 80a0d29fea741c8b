"""The capstone's three ways to compare colour strips: L2, MSE and SSIM on vid2img."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ..schemas.embedding import FloatArray
from ..schemas.errors import ModelError
from ..schemas.modality import BACKBONES, VID2IMG_SHAPE
from .videos import similarities

Pairs = Callable[[FloatArray, FloatArray], FloatArray]
"""Similarities (a, b) of all pairs of vectors (a, dim) and (b, dim)."""

# Wang, Bovik, Sheikh and Simoncelli (2004), with the uniform 7x7 window and the sample
# covariance that scikit-image takes by default; values lie in 0..1.
_WINDOW = 7
_C1 = 0.01**2
_C2 = 0.03**2


def l2(a: FloatArray, b: FloatArray) -> FloatArray:
    """Negative Euclidean distances of vid2img vectors."""
    return np.asarray(-np.sqrt(-mse(a, b) * VID2IMG_DIM), np.float32)


def mse(a: FloatArray, b: FloatArray) -> FloatArray:
    """Negative mean squared differences of vid2img vectors."""
    return similarities(BACKBONES["vid2img"], a, b)


def ssim(a: FloatArray, b: FloatArray) -> FloatArray:
    """Structural similarity of vid2img vectors as strips, the mean over colours.

    It equals scikit-image's ``structural_similarity`` with its defaults, which takes one pair
    a call: with the window statistics of each strip computed once and all strips b compared at
    a time this takes a fraction of it, and n^2 pairs are asked for.
    """
    strips_a, strips_b = a.reshape(-1, *VID2IMG_SHAPE), b.reshape(-1, *VID2IMG_SHAPE)
    (mean_a, var_a), (mean_b, var_b) = _moments(strips_a), _moments(strips_b)
    sample = _WINDOW**2 / (_WINDOW**2 - 1)
    found = np.empty((len(a), len(b)), np.float32)
    for i, strip in enumerate(strips_a):
        product = mean_a[i] * mean_b
        covariance = sample * (_window_means(strip * strips_b) - product)
        above = (2 * product + _C1) * (2 * covariance + _C2)
        below = (mean_a[i] ** 2 + mean_b**2 + _C1) * (var_a[i] + var_b + _C2)
        found[i] = (above / below).mean(axis=(1, 2, 3))
    return found


VID2IMG_DIM = BACKBONES["vid2img"].dim

COLOR_METRICS: dict[str, Pairs] = {"l2": l2, "mse": mse, "ssim": ssim}


def parse_color_metrics(text: str) -> tuple[str, ...]:
    """Reads ``l2,mse,ssim,labhist``.

    Raises:
        ModelError: A name that is no metric.
    """
    known = (*COLOR_METRICS, "labhist")
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ModelError(
            f"{unknown[0] if unknown else text!r} is no way to compare colour; "
            f"choose from {', '.join(known)}, separated by commas."
        )
    return tuple(dict.fromkeys(names))


def _moments(strips: FloatArray) -> tuple[FloatArray, FloatArray]:
    means = _window_means(strips)
    sample = _WINDOW**2 / (_WINDOW**2 - 1)
    return means, np.asarray(sample * (_window_means(strips**2) - means**2), np.float32)


def _window_means(strips: FloatArray) -> npt.NDArray[np.float32]:
    """Means of all whole 7x7 windows of (n, 20, 100, 3): (n, 14, 94, 3)."""
    for axis in (1, 2):
        sums = np.cumsum(strips, axis=axis, dtype=np.float64)
        size = strips.shape[axis]
        end = np.take(sums, range(_WINDOW - 1, size), axis=axis)
        begin = np.take(sums, range(size - _WINDOW), axis=axis)
        first = np.zeros_like(np.take(end, [0], axis=axis))
        strips = (end - np.concatenate([first, begin], axis=axis)) / _WINDOW
    return np.asarray(strips, np.float32)
