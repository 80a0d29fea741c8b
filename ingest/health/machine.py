"""The machine: its CPU, a GPU, the FFmpeg that PyAV brings, and room on its disks."""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...schemas.settings import settings
from ..decode.ffmpeg import OLDEST_WITHOUT_KNOWN_HOLES, is_older
from ..system.cpu import describe_cpu, motion_numbers
from ..system.sandbox import available
from .finding import Finding
from .imports import Imported

_NUMBERS = {"integers": "8-bit integers", "bfloat16": "bfloat16", "winograd": "float32"}

_ENOUGH_BYTES = 2_000_000_000
"""Free space from which nothing is said: weights of the default preset are 0.1 GB, and an hour of
video takes some 10 MB."""

_LEAST_BYTES = 100_000_000
"""Free space below which weights cannot be fetched, nor much be stored."""

_DRIVER = Path("/proc/driver/nvidia/version")


def cpu_finding() -> Finding:
    """Say how fast the CPU can be."""
    cpu = describe_cpu()
    features = f" ({' '.join(cpu.features)})" if cpu.features else ""
    numbers = _NUMBERS[motion_numbers(cpu.features)]
    said = f"{cpu.name}, {cpu.cores} cores{features}; motion in {numbers}"
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    if x86 and "avx2" not in cpu.features:
        slow = (
            "no AVX2 is told of: networks will be slow; in a virtual machine pass the host's CPU on"
        )
        return Finding("CPU", "advice", said, slow)
    if cpu.cores == 1:
        return Finding("CPU", "advice", said, "give it a second core: decoding waits for networks")
    return Finding("CPU", "fine", said)


def gpu_finding(imported: Mapping[str, Imported]) -> Finding:
    """Say whether torch sees a GPU, and whether it should."""
    told = imported.get("cuda")
    if told is None or told.wrong:
        why = told.wrong if told else "torch is not installed"
        return Finding("GPU", "advice", f"it is not known ({why})", "mend torch first, above")
    seen: dict[str, Any] = json.loads(told.fact)
    wanted = settings().device == "cuda"
    if devices := seen.get("devices"):
        named = [f"{d['name']}, {d['memory_bytes'] / 1e9:.0f} GB" for d in devices]
        return Finding("GPU", "fine", f"{'; '.join(named)} (CUDA {seen['built_for']})")
    if not seen["built_for"]:
        said, step = "torch is built for the CPU alone", "install torch built for CUDA to use a GPU"
    else:
        said, step = f"torch (CUDA {seen['built_for']}) sees none", "update NVIDIA's driver"
    if wanted:
        return Finding("GPU", "wrong", f"{said}, and VIDSIM_DEVICE=cuda", f"{step}, or unset that")
    if _DRIVER.exists():
        return Finding("GPU", "advice", f"{said}, though there is a driver", step)
    return Finding("GPU", "fine", f"none; networks run on the CPU ({said})")


def ffmpeg_finding(imported: Mapping[str, Imported]) -> Finding:
    """Compare the FFmpeg that PyAV brings with the oldest that has no known hole."""
    told = imported.get("ffmpeg")
    if told is None or told.wrong:
        why = told.wrong if told else "PyAV is not installed"
        return Finding("FFmpeg", "wrong", f"it cannot be asked ({why})", "mend PyAV (av), above")
    oldest = ".".join(map(str, OLDEST_WITHOUT_KNOWN_HOLES))
    older = is_older(told.fact)
    if older is None:
        said = f"{told.fact}, no release"
        return Finding("FFmpeg", "advice", said, f"see that it is as new as {oldest}")
    if older:
        step = (
            f"pip install --upgrade av, which brings {oldest} or newer; decode no strangers' files"
        )
        return Finding("FFmpeg", "advice", f"{told.fact} has holes that are known", step)
    return Finding("FFmpeg", "fine", f"{told.fact} (oldest without a known hole: {oldest})")


def confinement_finding() -> Finding:
    """Say whether the kernel has all that decoders are confined with."""
    kernel = available()
    if kernel.whole:
        said = f"decoders have no network, files or programs (seccomp, Landlock {kernel.landlock})"
        return Finding("kernel", "fine", said)
    parts = {"no_new_privs": kernel.no_new_privileges, "seccomp": kernel.seccomp}
    lacking = [
        name for name, there in {**parts, "Landlock": kernel.landlock > 0}.items() if not there
    ]
    said = f"it does not give {', '.join(lacking)}: a decoder that a file takes over may do more"
    step = "ingest files of strangers on Linux 5.13 or newer, where a container permits these"
    return Finding("kernel", "advice", said, step)


def disk_findings(folders: Mapping[str, Path]) -> Iterator[Finding]:
    """Yield a finding per disk that holds some of `folders`, named for people."""
    disks: dict[int, tuple[Path, list[str]]] = {}
    for name, folder in folders.items():
        there = next(p for p in (folder, *folder.parents) if os.path.exists(p))
        disks.setdefault(os.stat(there).st_dev, (there, []))[1].append(name)
    for there, names in disks.values():
        free = shutil.disk_usage(there).free
        said = f"{free / 1e9:.1f} GB free for {' and '.join(names)} ({there})"
        if free < _LEAST_BYTES:
            yield Finding("disk", "wrong", said, "free some space, or name another folder")
        elif free < _ENOUGH_BYTES:
            yield Finding("disk", "advice", said, "free some space before you ingest much")
        else:
            yield Finding("disk", "fine", said)
