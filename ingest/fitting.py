"""Weights got by hand: added only where the network that they should hold can be loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from ..schemas.errors import WeightsError
from ..schemas.modality import Backbone, Modality
from . import weights
from .child import Child

_LOAD_SECONDS = 120.0
"""How long TensorFlow and a network may take to load."""


def add_checked(backbone: Backbone, files: Sequence[Path]) -> Path:
    """Adds the weight files of `backbone` to the cache, if they hold its network.

    Args:
        backbone: One whose files are published at an address of their own.
        files: All of its files.

    Returns:
        The folder that now holds them. On an error nothing in it has changed.

    Raises:
        WeightsError: They are not the published files, or a tensor is missing, left over or
            misshapen; the sentence says which.
    """
    fits = _check_audio if backbone.modality is Modality.AUDIO else _check_picture
    return weights.add(backbone, files, partial(fits, backbone))


def _check_picture(backbone: Backbone, folder: Path) -> None:
    from .networks.loading import load_network

    load_network(backbone, folder)


def _check_audio(backbone: Backbone, folder: Path) -> None:
    """As above, in a process of TensorFlow's own."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    worker = f"{__package__}.audio_worker:main"
    with closing(Child(worker, memory_limit_mb=None, env=environment, name="audio")) as child:
        fields = {"network": backbone.name, "weights": os.fspath(folder), "threads": 1}
        child.send("load", fields, {})
        message = child.receive(_LOAD_SECONDS)
    if message.kind != "ready":
        reason = str(message.fields.get("reason", message.kind))
        raise WeightsError(reason.removeprefix("WeightsError: "))
