"""3D ResNet-34 with shortcuts of type A: the motion network of the classic preset.

Hara, Kataoka and Satoh, "Learning Spatio-Temporal Features with 3D Residual Networks for
Action Recognition" (2017), table 1: the 2D ResNet-34 of He et al. (2015) with 3x3x3 kernels,
and a stem that keeps time at stride 1. A shortcut of type A has no parameters: where a block
halves its input, every second cell is taken and the new channels are zeros.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from .checkpoint import fill, read_checkpoint, refuse, unfilled

CLASSES = 400
"""Classes of Kinetics-400."""

_STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Channels and blocks of each stage (table 1)."""

_ARCH = "resnet-34"
"""The published file's name of the architecture."""


class _Block(nn.Module):
    """Two 3x3x3 convolutions beside a shortcut of type A."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm3d(outputs)
        self.conv2 = nn.Conv3d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm3d(outputs)
        self.stride = stride
        self.added = outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, T, H, W) -> (N, outputs, ...), each axis divided by stride, rounded up."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        shortcut = x[:, :, :: self.stride, :: self.stride, :: self.stride]
        return functional.relu(y + functional.pad(shortcut, (0, 0, 0, 0, 0, 0, 0, self.added)))


class ResNet34(nn.Module):
    """3D ResNet-34; its parameters have the names of the published file."""

    def __init__(self) -> None:
        """Build the layers; `load_resnet34_3d` fills them."""
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, 7, stride=(1, 2, 2), padding=3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        inputs = 64
        for number, (outputs, count) in enumerate(_STAGES, start=1):
            blocks = []
            for i in range(count):
                blocks.append(_Block(inputs, outputs, 2 if number > 1 and i == 0 else 1))
                inputs = outputs
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Compute pooled features of clips.

        Args:
            x: (N, 3, T, 112, 112) float RGB, the mean of Kinetics subtracted from 0..255;
                the weights were trained on 16 frames.

        Returns:
            (N, 512) float32, non-negative: the mean over time and picture. Of 16 frames one
            time step is left, over whose 4x4 cells the published network takes that mean.
        """
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.max_pool3d(x, 3, stride=2, padding=1)
        for number in range(1, len(_STAGES) + 1):
            x = self.get_submodule(f"layer{number}")(x)
        return x.float().mean((2, 3, 4))

    def classify(self, features: Tensor) -> Tensor:
        """Return Kinetics-400 logits (N, 400) of features (N, 512)."""
        logits: Tensor = self.fc(features)
        return logits


def load_resnet34_3d(path: Path) -> ResNet34:
    """Read the published weights.

    Args:
        path: ``resnet-34-kinetics.pth``: a dictionary whose ``arch`` is resnet-34 and whose
            ``state_dict`` holds the tensors, their names behind ``module.`` (the mark of
            training on several GPUs; the file for the CPU lacks it).

    Returns:
        The network in eval mode, on the CPU, without gradients.

    Raises:
        WeightsError: The file cannot be read, is of another network, or a tensor is missing,
            left over or misshapen.
    """
    what = "3D ResNet-34 with shortcuts of type A"
    found = read_checkpoint(path, what)
    if found.get("arch") != _ARCH:
        refuse(path, what, f"its arch is {found.get('arch')!r}, not {_ARCH!r}")
    if not isinstance(found.get("state_dict"), dict):
        refuse(path, what, "no state_dict")
    state = {str(n).removeprefix("module."): t for n, t in found["state_dict"].items()}
    network = unfilled(ResNet34)
    with torch.no_grad():
        fill(network, state, path, what)
    return network
