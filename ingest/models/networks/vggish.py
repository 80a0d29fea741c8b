"""VGGish: the sound network of AudioSet's published embeddings, run by TensorFlow.

A VGG of six convolutions over log-mel patches, from Hershey et al., "CNN Architectures for
Large-Scale Audio Classification" (2017), as published by Google for AudioSet (2017).
Variables are read as data from the published TensorFlow 1 checkpoint. AudioSet's embeddings
are the network's output after PCA with whitening and quantisation to 8 bits.

Import this module only where torch is not: both in one process crash it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import tensorflow as tf

from ....schemas.backbones import BACKBONES
from ....schemas.embedding import FloatArray
from ....schemas.errors import WeightsError
from ...system.unreadable import unread_weights
from .log_mel import compile_for_patches, in_batches, log_mel, mel_matrix
from .quantization import dequantize, quantize

CHECKPOINT = "vggish_model.ckpt"
PCA_PARAMETERS = "vggish_pca_params.npz"
"""The published files' names."""

FEATURES = BACKBONES["vggish"].dim
"""Length of an embedding, before and after the PCA."""

_LOG_OFFSET = 0.01
"""Added before the logarithm so that silence is finite (VGGish's parameters)."""

_CONVOLUTIONS = (
    # name in the checkpoint, channels, whether a 2x2 max pooling follows (VGGish's definition)
    ("conv1", 64, True),
    ("conv2", 128, True),
    ("conv3/conv3_1", 256, False),
    ("conv3/conv3_2", 256, True),
    ("conv4/conv4_1", 512, False),
    ("conv4/conv4_2", 512, True),
)

_POOLED = 6 * 4 * 512
"""Values of the last convolution's output: 96x64 halved four times, 512 channels."""

_DENSE = (
    ("fc1/fc1_1", _POOLED, 4096),
    ("fc1/fc1_2", 4096, 4096),
    ("fc2", 4096, FEATURES),
)
"""Fully connected layers: name in the checkpoint, inputs, outputs (VGGish's definition)."""

_PREFIX = "vggish/"
"""Scope of the network's variables in the checkpoint; whatever else it holds is left alone."""

_BATCH = 16
"""Patches computed at once: their widest layer takes 25 MB."""


def variable_shapes() -> dict[str, tuple[int, ...]]:
    """Return the variables' shapes by their names in the published checkpoint."""
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = 1
    for name, outputs, _ in _CONVOLUTIONS:
        shapes[f"{_PREFIX}{name}/weights"] = (3, 3, inputs, outputs)
        shapes[f"{_PREFIX}{name}/biases"] = (outputs,)
        inputs = outputs
    for name, inputs, outputs in _DENSE:
        shapes[f"{_PREFIX}{name}/weights"] = (inputs, outputs)
        shapes[f"{_PREFIX}{name}/biases"] = (outputs,)
    return shapes


class Pca:
    """The post-processor of AudioSet's embeddings: PCA with whitening, then 8 bits."""

    def __init__(self, matrix: FloatArray, means: FloatArray) -> None:
        """Set the (128, 128) matrix, one component per row, and the (128,) means."""
        self._matrix = matrix
        self._means = means

    def __call__(self, embeddings: FloatArray) -> FloatArray:
        """Post-process (n, 128) embeddings as AudioSet does: whiten, quantise and dequantise."""
        whitened = np.asarray((embeddings - self._means) @ self._matrix.T, np.float32)
        return dequantize(quantize(whitened))


class Vggish:
    """VGGish for inference, with or without the post-processor."""

    def __init__(self, weights: Mapping[str, FloatArray], pca: Pca | None) -> None:
        """Build the network of `weights`, arrays by the names of `variable_shapes`."""
        constants = {name: tf.constant(array) for name, array in weights.items()}
        mel = mel_matrix()
        self._log_mel = compile_for_patches(lambda x: (log_mel(x, mel, _LOG_OFFSET),))
        self._embed = compile_for_patches(
            lambda x: (_network(log_mel(x, mel, _LOG_OFFSET), constants),)
        )
        self._pca = pca

    def log_mel(self, waveforms: FloatArray) -> FloatArray:
        """Compute the network's input spectrogram.

        Args:
            waveforms: (n, PATCH_SAMPLES) float32 mono at 16 kHz in [-1, 1].

        Returns:
            (n, 96, 64) float32, natural logarithms of mel band magnitudes plus 0.01.
        """
        return in_batches(self._log_mel, waveforms, _BATCH)[0]

    def embed(self, patches: FloatArray) -> FloatArray:
        """Embed patches; the caller chooses the hop between them.

        Args:
            patches: (n, PATCH_SAMPLES) float32 mono at 16 kHz in [-1, 1].

        Returns:
            (n, 128) float32: the last layer's output, post-processed if so loaded.
        """
        (embeddings,) = in_batches(self._embed, patches, _BATCH)
        return self._pca(embeddings) if self._pca else embeddings


def load_vggish(directory: Path, postprocess: bool) -> Vggish:
    """Load the published checkpoint, and the PCA if `postprocess`.

    Args:
        directory: Holds ``vggish_model.ckpt``, with `postprocess` also
            ``vggish_pca_params.npz``.
        postprocess: Whether to make embeddings comparable with AudioSet's.

    Raises:
        WeightsError: A file cannot be read, or an array is missing or misshapen.
    """
    pca = _read_pca(directory / PCA_PARAMETERS) if postprocess else None
    return Vggish(_read_checkpoint(directory / CHECKPOINT), pca)


def _read_checkpoint(path: Path) -> dict[str, FloatArray]:
    try:
        reader = tf.train.load_checkpoint(str(path))
        found = reader.get_variable_to_shape_map()
    except Exception as error:  # TensorFlow's own errors, ValueError, RuntimeError
        _refuse(path, "VGGish", f"{type(error).__name__} while reading", error)
    weights = {}
    for name, shape in variable_shapes().items():
        if name not in found:
            _refuse(path, "VGGish", f"no variable {name}")
        if tuple(found[name]) != shape:
            _refuse(path, "VGGish", f"{name} is {tuple(found[name])}, not {shape}")
        try:
            array = reader.get_tensor(name)
        except Exception as error:
            _refuse(path, "VGGish", f"{type(error).__name__} while reading {name}", error)
        if array.dtype != np.float32:
            _refuse(path, "VGGish", f"{name} holds {array.dtype}, not float32")
        weights[name] = array
    return weights


def _read_pca(path: Path) -> Pca:
    what = "VGGish's PCA"
    try:
        # A pickle inside would be a program; arrays of numbers need none.
        with np.load(path, allow_pickle=False) as file:
            matrix, means = file["pca_eigen_vectors"], file["pca_means"].reshape(-1)
    except KeyError as error:
        _refuse(path, what, f"no array {error.args[0].split(' ')[0]}", error)
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        _refuse(path, what, f"{type(error).__name__} while reading", error)
    for name, array, shape in (
        ("pca_eigen_vectors", matrix, (FEATURES, FEATURES)),
        ("pca_means", means, (FEATURES,)),
    ):
        if array.shape != shape or array.dtype.kind != "f":
            _refuse(path, what, f"{name} is {array.dtype} {array.shape}, not float32 {shape}")
    return Pca(matrix.astype(np.float32), means.astype(np.float32))


def _network(spectrogram: Any, weights: Mapping[str, Any]) -> Any:
    """(n, 96, 64) log-mel patches -> (n, 128) embeddings, before any non-linearity."""

    def add_bias(x: Any, name: str) -> Any:
        return tf.nn.bias_add(x, weights[f"{_PREFIX}{name}/biases"])

    x = spectrogram[..., None]
    for name, _, pooled in _CONVOLUTIONS:
        x = tf.nn.conv2d(x, weights[f"{_PREFIX}{name}/weights"], strides=1, padding="SAME")
        x = tf.nn.relu(add_bias(x, name))
        if pooled:
            x = tf.nn.max_pool2d(x, ksize=2, strides=2, padding="SAME")
    x = tf.reshape(x, [-1, _POOLED])
    for name, _, outputs in _DENSE:
        x = add_bias(tf.linalg.matmul(x, weights[f"{_PREFIX}{name}/weights"]), name)
        if outputs != FEATURES:  # the embedding is the last layer's raw output
            x = tf.nn.relu(x)
    return x


def _refuse(path: Path, what: str, why: str, cause: Exception | None = None) -> NoReturn:
    if said := unread_weights(path, cause):
        raise WeightsError(said) from cause
    raise WeightsError(
        f"{path} does not hold {what} ({why}); "
        "get it again, from its publisher or with 'vidsim models pull vggish'."
    ) from cause
