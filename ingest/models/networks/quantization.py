"""The 8-bit form in which AudioSet publishes VGGish embeddings, and the way back from it.

AudioSet's released features are quantised as those of YouTube-8M are (Abu-El-Haija et al.,
"YouTube-8M: A Large-Scale Video Classification Benchmark", 2016), so its readers tell how to
undo it.
"""

from __future__ import annotations

import numpy as np

from ....schemas.embedding import ByteArray, FloatArray

_LOW, _HIGH = -2.0, 2.0
"""Clipping range (VGGish's parameters)."""

_LEVELS_A_UNIT = 255 / (_HIGH - _LOW)
"""Levels per unit of the range, 63.75: a factor that is exact in float32, which keeps the upper
edge at level 255."""

_MIDDLE = (_HIGH - _LOW) / 512
"""Added on the way back because quantising rounds down: about half a step (YouTube-8M's
reader divides by 512 here and by 255 above)."""


def quantize(vectors: FloatArray) -> ByteArray:
    """Clip whitened embeddings (..., dim) to [-2, 2] and round them down to 256 levels."""
    return ((np.clip(vectors, _LOW, _HIGH) - _LOW) * _LEVELS_A_UNIT).astype(np.uint8)


def dequantize(levels: ByteArray) -> FloatArray:
    """Return embeddings (..., dim) float32 in [-1.9922, 2.0078] from 256 levels, as documented.

    Values in [-2, 2] survive `quantize` within 0.0079, about half a step.
    """
    return levels.astype(np.float32) / np.float32(_LEVELS_A_UNIT) + np.float32(_LOW + _MIDDLE)
