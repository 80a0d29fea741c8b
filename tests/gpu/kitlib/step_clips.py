"""Generates clips of UCF101's size, where no real ones were received."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .common import Bench
from .media import write_clip

_COUNT = 24


def measure(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Writes them."""
    for i in range(_COUNT):
        path = bench.clips / f"class{i % 4}" / f"generated_{i:02}.avi"
        write_clip(path, 7, (320, 240), i, "mpeg4")
    yield "clips", _COUNT
