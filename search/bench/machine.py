"""Description of the machine that a benchmark ran on, to put its numbers in context."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ...schemas.backbones import Backbone
from .results import Machine

_PACKAGES = (
    "torch", "tensorflow", "tensorflow-cpu", "faiss-cpu", "faiss-gpu", "av", "pymilvus"
)  # fmt: skip

_FEATURES = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""CPU features that determine the speed of networks, by their names in Linux."""


def describe_machine() -> Machine:
    """Describe this machine and its current load."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    about = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    flags = about.get("flags", "").split()
    return Machine(
        cpu=about.get("model name") or platform.processor() or platform.machine(),
        features=[feature for feature in _FEATURES if feature in flags],
        cores=len(os.sched_getaffinity(0)),
        load=os.getloadavg()[0],
        versions={name: found for name in _PACKAGES if (found := _version(name))},
    )


def cpu_paths(backbones: Iterable[Backbone]) -> dict[str, str]:
    """Return how this CPU computes those networks that it may compute in several ways, by name."""
    names = {backbone.name: backbone.network for backbone in backbones}
    if not {"i3d", "efficientnet_lite0"} & set(names.values()):
        return {}
    import torch  # only after the runs, whose memory it would share

    from ...ingest.extract.motion import i3d_path
    from ...ingest.extract.pixels import computes_bfloat16

    cpu = torch.device("cpu")
    paths = {}
    for name, network in names.items():
        if network == "efficientnet_lite0":
            paths[name] = "bfloat16" if computes_bfloat16(cpu) else "float32"
        elif network == "i3d":
            paths[name] = i3d_path(cpu)
    return paths


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
