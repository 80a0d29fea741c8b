"""Embeddings of the device against those of the CPU: cosines, which must be 0.999 and more."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vidsim.ingest.decode.events import SegmentMedia
from vidsim.ingest.extract.scheduler import Extraction
from vidsim.schemas.backbones import Backbone
from vidsim.schemas.embedding import FloatArray, unit

from .common import Bench
from .media import backbones_of, load_media

LEAST = 0.999


def measure(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Embeds the same segments twice: on the CPU one at a time, on the device all together."""
    media = load_media(bench, 4 if bench.small else 24)
    yield "clips", len(media)
    reference, low = {}, []
    for modality, backbone in backbones_of(bench).items():
        began = time.perf_counter()
        on_cpu = embed(backbone, [[m] for m in media], "cpu")
        between = time.perf_counter()
        on_device = embed(backbone, [media], bench.device)
        ended = time.perf_counter()
        cosines = cosine(on_cpu, on_device)
        reference[modality.value] = on_cpu
        yield (
            modality.value,
            {
                "backbone": backbone.name,
                "rows": len(cosines),
                "smallest_cosine": float(cosines.min()),
                "mean_cosine": float(cosines.mean()),
                "cpu_s": between - began,
                "device_s": ended - between,
            },
        )
        if cosines.min() < LEAST:
            low.append(f"{backbone.name} has a cosine of {cosines.min():.5f}")
    np.savez(bench.work / "reference.npz", **reference)  # type: ignore[arg-type]
    assert not low, f"less than {LEAST}: {'; '.join(low)}"


def embed(backbone: Backbone, batches: Sequence[Sequence[SegmentMedia]], device: str) -> FloatArray:
    """Rows of segments, embedded in `batches`, (n, dim)."""
    with Extraction({backbone.modality: backbone}, device) as extraction:
        assert extraction.device == device
        found = [e for batch in batches for e in extraction.embed(batch)]
    return np.concatenate([e.rows[backbone.name].vectors for e in found])


def cosine(a: FloatArray, b: FloatArray) -> FloatArray:
    """Of rows (n, dim) with rows (n, dim)."""
    return np.asarray((unit(a) * unit(b)).sum(1), np.float32)
