"""Spectrograms: what is heard over time, by pitch."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...schemas.embedding import ByteArray, FloatArray
from ...schemas.modality import SAMPLE_RATE

_BANDS = 64
_LOW_HZ, _HIGH_HZ = 125.0, 7500.0
_WINDOW, _HOP, _FFT = 400, 160, 512
"""Bands, and windows of 25 ms every 10 ms: those of the networks that listen (`log_mel`)."""

_QUIET = 0.01
"""Added to magnitudes before the logarithm, as VGGish does."""

_MOST = 1000
"""Columns that are drawn."""


def spectrogram(sound: FloatArray) -> ByteArray:
    """Return (64, columns, 3) uint8 RGB of (n,) sound at 16 kHz, low pitch at the bottom."""
    import cv2

    padded = np.pad(sound, (0, max(0, _WINDOW - len(sound))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    if len(windows) > _MOST:
        windows = windows[np.linspace(0, len(windows) - 1, _MOST).round().astype(int)]
    magnitudes = np.abs(np.fft.rfft(windows * np.hanning(_WINDOW + 1)[:-1], _FFT))
    levels = np.log(magnitudes @ _mel().T + _QUIET)
    low, high = np.log(_QUIET), max(float(levels.max()), np.log(_QUIET) + 1)
    grey = np.clip((levels - low) / (high - low) * 255, 0, 255).astype(np.uint8).T[::-1]
    drawn = cv2.applyColorMap(np.ascontiguousarray(grey), cv2.COLORMAP_VIRIDIS)
    return np.ascontiguousarray(drawn[..., ::-1], np.uint8)


def _mel() -> npt.NDArray[np.float64]:
    """Return (64, 257) triangles that add a spectrum's bins up to bands of the mel scale."""
    low, high = _to_mel(np.array([_LOW_HZ, _HIGH_HZ])).tolist()
    edges = np.linspace(low, high, _BANDS + 2)
    bins = _to_mel(np.arange(_FFT // 2 + 1) * SAMPLE_RATE / _FFT)
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rise, fall = (bins - left) / (middle - left), (right - bins) / (right - middle)
    return np.asarray(np.maximum(0, np.minimum(rise, fall)))


def _to_mel(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mel scale of HTK."""
    return np.asarray(1127 * np.log1p(hertz / 700))
