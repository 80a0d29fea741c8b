"""What the tests of the sound networks share: a process for TensorFlow, and the mel formula."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from vidsim.schemas.modality import SAMPLE_RATE


def run_tensorflow(program: str, *arguments: Path | str) -> None:
    """Runs a TensorFlow program in its own process, on the CPU; beside torch it would crash."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def mel_magnitudes(wave: np.ndarray) -> np.ndarray:
    """(15600,) samples -> (96, 64) mel band magnitudes, by the published formula."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    bins = _mel(np.arange(257) * SAMPLE_RATE / 512)[:, None]
    edges = np.linspace(_mel(np.array(125.0)), _mel(np.array(7500.0)), 66)
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre))
    frames = np.lib.stride_tricks.sliding_window_view(wave, 400)[::160]
    return np.abs(np.fft.rfft(frames * window, 512)) @ np.maximum(triangles, 0)


def _mel(hertz: np.ndarray) -> np.ndarray:
    """Hertz on the mel scale of HTK."""
    return 1127 * np.log1p(hertz / 700)
