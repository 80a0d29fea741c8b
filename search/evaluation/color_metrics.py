"""The capstone's three colour metrics: L2, MSE and SSIM on vid2img strips."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...schemas.backbones import BACKBONES, VID2IMG_SHAPE
from ...schemas.embedding import FloatArray
from ...schemas.errors import ModelError
from ..videos import similarities

Pairs = Callable[[FloatArray, FloatArray], FloatArray]
"""Similarities (a, b) of all pairs of vectors (a, dim) and (b, dim)."""

# Wang, Bovik, Sheikh and Simoncelli (2004), with the uniform 7x7 window and the sample
# covariance that scikit-image takes by default; values lie in 0..1.
_WINDOW = 7
_SAMPLE = _WINDOW**2 / (_WINDOW**2 - 1)
_C1 = 0.01**2
_C2 = 0.03**2

_STRIPS = 64
"""Strips compared at a time: their intermediate results stay in the CPU cache."""


def l2(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the negative Euclidean distances of vid2img vectors."""
    return np.asarray(-np.sqrt(-mse(a, b) * VID2IMG_DIM), np.float32)


def mse(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the negative mean squared differences of vid2img vectors."""
    return similarities(BACKBONES["vid2img"], a, b)


def ssim(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the structural similarity of vid2img vectors as strips, averaged over colours.

    It equals scikit-image's ``structural_similarity`` with its defaults, which takes one pair
    per call. Blocks of strips b bound the memory, whatever their number.
    """
    strips_a, strips_b = a.reshape(-1, *VID2IMG_SHAPE), b.reshape(-1, *VID2IMG_SHAPE)
    mean_a, var_a = _moments(strips_a)
    found = np.empty((len(a), len(b)), np.float32)
    for start in range(0, len(b), _STRIPS):
        part = strips_b[start : start + _STRIPS]
        mean_b, var_b = _moments(part)
        for i, strip in enumerate(strips_a):
            product = mean_a[i] * mean_b
            covariance = _SAMPLE * (_window_means(strip * part) - product)
            above = (2 * product + _C1) * (2 * covariance + _C2)
            below = (mean_a[i] ** 2 + mean_b**2 + _C1) * (var_a[i] + var_b + _C2)
            found[i, start : start + _STRIPS] = (above / below).mean(axis=(1, 2, 3))
    return found


VID2IMG_DIM = BACKBONES["vid2img"].dim

COLOR_METRICS: dict[str, Pairs] = {"l2": l2, "mse": mse, "ssim": ssim}


def parse_color_metrics(text: str) -> tuple[str, ...]:
    """Read ``l2,mse,ssim,labhist``.

    Raises:
        ModelError: A name is not a metric.
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
    return means, np.asarray(_SAMPLE * (_window_means(strips**2) - means**2), np.float32)


def _window_means(strips: FloatArray) -> FloatArray:
    """Return the means of all whole 7x7 windows of (n, 20, 100, 3): (n, 14, 94, 3)."""
    import cv2  # only SSIM needs it

    # Stacked strips form a single image; windows that span two strips are cut away.
    below = np.ascontiguousarray(strips).reshape(-1, *VID2IMG_SHAPE[1:])
    means = cv2.blur(below, (_WINDOW, _WINDOW)).reshape(strips.shape)
    edge = _WINDOW // 2
    return np.asarray(means[:, edge:-edge, edge:-edge], np.float32)
