"""Description of the machine that a benchmark ran on, to put its numbers in context."""

from __future__ import annotations

import os
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

from ...ingest.system.cpu import describe_cpu
from ...schemas.backbones import Backbone
from .results import Machine

_PACKAGES = (
    "torch", "tensorflow", "tensorflow-cpu", "faiss-cpu", "faiss-gpu", "av", "pymilvus"
)  # fmt: skip


def describe_machine() -> Machine:
    """Describe this machine and its current load."""
    cpu = describe_cpu()
    return Machine(
        cpu=cpu.name,
        features=list(cpu.features),
        cores=cpu.cores,
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
