"""Strips of dominant colours, and their embeddings, without torch."""

from __future__ import annotations

import cv2
import numpy as np

from ...schemas.backbones import LAB_BINS, VID2IMG_SHAPE, Backbone
from ...schemas.embedding import ByteArray, FloatArray

COLORS = 10
"""Dominant colours per frame (the capstone's k)."""

_GAMUT = ((0.0, 100.0), (-86.19, 98.24), (-107.86, 94.48))
"""Range of L, a and b over the sRGB gamut (D65), which the histogram's bins span."""


def lay_out(centers: FloatArray, shares: FloatArray) -> ByteArray:
    """Lay out colours (n, COLORS, 3) in 0..255, by descending share, as strips (n, 100, 3) uint8.

    Each colour takes as many of the 100 pixels as its share (n, COLORS), the largest remainders
    rounded up so that the strip is exactly full.
    """
    width = VID2IMG_SHAPE[1]
    exact = shares * width
    pixels = np.floor(exact).astype(np.int64)
    left_over = width - pixels.sum(axis=1)
    by_remainder = np.argsort(pixels - exact, axis=1, kind="stable")
    rounded_up = np.arange(COLORS)[None] < left_over[:, None]
    np.put_along_axis(
        pixels, by_remainder, np.take_along_axis(pixels, by_remainder, 1) + rounded_up, 1
    )
    colors = np.rint(centers).astype(np.uint8)
    return np.stack([np.repeat(c, p, axis=0) for c, p in zip(colors, pixels)])


def embed_strip(backbone: Backbone, strip: ByteArray) -> FloatArray:
    """Compute the embedding (dim,) float32 of a strip by `backbone` (labhist or vid2img)."""
    return lab_histogram(strip) if backbone.name == "labhist" else _pixels(strip)


def _pixels(strip: ByteArray) -> FloatArray:
    """Return the vid2img embedding: the strip's 6,000 values, scaled to 0..1."""
    return np.asarray(strip.reshape(-1) / 255, dtype=np.float32)


def lab_histogram(strip: ByteArray) -> FloatArray:
    """Compute the soft 8x8x8 Lab histogram (512,) float32 of a strip: square root, L2 norm 1.

    Each pixel is shared among the eight nearest bins (trilinear), so a small shift of
    colour moves the histogram a little. The square root makes the inner product of two
    histograms their Bhattacharyya coefficient.
    """
    lab = cv2.cvtColor(strip.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    low, high = np.array(_GAMUT, np.float32).T
    position = np.clip((lab - low) / (high - low) * LAB_BINS - 0.5, 0, LAB_BINS - 1)
    below = np.minimum(position.astype(np.int64), LAB_BINS - 2)
    part = position - below
    histogram = np.zeros(LAB_BINS**3)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1 - part), axis=1)
        index = np.ravel_multi_index(tuple((below + corner).T), (LAB_BINS,) * 3)
        histogram += np.bincount(index, weights=weight, minlength=LAB_BINS**3)
    root = np.sqrt(histogram)
    normalised: FloatArray = np.asarray(root / np.linalg.norm(root), dtype=np.float32)
    return normalised
