"""The log-mel front end that YAMNet and VGGish share, in TensorFlow.

Hershey et al., "CNN Architectures for Large-Scale Audio Classification" (2017). Import this
module only where torch is not: both in one process crash it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from ....schemas.embedding import FloatArray
from ....schemas.modality import SAMPLE_RATE
from ...decode.sampling import PATCH_SAMPLES
from .mel import BANDS, FFT, HOP, MEL_HIGH, MEL_LOW, WINDOW


def mel_matrix() -> Any:
    """Return the (257, 64) tensor that maps a spectrum's bins to mel bands."""
    return tf.signal.linear_to_mel_weight_matrix(
        BANDS, FFT // 2 + 1, SAMPLE_RATE, MEL_LOW, MEL_HIGH
    )


def log_mel(waveforms: Any, mel: Any, offset: float) -> Any:
    """(n, PATCH_SAMPLES) waveforms -> (n, 96, 64) logarithms of mel band magnitudes.

    Args:
        waveforms: Float32 mono at 16 kHz in [-1, 1].
        mel: From `mel_matrix`.
        offset: Added before the logarithm so that silence is finite.
    """
    # Periodic Hann window, zeros appended up to the transform's length, magnitudes (no power).
    spectrum = tf.abs(tf.signal.stft(waveforms, WINDOW, HOP, FFT))
    return tf.math.log(tf.tensordot(spectrum, mel, 1) + offset)


def compile_for_patches(function: Callable[[Any], Any]) -> Any:
    """Compile `function` of (n, PATCH_SAMPLES) waveforms to one TensorFlow graph for every n."""
    return tf.function(function, input_signature=[tf.TensorSpec((None, PATCH_SAMPLES), tf.float32)])


def in_batches(
    function: Callable[[Any], tuple[Any, ...]], patches: FloatArray, size: int
) -> tuple[FloatArray, ...]:
    """Apply `function` to `size` patches at a time and join the results.

    Raises:
        ValueError: Patches are not (n, PATCH_SAMPLES).
    """
    if patches.ndim != 2 or patches.shape[1] != PATCH_SAMPLES:
        raise ValueError(f"patches are {patches.shape}, not (n, {PATCH_SAMPLES})")
    if not len(patches):  # TensorFlow's convolutions reject an empty batch
        silence = np.zeros((1, PATCH_SAMPLES), np.float32)
        return tuple(array[:0] for array in in_batches(function, silence, size))
    starts = range(0, len(patches), size)
    parts = [function(tf.constant(patches[s : s + size], tf.float32)) for s in starts]
    return tuple(
        np.concatenate([t.numpy() for t in tensors]) for tensors in zip(*parts, strict=True)
    )
