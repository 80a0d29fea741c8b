"""Any network of timm as a frame backbone: its own configuration, its own weights.

timm describes the training input of every network: its size, the mean and standard deviation of
pixels, and how pictures are resized and cropped.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import huggingface_hub
import safetensors.torch
import timm
import timm.data
import torch
from torch import nn

from ....schemas.backbones import (
    FRAMES_PER_SEGMENT,
    Backbone,
    timm_backbone_name,
    timm_files,
)
from ....schemas.errors import ModelError, WeightsError
from ....schemas.modality import FrameSampling, Modality, PixelScale
from ....schemas.weights import PublishedFiles
from .checkpoint import read_checkpoint, refuse


def describe(name: str) -> Backbone:
    """Describe a timm network as a backbone, without downloading anything.

    Args:
        name: timm's name of the network, perhaps with the tag of its weights.

    Raises:
        ModelError: timm has no such network, or it does not take square RGB pictures.
    """
    if ":" in name:  # hf-hub: and local-dir: would load from elsewhere
        raise ModelError(
            f"{name!r} is no name of timm's own; give one without a colon, and its weights with "
            "'vidsim models add timm:NAME FILE'."
        )
    try:
        with torch.device("meta"):  # shapes alone: a large network takes no memory
            network: Any = timm.create_model(name, num_classes=0)
    except RuntimeError as error:
        raise ModelError(
            f"timm has no network called {name!r}; python -c "
            '"import timm; print(timm.list_models())" lists them.'
        ) from error
    config = timm.data.resolve_model_data_config(network)
    channels, height, width = config["input_size"]
    mode = config["crop_mode"]
    if (channels, height) != (3, width) or mode not in ("center", "squash"):
        raise ModelError(
            f"timm's {name} takes pictures of {channels}x{height}x{width} ({mode}), vidsim makes "
            "square RGB ones; choose another network."
        )
    resized = math.floor(height / config["crop_pct"])  # as timm.data.create_transform does
    published = network.pretrained_cfg
    hub = published.get("hf_hub_id")
    dim = int(getattr(network, "head_hidden_size", None) or network.num_features)
    own_name = timm_backbone_name(name)
    return Backbone(
        name=own_name,
        modality=Modality.FRAME,
        dim=dim,
        similarity="cosine",
        rows=f"one a frame, {FRAMES_PER_SEGMENT} a segment",
        frames=FrameSampling(
            count=FRAMES_PER_SEGMENT,
            size=height,
            fit="crop",
            resize=resized if mode == "center" else (resized, resized),
        ),
        pixels=PixelScale(mean=_to_bytes(config["mean"]), std=_to_bytes(config["std"])),
        weights=PublishedFiles(
            folder=own_name,
            files=timm_files(name),
            licence=published.get("license") or "see its model card",
            source=f"timm {name}",
            how=f"https://huggingface.co/{hub}" if hub else published.get("url") or "its author",
        ),
        about=f"{name} of timm: what is in the picture",
    )


def _to_bytes(numbers: tuple[float, float, float]) -> tuple[float, float, float]:
    red, green, blue = numbers
    return red * 255, green * 255, blue * 255


def published_at(name: str) -> tuple[Path | None, str]:
    """Locate a timm network's weights: on this disk if its hub's cache has them, and online.

    Raises:
        WeightsError: timm publishes none.
    """
    published = timm.get_pretrained_cfg(name)
    if published is not None and published.hf_hub_id:
        repository, file = published.hf_hub_id, published.hf_hub_filename or "model.safetensors"
        cached = huggingface_hub.try_to_load_from_cache(repository, file)
        # The result may also be a sentinel: the file is known not to be online.
        here = Path(cached) if isinstance(cached, str) else None
        return here, huggingface_hub.hf_hub_url(repository, file)
    if published is not None and published.url:
        return None, published.url
    raise WeightsError(f"timm publishes no weights of {name}")


def load_timm(name: str, path: Path) -> nn.Module:
    """Load a timm network with the weights in `path`, without its classifier.

    Args:
        name: timm's name.
        path: A safetensors file, or one that ``torch.save`` wrote (read as data alone), in
            any layout that timm itself reads.

    Returns:
        The network in eval mode, on the CPU, without gradients; it returns pooled features
        (N, dim).

    Raises:
        WeightsError: The file cannot be read, or a tensor is missing, left over or misshapen.
    """
    what = f"timm's {name}"
    state = _read_safetensors(path, what) if _is_safetensors(path) else _read_torch(path, what)
    for key, tensor in state.items():
        if isinstance(tensor, torch.Tensor) and tensor.is_complex():  # timm would cut it to size
            refuse(path, what, f"{key} holds complex numbers")
    network: Any
    try:
        # timm itself knows how to read older files of this network.
        overlay = {"state_dict": state, "source": "", "custom_load": False}
        network = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay)
    except Exception as error:
        refuse(path, what, _first_misfit(str(error)), error)
    network.reset_classifier(0)
    result: nn.Module = network.requires_grad_(False).eval()
    return result


def _read_safetensors(path: Path, what: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = safetensors.torch.load_file(path)
    except Exception as error:  # a damaged file may raise almost anything
        refuse(path, what, f"{type(error).__name__} while reading", error)
    return found


def _read_torch(path: Path, what: str) -> dict[str, Any]:
    found = read_checkpoint(path, what)
    for key in ("state_dict_ema", "model_ema", "state_dict", "model"):  # as timm's training saves
        if isinstance(found.get(key), dict):
            found = found[key]
            break
    return {str(name).removeprefix("module."): tensor for name, tensor in found.items()}


def _is_safetensors(path: Path) -> bool:
    # Eight bytes of length, then JSON; a file of torch.save begins with PK or a pickle.
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


def _first_misfit(said: str) -> str:
    """Return the first of the mismatches that PyTorch lists."""
    lines = [line.strip().rstrip(".") for line in said.splitlines() if line.strip()]
    named = lines[1] if len(lines) > 1 else lines[0] if lines else "it does not fit"
    return re.sub(r'("[^"]+"),.*', r"\1 and more", named)[:200]
