"""YAMNet computed by PyTorch, which starts in a fraction of TensorFlow's time.

The network of `yamnet`, TensorFlow's, which is the reference: embeddings of unit length agree
within 1e-4 (docs/models.md).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ....schemas.embedding import FloatArray
from ...decode.sampling import PATCH_SAMPLES
from .mel import FFT, HOP, WINDOW, mel_bands
from .padding import same_padding
from .yamnet_layers import BATCH, LOG_OFFSET, SEPARABLE


class YamNetTorch(nn.Module):
    """YAMNet for inference on a CPU: convolutions with folded normalisation."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """Take the weights, by the names and of the shapes of `yamnet_layers.weight_shapes`."""
        super().__init__()
        # In float64: beside a loud tone are bands of next to nothing, whose logarithm shows the
        # rounding of a float32 transform. It costs a hundredth of the network's time.
        self._window = torch.hann_window(WINDOW, periodic=True, dtype=torch.float64)
        self._bands = torch.from_numpy(mel_bands())
        self._stem = _Conv(weights, "stem", 2)
        self._separable = nn.Sequential()
        for i, (_, stride) in enumerate(SEPARABLE):
            self._separable.append(_Conv(weights, f"depthwise_{i}", stride))
            self._separable.append(_Conv(weights, f"pointwise_{i}", 1))
        self._classes = weights["classifier/kernel"]
        self._class_biases = weights["classifier/bias"]

    def log_mel(self, waveforms: Tensor) -> Tensor:
        """(n, PATCH_SAMPLES) waveforms -> (n, 96, 64), as `yamnet.YamNet.log_mel`."""
        frames = waveforms.double().unfold(1, WINDOW, HOP) * self._window
        magnitudes = torch.fft.rfft(frames, FFT).abs().float()  # of frames, then zeros up to FFT
        return torch.log(magnitudes @ self._bands + LOG_OFFSET)

    def forward(self, waveforms: Tensor) -> Tensor:
        """(n, PATCH_SAMPLES) waveforms -> embeddings (n, 1024)."""
        x = self.log_mel(waveforms)[:, None].to(memory_format=torch.channels_last)
        features: Tensor = self._separable(self._stem(x))
        return features.mean((2, 3))

    def embed(self, patches: FloatArray) -> FloatArray:
        """Compute embeddings of patches, as `yamnet.YamNet.embed`.

        Args:
            patches: (n, PATCH_SAMPLES) float32 mono at 16 kHz in [-1, 1].

        Returns:
            (n, 1024) float32, non-negative.

        Raises:
            ValueError: Patches are not (n, PATCH_SAMPLES).
        """
        if patches.ndim != 2 or patches.shape[1] != PATCH_SAMPLES:
            raise ValueError(f"patches are {patches.shape}, not (n, {PATCH_SAMPLES})")
        with torch.inference_mode():
            parts = torch.split(torch.from_numpy(np.asarray(patches, np.float32)), BATCH)
            return torch.cat([self(part) for part in parts]).numpy()

    def classify(self, embeddings: FloatArray) -> FloatArray:
        """Return class scores (n, 521) float32 in [0, 1] of embeddings (n, 1024)."""
        logits = torch.from_numpy(embeddings) @ self._classes + self._class_biases
        return torch.sigmoid(logits).numpy()


class _Conv(nn.Module):
    """A convolution with TensorFlow's SAME padding and a bias, then ReLU."""

    def __init__(self, weights: Mapping[str, Tensor], name: str, stride: int) -> None:
        super().__init__()
        kernel = weights[f"{name}/kernel"]
        # (H, W, inputs, outputs), depthwise (H, W, channels, 1) -> torch's (outputs, inputs, H, W)
        depthwise = name.startswith("depthwise")
        kernel = kernel.permute(2, 3, 0, 1) if depthwise else kernel.permute(3, 2, 0, 1)
        self._weight = kernel.contiguous(memory_format=torch.channels_last)
        self._bias = weights[f"{name}/bias"]
        self._groups = len(kernel) if depthwise else 1
        self._stride, self._size = stride, kernel.shape[2]

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, H, W) -> (n, outputs, H / stride, W / stride), rounded up."""
        padding = self._size // 2
        if self._stride > 1:  # SAME is symmetric for odd kernels at stride 1 only
            height = same_padding(x.shape[2], self._size, self._stride)
            width = same_padding(x.shape[3], self._size, self._stride)
            x, padding = functional.pad(x, (*width, *height)), 0
        y = functional.conv2d(
            x, self._weight, self._bias, self._stride, padding, groups=self._groups
        )
        return y.relu_()
