"""PyTorch checkpoints: read as data, with every tensor checked against the network."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor, nn

from ....schemas.errors import WeightsError

_Network = TypeVar("_Network", bound=nn.Module)

_COUNTER = "num_batches_tracked"
"""Batch normalisation's training counter; old checkpoints lack it, inference ignores it."""


def read_checkpoint(path: Path, what: str) -> dict[str, Any]:
    """Read the dictionary in a file that ``torch.save`` wrote, without running any of it.

    Raises:
        WeightsError: It cannot be read, holds more than data, or holds no dictionary.
    """
    try:
        # Opened here, since torch.load goes by a path's suffix; it warns of protocols of pickle.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises almost anything on a damaged file
        refuse(path, what, f"{type(error).__name__} while reading", error)
    if not isinstance(found, Mapping):
        refuse(path, what, "no dictionary of tensors")
    return {str(name): value for name, value in found.items()}


def unfilled(build: Callable[[], _Network]) -> _Network:
    """Build a network with allocated but uninitialised tensors, to be filled from a file.

    It is for networks of 20 million parameters and more: PyTorch's random initialisation takes
    longer than reading the published weights, but a first call takes 0.3 s.
    """
    with torch.device("meta"):
        network = build()
    return network.to_empty(device="cpu")


def fill(network: nn.Module, state: Mapping[str, Any], path: Path, what: str) -> None:
    """Copy the tensors of a checkpoint into `network`, and prepare it for inference.

    Args:
        network: Its parameters and buffers have the published names.
        state: The file's content, by those names.
        path: The file, for error messages.
        what: The network's name, for error messages.

    Raises:
        WeightsError: A tensor is missing, left over, misshapen or not of real numbers.
    """
    wanted = {n: t for n, t in network.state_dict().items() if not n.endswith(_COUNTER)}
    given = {n: t for n, t in state.items() if not n.endswith(_COUNTER)}
    for name, tensor in wanted.items():
        found = given.pop(name, None)
        if not isinstance(found, Tensor) or not found.is_floating_point():
            refuse(path, what, f"no tensor {name}")
        if found.shape != tensor.shape:
            refuse(path, what, f"{name} is {tuple(found.shape)}, not {tuple(tensor.shape)}")
        tensor.copy_(found)
    if given:
        refuse(path, what, f"{len(given)} tensors too many, such as {next(iter(given))}")
    network.requires_grad_(False).eval()


def refuse(path: Path, what: str, why: str, cause: Exception | None = None) -> NoReturn:
    """Raise WeightsError that the file is not what it should be."""
    raise WeightsError(
        f"{path} does not hold {what} ({why}); get it again from where 'vidsim models list' says."
    ) from cause
