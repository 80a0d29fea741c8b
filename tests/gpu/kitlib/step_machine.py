"""What the machine is, which versions it has, and whether what vidsim requires is met."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .common import REPOSITORY, Bench

_SHOWN = (
    "torch",
    "torchvision",
    "triton",
    "numpy",
    "av",
    "opencv-python-headless",
    "timm",
    "faiss-cpu",
    "faiss-gpu",
    "h5py",
    "pyarrow",
    "pymilvus",
    "milvus-lite",
    "grpcio",
    "protobuf",
    "pydantic",
    "scikit-learn",
)


def measure(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Looks."""
    versions: dict[str, str] = {}
    required: dict[str, list[str]] = {}
    for found in distributions():  # the first of a name is the one that is imported
        name = canonicalize_name(found.metadata["Name"])
        if name not in versions:
            versions[name] = found.version
            required[name] = list(found.requires or ())
    yield "python", sys.version.split()[0]
    yield "versions", {name: versions[name] for name in _SHOWN if name in versions}
    brought = {name for name in required if name in _ours()}
    yield "unmet", [line for name in sorted(brought) for line in _unmet(name, required, versions)]
    yield "memory_gb", round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9)
    from vidsim.search.bench.machine import describe_machine

    yield "cpu", describe_machine().model_dump(include={"cpu", "features", "cores", "load"})
    import torch

    yield "torch", {"version": torch.__version__, "cuda": torch.version.cuda}
    if bench.device == "cuda":
        about = torch.cuda.get_device_properties(0)
        yield (
            "gpu",
            {
                "name": about.name,
                "memory_gb": round(about.total_memory / 1e9),
                "capability": f"{about.major}.{about.minor}",
                "multiprocessors": about.multi_processor_count,
                "driver": _driver(),
                "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
                "bfloat16": torch.cuda.is_bf16_supported(including_emulation=False),
            },
        )


def _ours() -> set[str]:
    """Packages that vidsim names, and those that were brought for them."""
    import tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    named = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    return named | {"pydantic-core", "typing-inspection"}


def _unmet(name: str, required: dict[str, list[str]], versions: dict[str, str]) -> list[str]:
    """What `name` requires in another version than the one here, or that is not here."""
    lines = []
    for line in required[name]:
        needs = Requirement(line)
        if needs.marker is not None and not needs.marker.evaluate({"extra": ""}):
            continue
        here = versions.get(canonicalize_name(needs.name))
        if here is None or not needs.specifier.contains(here, prereleases=True):
            lines.append(f"{name} requires {needs.name}{needs.specifier}, here is {here}")
    return lines


def _driver() -> str:
    try:
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"unknown ({error})"
