"""Clips a second and cosines by precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from vidsim.ingest.extract import frame, motion

from .common import Bench, attempt
from .ingesting import clips_again, many_decoders, measure_ingest
from .media import backbones_of, load_media
from .step_embeddings import cosine, embed


@dataclass(frozen=True)
class Precision:
    """How networks are to compute.

    Attributes:
        name: For a person.
        tf32: Whether products of float32 may be rounded to TF32.
        dtype: What autocast computes in, None for float32; False for whatever vidsim takes.
    """

    name: str
    tf32: bool
    dtype: torch.dtype | bool | None = None


AS_IT_IS = Precision("as it is", True, False)
_SMALL = (AS_IT_IS, Precision("float32", False))
_FULL = (
    *_SMALL,
    Precision("TF32", True),
    Precision("bfloat16", True, torch.bfloat16),
    Precision("float16", True, torch.float16),
)


def measure(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Ingests in each precision, and compares embeddings with the CPU's, where there are some."""
    folder = clips_again(bench, 1 if bench.small else 4)
    media = load_media(bench, 4 if bench.small else 24)
    saved = bench.work / "reference.npz"
    reference = dict(np.load(saved)) if saved.is_file() else {}
    for precision in _SMALL if bench.small else _FULL:

        def figures(precision: Precision = precision) -> dict[str, Any]:
            with computing(precision, bench.device):
                found = measure_ingest(bench, folder, many_decoders())
                for modality, backbone in backbones_of(bench).items():
                    if modality.value in reference and modality.value != "color":
                        rows = embed(backbone, [media], bench.device)
                        least = float(cosine(reference[modality.value], rows).min())
                        found[f"{modality.value}_cosine"] = least
            return found

        yield precision.name, attempt(figures)


@contextmanager
def computing(precision: Precision, device: str) -> Iterator[None]:
    """Has both picture networks compute so.

    Nothing of vidsim takes a precision: each network has the one that was measured to be right.
    So `inference`, by which the extractors choose it, is put in other hands meanwhile.
    """
    if precision.dtype is False:
        yield
        return
    dtype = None if isinstance(precision.dtype, bool) else precision.dtype

    @contextmanager
    def inference(on: torch.device, reduced: bool = False) -> Iterator[None]:
        autocast = torch.autocast(on.type, dtype or torch.bfloat16, enabled=dtype is not None)
        with torch.inference_mode(), autocast:
            yield

    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = precision.tf32
    try:
        with (
            patch.object(frame, "inference", inference),
            patch.object(motion, "inference", inference),
        ):
            yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before
