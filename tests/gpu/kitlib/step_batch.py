"""Clips a second by size of a batch, with decoders enough."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .common import Bench, attempt
from .ingesting import clips_again, many_decoders, measure_ingest


def measure(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Ingests the same clips in larger and larger batches."""
    sizes = (1, 4) if bench.small else (8, 16, 32, 64, 128)
    folder = clips_again(bench, 2 if bench.small else 8)
    for size in sizes:
        yield (
            f"batches of {size}",
            attempt(
                lambda n=size: measure_ingest(  # type: ignore[misc]
                    bench, folder, many_decoders(), batch=n
                )
            ),
        )
