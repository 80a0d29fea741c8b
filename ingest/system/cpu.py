"""The CPU: its name, cores and instructions, and in what numbers networks compute with these."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...schemas.settings import settings

FEATURES = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""CPU features that determine the speed of networks, by their names in Linux."""


@dataclass(frozen=True)
class Cpu:
    """A CPU.

    Attributes:
        name: As it calls itself.
        features: Of `FEATURES`, those that it has; none where the system does not tell.
        cores: That this process may use.
    """

    name: str
    features: tuple[str, ...]
    cores: int


def describe_cpu() -> Cpu:
    """Describe this machine's CPU."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    about = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    flags = about.get("flags", "").split()
    return Cpu(
        name=about.get("model name") or platform.processor() or platform.machine(),
        features=tuple(feature for feature in FEATURES if feature in flags),
        cores=len(os.sched_getaffinity(0)),
    )


def motion_numbers(features: Collection[str]) -> Literal["integers", "bfloat16", "winograd"]:
    """Return how I3D is computed, as `extract.motion.i3d_path` says, without importing torch.

    Args:
        features: Of the CPU, by their names in Linux.
    """
    if settings().cpu_path == "auto":
        if "avx512_vnni" in features:
            return "integers"
        if "avx512f" in features:  # oneDNN's own condition; without avx512_bf16 it is emulated
            return "bfloat16"
    return "winograd"
