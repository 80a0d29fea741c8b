"""ResNet-50 and R3D-18 as torchvision publishes them, without their classifiers.

He et al., "Deep Residual Learning for Image Recognition" (2015); Tran et al., "A Closer Look
at Spatiotemporal Convolutions for Action Recognition" (2018). Their output is the mean
over the last layer's cells: (N, 2048) of pictures (N, 3, 224, 224), and (N, 512) of clips
(N, 3, 16, 112, 112).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from torchvision.models import resnet50
from torchvision.models.video import r3d_18

from .checkpoint import fill, read_checkpoint, unfilled


def load_resnet50(path: Path) -> nn.Module:
    """Load ResNet-50 with the weights of ``resnet50-0676ba61.pth``, for inference on the CPU.

    Raises:
        WeightsError: The file cannot be read, or a tensor is missing, left over or misshapen.
    """
    return _load(unfilled(resnet50), path, "ResNet-50")


def load_r3d18(path: Path) -> nn.Module:
    """Load R3D-18 with the weights of ``r3d_18-b3b3357e.pth``, for inference on the CPU.

    Raises:
        WeightsError: The file cannot be read, or a tensor is missing, left over or misshapen.
    """
    return _load(unfilled(r3d_18), path, "R3D-18")


def _load(network: Any, path: Path, what: str) -> nn.Module:
    fill(network, read_checkpoint(path, what), path, what)
    network.fc = nn.Identity()
    result: nn.Module = network
    return result
