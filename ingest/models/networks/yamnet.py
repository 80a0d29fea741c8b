"""YAMNet: the audio network, run by TensorFlow in its own process; the reference.

On a CPU `yamnet_torch` computes the same (docs/models.md).

The log-mel front end of Hershey et al., "CNN Architectures for Large-Scale Audio
Classification" (2017), before the MobileNet-v1 of Howard et al., "MobileNets" (2017), as
published by Google for AudioSet (2019). Variables are read as data from the published
checkpoint; the program in the SavedModel around it is never run.

Import this module only where torch is not: both in one process crash it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from ....schemas.embedding import FloatArray
from ....schemas.errors import WeightsError
from ...system.unreadable import unread_weights
from .log_mel import compile_for_patches, in_batches, log_mel, mel_matrix
from .yamnet_layers import BATCH, CLASSES, LOG_OFFSET, SEPARABLE, STEM

BN_EPSILON = 1e-4
"""Batch normalisation's epsilon (YAMNet's parameters); it is trained without scale."""

_PREFIX = "layer-1/layer/_func/_yamnet/layer_with_weights-"
"""Where the published checkpoint keeps YAMNet's variables, numbered in the order of layers."""

_CHECKPOINT = "variables"
"""Name of the checkpoint, i.e. of its files up to the first dot."""


class YamNet:
    """YAMNet for inference: convolutions with folded normalisation."""

    def __init__(self, weights: dict[str, FloatArray]) -> None:
        """Build the network of `weights`, the checked arrays of `read_weights`."""
        constants = {name: tf.constant(array) for name, array in weights.items()}
        mel = mel_matrix()
        self._log_mel = compile_for_patches(lambda x: (log_mel(x, mel, LOG_OFFSET),))
        self._embed = compile_for_patches(
            lambda x: _network(log_mel(x, mel, LOG_OFFSET), constants)
        )

    def log_mel(self, waveforms: FloatArray) -> FloatArray:
        """Compute the network's input spectrogram.

        Args:
            waveforms: (n, PATCH_SAMPLES) float32 mono at 16 kHz in [-1, 1].

        Returns:
            (n, 96, 64) float32, natural logarithms of mel band magnitudes plus 0.001.
        """
        return in_batches(self._log_mel, waveforms, BATCH)[0]

    def embed(self, patches: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Compute embeddings and class scores of patches; the caller chooses the hop between them.

        Args:
            patches: (n, PATCH_SAMPLES) float32 mono at 16 kHz in [-1, 1].

        Returns:
            Embeddings (n, 1024) float32, non-negative, and scores (n, 521) float32 in [0, 1],
            in the order of YAMNet's class map.
        """
        embeddings, scores = in_batches(self._embed, patches, BATCH)
        return embeddings, scores


def load_yamnet(directory: Path) -> YamNet:
    """Build the network of the published checkpoint.

    Raises:
        WeightsError: As `read_weights`.
    """
    return YamNet(read_weights(directory))


def read_weights(directory: Path) -> dict[str, FloatArray]:
    """Read the variables of the published checkpoint, and fold normalisations into convolutions.

    Args:
        directory: Holds ``variables.index`` and ``variables.data-00000-of-00001``.

    Returns:
        Arrays by the names and of the shapes of `yamnet_layers.weight_shapes`.

    Raises:
        WeightsError: The checkpoint cannot be read, or a variable is missing or misshapen.
    """
    try:
        reader = tf.train.load_checkpoint(str(directory / _CHECKPOINT))
        shapes = reader.get_variable_to_shape_map()
    except Exception as error:  # TensorFlow's own errors, ValueError, RuntimeError
        _refuse(directory, f"{type(error).__name__} while reading", error)

    def take(layer: int, part: str, *shape: int) -> npt.NDArray[np.float64]:
        name = f"{_PREFIX}{layer}/{part}/.ATTRIBUTES/VARIABLE_VALUE"
        if name not in shapes:
            _refuse(directory, f"no variable {name}")
        if tuple(shapes[name]) != shape:
            _refuse(directory, f"{name} is {tuple(shapes[name])}, not {shape}")
        try:
            array: npt.NDArray[np.float64] = reader.get_tensor(name).astype(np.float64)
        except Exception as error:
            _refuse(directory, f"{type(error).__name__} while reading {name}", error)
        return array

    weights: dict[str, FloatArray] = {}
    layer = 0

    def convolution(name: str, part: str, shape: tuple[int, ...], outputs: int) -> None:
        """Read a convolution and fold the following normalisation into it."""
        nonlocal layer
        kernel = take(layer, part, *shape)
        beta, mean, variance = (
            take(layer + 1, p, outputs) for p in ("beta", "moving_mean", "moving_variance")
        )
        scale = 1 / np.sqrt(variance + BN_EPSILON)
        # Outputs are a kernel's last axis, except for a depthwise one: (3, 3, channels, 1).
        kernel *= scale[:, None] if part == "depthwise_kernel" else scale
        weights[f"{name}/kernel"] = kernel.astype(np.float32)
        weights[f"{name}/bias"] = (beta - mean * scale).astype(np.float32)
        layer += 2

    convolution("stem", "kernel", (3, 3, 1, STEM), STEM)
    inputs = STEM
    for i, (outputs, _) in enumerate(SEPARABLE):
        convolution(f"depthwise_{i}", "depthwise_kernel", (3, 3, inputs, 1), inputs)
        convolution(f"pointwise_{i}", "kernel", (1, 1, inputs, outputs), outputs)
        inputs = outputs
    weights["classifier/kernel"] = take(layer, "kernel", inputs, CLASSES).astype(np.float32)
    weights["classifier/bias"] = take(layer, "bias", CLASSES).astype(np.float32)
    return weights


def _network(spectrogram: Any, weights: dict[str, Any]) -> tuple[Any, Any]:
    """(n, 96, 64) log-mel patches -> embeddings (n, 1024), scores (n, 521)."""

    def convolve(x: Any, name: str, stride: int = 1) -> Any:
        kernel, bias = weights[f"{name}/kernel"], weights[f"{name}/bias"]
        operation: Callable[..., Any] = (
            tf.nn.depthwise_conv2d if name.startswith("depthwise") else tf.nn.conv2d
        )
        y = operation(x, kernel, strides=[1, stride, stride, 1], padding="SAME")
        return tf.nn.relu(tf.nn.bias_add(y, bias))

    x = convolve(spectrogram[..., None], "stem", stride=2)
    for i, (_, stride) in enumerate(SEPARABLE):
        x = convolve(convolve(x, f"depthwise_{i}", stride), f"pointwise_{i}")
    embeddings = tf.reduce_mean(x, [1, 2])
    logits = tf.linalg.matmul(embeddings, weights["classifier/kernel"])
    return embeddings, tf.sigmoid(logits + weights["classifier/bias"])


def _refuse(directory: Path, why: str, cause: Exception | None = None) -> NoReturn:
    if said := unread_weights(directory, cause):
        raise WeightsError(said) from cause
    raise WeightsError(
        f"{directory} does not hold YAMNet ({why}); "
        "delete it and run 'vidsim models pull' to fetch it again."
    ) from cause
