"""Checkpoints that PyTorch wrote: read as data, and every tensor held against the network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor, nn

from ....schemas.errors import WeightsError

_Network = TypeVar("_Network", bound=nn.Module)

_COUNTER = "num_batches_tracked"
"""What batch normalisation counts in training; old checkpoints lack it, inference has no use."""


def read_checkpoint(path: Path, what: str) -> dict[str, Any]:
    """The dictionary in a file that ``torch.save`` wrote; nothing in it is run.

    Raises:
        WeightsError: It cannot be read, holds more than data, or holds no dictionary.
    """
    try:
        with path.open("rb") as file:  # opened here, since torch.load goes by a path's suffix
            found = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises almost anything on a damaged file
        refuse(path, what, f"{type(error).__name__} while reading", error)
    if not isinstance(found, Mapping):
        refuse(path, what, "no dictionary of tensors")
    return {str(name): value for name, value in found.items()}


def unfilled(build: Callable[[], _Network]) -> _Network:
    """What `build` builds, its tensors allocated and nothing more, to be filled from a file.

    For networks of 20 million parameters and more: random weights, which PyTorch draws
    otherwise, take longer than reading the published ones, but a first call takes 0.3 s.
    """
    with torch.device("meta"):
        network = build()
    return network.to_empty(device="cpu")


def fill(network: nn.Module, state: Mapping[str, Any], path: Path, what: str) -> None:
    """Copies the tensors of a checkpoint into `network`, and readies it for inference.

    Args:
        network: Its own names of parameters and buffers are the published ones.
        state: All that the file holds, by those names.
        path: The file, for what is said on an error.
        what: The network, for a person.

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
    """Raises WeightsError: the file is not what it should be."""
    raise WeightsError(
        f"{path} does not hold {what} ({why}); get it again from where 'vidsim models list' says."
    ) from cause
