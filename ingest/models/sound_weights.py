"""Weights of a sound network for torch, of a checkpoint that only TensorFlow reads.

TensorFlow reads it once, in a process of its own; from then on the cache has the arrays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ...schemas.backbones import Backbone
from ...schemas.errors import WeightsError, WorkerError
from ..system.sandbox import Confinement
from ..system.worker_process import Child
from . import audio_worker
from .audio_worker import START_SECONDS, environment
from .networks.yamnet_layers import weight_shapes
from .prepared import prepared

_PREPARATION = "arrays-1"
"""Raise its number whenever `networks.yamnet.read_weights` gives something else."""


def yamnet_weights(backbone: Backbone, folder: Path) -> Mapping[str, Tensor]:
    """Return YAMNet's weights, by the names and of the shapes of `weight_shapes`.

    Args:
        backbone: YAMNet.
        folder: Holds its published checkpoint, which has been checked.

    Raises:
        WeightsError: The checkpoint cannot be read, or a variable is missing or misshapen.
        WorkerError: TensorFlow cannot be started.
    """
    return prepared(backbone, _PREPARATION, partial(_read, folder))


def _read(folder: Path) -> dict[str, Tensor]:
    # Its module, not this one: torch and TensorFlow in one process crash it.
    child = Child(
        f"{audio_worker.__name__}:send_weights",
        None,
        environment("cpu"),
        name="audio",
        confinement=Confinement.COMPUTING,
    )
    try:
        child.send("read", {"weights": os.fspath(folder)})
        message = child.receive(START_SECONDS)
    finally:
        child.close(grace_s=0)  # TensorFlow takes a second to exit by itself
    if message.kind != "weights":
        reason = str(message.fields.get("reason", message.kind))
        if not reason.startswith("WeightsError: "):
            raise WorkerError(
                f"TensorFlow, which reads YAMNet's weights once, failed ({reason}); "
                "run again with --modalities color,frame,motion to go on without sound."
            )
        raise WeightsError(reason.removeprefix("WeightsError: "))
    found = {name: torch.from_numpy(array.copy()) for name, array in message.arrays.items()}
    assert {name: tuple(tensor.shape) for name, tensor in found.items()} == weight_shapes()
    return found
