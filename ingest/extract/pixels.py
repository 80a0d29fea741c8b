"""Shared by the image networks: their input, device and precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch

from ...schemas.modality import PixelScale
from ...schemas.settings import settings


def to_device(pixels: npt.NDArray[np.uint8], device: torch.device) -> torch.Tensor:
    """Copy `pixels` to `device`; to a GPU asynchronously from pinned memory."""
    tensor = torch.from_numpy(pixels)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def to_network_input(
    pixels: npt.NDArray[np.uint8], scale: PixelScale, device: torch.device
) -> torch.Tensor:
    """Scale uint8 pictures (n, h, w, 3) or clips (n, t, h, w, 3) to (n, 3, [t,] h, w) float32.

    The result is in channels-last memory order, as the pixels already are.
    """
    mean, std = (torch.tensor(v, device=device) for v in (scale.mean, scale.std))
    batch = to_device(pixels, device).float().sub_(mean).div_(std)
    return batch.movedim(-1, 1)


@contextmanager
def inference(device: torch.device, reduced: bool = False) -> Iterator[None]:
    """Enter inference mode, in float32 unless `reduced` to bfloat16, which `device` computes.

    `reduced` is for I3D, whose embeddings then keep a cosine of 0.9999 to float32 on real clips.
    """
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=reduced):
        yield


def computes_bfloat16(device: torch.device) -> bool:
    """Return whether `device` has instructions for bfloat16, whose emulation is slow, to use."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return may_reduce(device) and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def may_reduce(device: torch.device) -> bool:
    """Return whether networks on `device` may compute in fewer bits than float32's."""
    return device.type != "cpu" or settings().cpu_path == "auto"
