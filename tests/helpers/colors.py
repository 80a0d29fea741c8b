"""A home of a few plain clips, embedded by colour: quick to make, and it can be searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vidsim.ingest.extract.embed import EmbedOptions
from vidsim.ingest.pipeline import ingest
from vidsim.ingest.shards.home import Place
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones

from .clips import write_clip

RED, GREEN, BLUE = (200, 30, 30), (30, 200, 30), (30, 30, 200)
COLORS = {"red": RED, "green": GREEN, "blue": BLUE}

_TIMES_S = [n / 10 for n in range(20)]


def plain(color: tuple[int, int, int]) -> np.ndarray:
    """One colour with a texture, as a flat frame would be none."""
    picture = np.full((48, 64, 3), color, np.uint8)
    picture[::8] //= 2
    return picture


def write_plain(path: Path, color: tuple[int, int, int], times: Sequence[float] = _TIMES_S) -> Path:
    """Writes a clip of one colour."""
    return write_clip(path, times=times, images=[plain(color)], pix_fmt="bgr0")


def home_of_colors(
    folder: Path, colors: Mapping[str, tuple[int, int, int]] = COLORS, library: str = "lib"
) -> Path:
    """Makes clips in ``folder/lib`` and a home in ``folder/home`` that holds them by colour."""
    (folder / library).mkdir(parents=True)
    for name, color in colors.items():
        write_plain(folder / library / f"{name}.mkv", color)
    options = EmbedOptions(choose_backbones([Modality.COLOR]), device="cpu", workers=1)
    ingest(folder / library, Place(folder / "home"), options, Silent())
    return folder / "home"
