"""An ingest as it is: once to load everything, then the clips several times over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .common import Bench, write_json
from .ingesting import clips_again, measure_ingest, slowest_network, slowest_stage

FIGURES = "ingest-figures.json"
"""What the steps that follow look up: which stage is the slowest."""


def measure(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Ingests."""
    yield "first", measure_ingest(bench, clips_again(bench, 1))
    figures = measure_ingest(bench, clips_again(bench, 2 if bench.small else 8))
    write_json(bench.work / FIGURES, figures)
    yield "again", figures
    yield "slowest", {"stage": slowest_stage(figures), "network": slowest_network(figures)}


def read_figures(bench: Bench) -> dict[str, Any]:
    """The figures of the second ingest; {} where that step did not get so far."""
    path = bench.work / FIGURES
    return json.loads(path.read_text()) if path.is_file() else {}
