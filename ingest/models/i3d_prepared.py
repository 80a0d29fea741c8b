"""I3D in 8-bit integers, whose weights are quantised once and then read from the cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...schemas.backbones import Backbone
from .networks.i3d import load_i3d
from .networks.i3d_int8 import I3DInt8, prepare
from .prepared import prepared

_PREPARATION = "int8-1"
"""Raise its number whenever `networks.i3d_int8.prepare` gives something else."""


def load_i3d_int8(backbone: Backbone, folder: Path, wide: torch.dtype) -> I3DInt8:
    """Load I3D in 8-bit integers.

    Args:
        backbone: I3D.
        folder: Holds its published file, which has been checked.
        wide: Dtype of the unquantised parts, as of `I3DInt8`.

    Raises:
        WeightsError: The file does not hold I3D.
    """
    assert backbone.weights is not None
    (file,) = backbone.weights.files

    def make() -> Mapping[str, Tensor]:
        return prepare(load_i3d(folder / file.name))

    return I3DInt8.of_prepared(prepared(backbone, _PREPARATION, make), wide)
