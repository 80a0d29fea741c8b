"""Which packages to bring: what vidsim needs there, less what the machine has, as wheels."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .parts import KitError

THERE = (
    "certifi",
    "charset-normalizer",
    "filelock",
    "fsspec",
    "grpcio",
    "h5py",
    "hf-xet",
    "httpx",
    "huggingface-hub",
    "hypothesis",
    "idna",
    "iniconfig",
    "jinja2",
    "joblib",
    "matplotlib",
    "narwhals",
    "numpy",
    "opencv-python-headless",
    "packaging",
    "pandas",
    "pillow",
    "pluggy",
    "psutil",
    "pyarrow",
    "pygments",
    "pytest",
    "pytest-timeout",
    "python-dateutil",
    "pyyaml",
    "requests",
    "rich",
    "safetensors",
    "scikit-image",
    "scikit-learn",
    "scipy",
    "setuptools",
    "six",
    "threadpoolctl",
    "timm",
    "torch",
    "torchvision",
    "tqdm",
    "typer",
    "urllib3",
)
"""What an image for PyTorch with the usual packages has, in whatever version. Of what it may have
too, `typing-extensions` and `protobuf` are brought nevertheless: they are small, and pydantic and
pymilvus refuse older ones. grpcio has 7 MB, for which there would have to be one more part."""

LEFT_OUT = {
    "tensorflow": "too large to be brought, so sound is not measured",
    "docker": "only 'vidsim up' needs it",
    "unearth": "only fetches weights, which are brought",
    "google-crc32c": "only AudioSet's record files need it",
    "imagehash": "only 'vidsim duplicates' needs it",
}
"""What vidsim requires and the kit does without, and why."""

MACHINE = {
    "python_version": "3.12",
    "python_full_version": "3.12.3",
    "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "os_name": "posix",
    "sys_platform": "linux",
    "platform_system": "Linux",
    "platform_machine": "x86_64",
    "extra": "",
}
"""The machine that the parts are for, as environment markers call it."""

_GLIBC = (5, 12, 17, 24, 26, 27, 28, 31, 34, 35, 39)
"""Minor versions of glibc 2 that wheels are built for: pip takes a platform by its exact name."""


def read_requirements(pyproject: Path) -> list[str]:
    """What vidsim itself requires on the machine."""
    found = tomllib.loads(pyproject.read_text())["project"]["dependencies"]
    return _needed(found)


def read_lock(lock: Path) -> dict[str, str]:
    """The lines of a lock file by package, without markers, for the machine.

    Args:
        lock: ``name==version ; marker`` lines, each followed by its hashes.

    Raises:
        KitError: There is none.
    """
    if not lock.is_file():
        raise KitError(f"There is no {lock}, which names the versions to bring.")
    blocks = re.sub(r"\\\n\s*", "", lock.read_text()).splitlines()
    pinned: dict[str, str] = {}
    for block in blocks:
        if not block.strip() or block.startswith(("#", "-")):
            continue
        line, *hashes = re.split(r"\s+(?=--hash=)", block.strip())
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(MACHINE):
            exact = f"{requirement.name}{requirement.specifier}"
            pinned[canonicalize_name(requirement.name)] = " ".join([exact, *hashes])
    return pinned


def download(roots: Iterable[str], pinned: Mapping[str, str], target: Path) -> list[Path]:
    """Downloads the wheels of `roots` and of all that they require in turn.

    What they require is read from the wheels themselves, since the versions for the machine may
    be others than those installed here.

    Args:
        roots: Names of packages.
        pinned: What `read_lock` gave.
        target: A folder, made if it is not there. Wheels from an earlier call are not fetched
            again.

    Returns:
        The wheels.

    Raises:
        KitError: A package is not in the lock, or cannot be fetched.
    """
    target.mkdir(parents=True, exist_ok=True)
    wheels: dict[str, Path] = {}
    wanted = {name for name in roots if _brought(name)}
    while wanted - wheels.keys():
        new = sorted(wanted - wheels.keys())
        if unpinned := [name for name in new if name not in pinned]:
            raise KitError(f"The lock does not name {', '.join(unpinned)}; lock anew.")
        _fetch([pinned[name] for name in new], target)
        for name in new:
            wheels[name] = _find(target, name, pinned[name])
            wanted |= {n for n in _required_by(wheels[name]) if _brought(n)}
    return [wheels[name] for name in sorted(wheels)]


def _brought(name: str) -> bool:
    return name not in THERE and name not in LEFT_OUT


def _needed(requirements: Iterable[str]) -> list[str]:
    parsed = [Requirement(line) for line in requirements]
    return [
        canonicalize_name(r.name) for r in parsed if r.marker is None or r.marker.evaluate(MACHINE)
    ]


def _required_by(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as opened:
        (name,) = (n for n in opened.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        metadata = email.message_from_bytes(opened.read(name))
    return _needed(metadata.get_all("Requires-Dist", []))


def _find(folder: Path, name: str, pin: str) -> Path:
    version = pin.split()[0].partition("==")[2]
    for wheel in folder.glob("*.whl"):
        stem = wheel.name.split("-")
        if canonicalize_name(stem[0]) == name and stem[1] == version:
            return wheel
    raise KitError(f"No wheel of {name} {version} came to {folder}.")


def _fetch(pins: Iterable[str], target: Path) -> None:
    """Has pip download wheels for the machine; their hashes are checked by it."""
    lines = target / "wanted.txt"
    lines.write_text("\n".join(pins) + "\n")
    # -P: a pip.py in the current folder is not pip.
    command = [sys.executable, "-P", "-m", "pip", "download", "-q", "--no-deps", "--require-hashes"]
    command += ["--only-binary=:all:", "--python-version", "3.12", "--implementation", "cp"]
    tags = [f"manylinux_2_{minor}_x86_64" for minor in _GLIBC]
    for tag in [*tags, "manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]:
        command += ["--platform", tag]
    done = subprocess.run(
        [*command, "-d", str(target), "-r", str(lines)], capture_output=True, text=True, check=False
    )
    lines.unlink()
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise KitError(f"pip could not download the wheels ({last}).")
