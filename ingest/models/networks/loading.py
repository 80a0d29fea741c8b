"""Loading of a backbone's torch network from the folder of its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from ....schemas.backbones import Backbone, timm_name
from .efficientnet_lite import load_efficientnet_lite0
from .i3d import load_i3d
from .resnet3d import load_resnet34_3d


def _resnet50(path: Path) -> nn.Module:
    from .torchvision_resnets import load_resnet50  # torchvision takes as long to load as torch

    return load_resnet50(path)


def _r3d18(path: Path) -> nn.Module:
    from .torchvision_resnets import load_r3d18

    return load_r3d18(path)


_LOADERS: Mapping[str, Callable[[Path], nn.Module]] = {
    "efficientnet_lite0": load_efficientnet_lite0,
    "resnet50": _resnet50,
    "i3d": load_i3d,
    "r3d18": _r3d18,
    "resnet34_3d": load_resnet34_3d,
}


def load_network(backbone: Backbone, folder: Path) -> nn.Module:
    """Load the network of a frame or motion backbone, for inference on the CPU.

    Args:
        backbone: One with a single file of weights.
        folder: Holds that file.

    Returns:
        A module from pictures (N, 3, size, size) or clips (N, 3, count, size, size), float
        and scaled by `Backbone.pixels`, to features (N, dim).

    Raises:
        WeightsError: The file does not hold this network.
    """
    assert backbone.weights is not None
    (file,) = backbone.weights.files
    if name := timm_name(backbone):
        from .timm_network import load_timm

        return load_timm(name, folder / file.name)
    return _LOADERS[backbone.network](folder / file.name)
