"""Choice of the device to compute on; torch is loaded only where there may be a GPU."""

from __future__ import annotations

import ctypes
import sys

from ...schemas.errors import ModelError


def choose_device(name: str) -> str:
    """Resolve ``auto``, ``cpu`` or ``cuda`` to a device; ``auto`` prefers an NVIDIA GPU.

    Raises:
        ModelError: ``cuda`` was requested and there is none.
    """
    usable = name != "cpu" and _has_driver()
    if usable:
        import torch

        usable = torch.cuda.is_available()
    if name == "cuda" and not usable:
        raise ModelError("No CUDA device is usable here; run with --device cpu.")
    return "cuda" if usable else "cpu"


def _has_driver() -> bool:
    """Return whether NVIDIA's driver, which CUDA requires, is installed; True if unsure."""
    if not sys.platform.startswith("linux"):
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
