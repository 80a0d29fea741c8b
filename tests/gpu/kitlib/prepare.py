"""``kit prepare``: gathers packages, weights and clips into parts, where vidsim is installed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from vidsim.ingest.models.weights import ensure
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones
from vidsim.schemas.settings import settings

from .common import MODALITIES, REPOSITORY
from .parts import Item, items_of, pack, write_parts
from .wheels import LEFT_OUT, download, read_lock, read_requirements

CLIPS = "ucf101_mini"

_MANIFEST_BYTES = 100_000
"""Room in a part for its manifest, five times what some hundred files take."""


def prepare(target: Path, clips: Path | None, limit_mb: float) -> list[Path]:
    """Writes the parts to ``target/part-N``; says on stdout what they hold.

    Args:
        target: A folder, made if it is not there.
        clips: A folder of class folders of clips; None for the test data's `CLIPS`.
        limit_mb: Size of a part in MB, at most.

    Raises:
        KitError: A package cannot be fetched, or a file is larger than a part may be.
        WeightsError: Weights cannot be fetched.
    """
    notes = dict(LEFT_OUT)
    target.mkdir(parents=True, exist_ok=True)
    items = [*_packages(target / "wheels"), *_weights()]
    found = _clips(clips or default_clips())
    if not found:
        notes["clips"] = f"no clips in {clips or CLIPS}: generated ones are measured"
    items += found
    folders = write_parts(pack(items, int(limit_mb * 1e6) - _MANIFEST_BYTES), target, notes)
    shutil.rmtree(target / "wheels")
    for folder in folders:
        files = [path for path in folder.rglob("*") if path.is_file()]
        mb = sum(path.stat().st_size for path in files) / 1e6
        print(f"{folder}: {mb:.1f} MB, {len(files)} files")
    for name, why in notes.items():
        print(f"left out: {name} ({why})")
    return folders


def default_clips() -> Path:
    """The clips of the test data: VIDSIM_TEST_DATA, or ../shared/data beside the repository."""
    beside = REPOSITORY.parent / "shared" / "data"
    return Path(os.environ.get("VIDSIM_TEST_DATA", beside)) / CLIPS


def _packages(folder: Path) -> list[Item]:
    roots = read_requirements(REPOSITORY / "pyproject.toml")
    wheels = download(roots, read_lock(REPOSITORY / "requirements.lock"), folder)
    return items_of(folder, "wheels", wheels)


def _weights() -> list[Item]:
    """The files of every network, laid out as VIDSIM_CACHE has them."""
    cache = settings().cache
    items: list[Item] = []
    for backbone in choose_backbones(Modality(name) for name in MODALITIES).values():
        if backbone.weights is not None:
            folder = ensure(backbone)
            files = [folder / file.name for file in backbone.weights.files]
            items += items_of(cache, "cache", files)
    return items


def _clips(folder: Path) -> Sequence[Item]:
    files = [path for path in folder.glob("*/*") if path.is_file()]
    return items_of(folder, f"data/{CLIPS}", files)
