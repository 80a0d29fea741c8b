"""Clips a second by number of decoders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .common import Bench, attempt, cores
from .ingesting import clips_again, measure_ingest


def measure(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Ingests the same clips with more and more of them."""
    counts = (1, 2) if bench.small else (2, 4, 8, 12, 16, 24)
    folder = clips_again(bench, 1 if bench.small else 4)
    for count in counts:
        if count <= 1.5 * cores():
            yield (
                f"{count} decoders",
                attempt(lambda n=count: measure_ingest(bench, folder, n)),  # type: ignore[misc]
            )
