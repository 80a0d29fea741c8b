"""The mel bands that YAMNet and VGGish hear by, whichever engine computes them.

Hershey et al., "CNN Architectures for Large-Scale Audio Classification" (2017).
"""

from __future__ import annotations

import math

import numpy as np

from ....schemas.embedding import FloatArray
from ....schemas.modality import SAMPLE_RATE

BANDS = 64
"""Mel bands per frame (both networks' parameters)."""

WINDOW = round(0.025 * SAMPLE_RATE)
HOP = round(0.010 * SAMPLE_RATE)
"""Window of 25 ms every 10 ms, in samples (both networks' parameters)."""

FFT = 2 ** math.ceil(math.log2(WINDOW))
"""Points of the Fourier transform, 512: the next power of two above the window."""

MEL_LOW, MEL_HIGH = 125.0, 7500.0
"""Edges of the mel bands in hertz (both networks' parameters)."""


def mel_bands() -> FloatArray:
    """Return the (257, 64) float32 matrix that maps a spectrum's bins to mel bands.

    Triangles whose corners are even on the mel scale of HTK, as are their sides;
    ``tf.signal.linear_to_mel_weight_matrix`` computes the same in float32.
    """
    bins = _mel(np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT)[:, None]
    edges = np.linspace(_mel(np.array(MEL_LOW)), _mel(np.array(MEL_HIGH)), BANDS + 2)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    sides = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    bands = np.maximum(sides, 0)
    bands[0] = 0  # the constant part of a sound is not heard
    return bands.astype(np.float32)


def _mel(
    hertz: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Hertz on the mel scale of HTK, 2595 log10(1 + f / 700)."""
    return 1127 * np.log1p(hertz / 700)
