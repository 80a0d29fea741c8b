"""Makes what was received usable: packages, the import path, the environment of the steps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from .common import REPOSITORY, Bench
from .parts import KitError


def install(into: Path, limit_s: float) -> str:
    """Installs the received wheels to ``into/site``; says in a sentence what it did.

    Raises:
        KitError: No wheel was received, or one cannot be unpacked.
    """
    wheels = sorted((into / "wheels").glob("*.whl"))
    if not wheels:
        raise KitError("No package was received.")
    site, done = into / "site", into / "installed.txt"
    names = "\n".join(wheel.name for wheel in wheels)
    if site.is_dir() and done.is_file() and done.read_text() == names:
        return f"{len(wheels)} packages were installed already"
    shutil.rmtree(site, ignore_errors=True)
    how = "by pip"
    if not _by_pip(wheels, site, limit_s):
        shutil.rmtree(site, ignore_errors=True)
        _by_hand(wheels, site)
        how = "unpacked, for pip failed"
    done.write_text(names)
    return f"{len(wheels)} packages installed {how}"


def _by_pip(wheels: list[Path], site: Path, limit_s: float) -> bool:
    command = [sys.executable, "-P", "-m", "pip", "install", "-q", "--no-index", "--no-deps"]
    command += ["--no-compile", "--no-cache-dir", "--disable-pip-version-check"]
    command += ["--target", str(site), *map(str, wheels)]
    try:
        return not subprocess.run(command, check=False, timeout=limit_s).returncode
    except subprocess.TimeoutExpired:
        return False


def _by_hand(wheels: list[Path], site: Path) -> None:
    """A wheel is a zip file of what belongs to the import path; none here has scripts of use."""
    for wheel in wheels:
        try:
            with zipfile.ZipFile(wheel) as opened:
                opened.extractall(site)
        except (OSError, zipfile.BadZipFile) as error:
            raise KitError(f"{wheel.name} cannot be unpacked ({error}).") from error


def make_environment(into: Path, bench: Bench) -> dict[str, str]:
    """The steps' environment: this one, but for vidsim's settings, and without a network.

    Args:
        into: Where parts were received.
        bench: What steps are told; its folder of clips is called as in the test data.
    """
    source = bench.work / "src"
    source.mkdir(exist_ok=True)
    link = source / "vidsim"  # the repository's root is the package, whatever its folder is called
    link.unlink(missing_ok=True)
    link.symlink_to(REPOSITORY)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("VIDSIM_")}
    path = [str(source), str(into / "site"), str(Path(__file__).resolve().parents[1])]
    path += filter(None, [os.environ.get("PYTHONPATH")])
    return kept | {
        "PYTHONPATH": os.pathsep.join(path),
        "VIDSIM_CACHE": str(into / "cache"),
        "VIDSIM_HOME": str(bench.work / "home"),
        "VIDSIM_TEST_DATA": str(bench.clips.parent),
        "VIDSIM_TEST_DEVICE": bench.device,
        "VIDSIM_TEST_MODALITIES": ",".join(bench.modalities),
        "HF_HUB_OFFLINE": "1",
        "TMPDIR": str(bench.work),
    }
