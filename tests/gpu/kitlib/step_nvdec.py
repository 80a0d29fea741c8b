"""Large videos: decoded by the CPU and by the GPU, one at a time and as an ingest does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from av.codec.hwaccel import HWAccel

from vidsim.ingest.decode.container import open_local
from vidsim.ingest.decode.events import SegmentMedia
from vidsim.ingest.decode.segments import DecodeRequest, decode

from .common import Bench, attempt
from .ingesting import many_decoders, measure_ingest
from .media import FPS, backbones_of, link_clips, write_clip


def measure(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Decodes a generated clip of 1920x1080 pixels, H.264, with NVDEC and without."""
    seconds = 2 if bench.small else 20
    path = bench.work / "large" / "large.mp4"
    write_clip(path, seconds, (1920, 1080), 0, "libx264")
    yield "clip", {"seconds": seconds, "fps": FPS, "mb": path.stat().st_size / 1e6}
    ways = (False, True) if bench.device == "cuda" else (False,)
    if bench.device == "cuda":
        yield "hardware", attempt(lambda: _hardware(path))
    else:
        yield "left out", "NVDEC needs a CUDA device"
    shown: dict[bool, list[SegmentMedia]] = {}
    for nvdec in ways:
        name = "NVDEC" if nvdec else "CPU"
        yield (
            f"one decoder, {name}",
            attempt(lambda n=nvdec: _decode(bench, path, n, shown)),  # type: ignore[misc]
        )
    if len(shown) == 2:
        yield "difference", _difference(shown)
    folder = link_clips([path], 2 if bench.small else 16, bench.work / "large-again")
    for nvdec in ways:
        for workers in (2,) if bench.small else (4, many_decoders()):
            figures = attempt(
                lambda n=nvdec, w=workers: measure_ingest(  # type: ignore[misc]
                    bench, folder, w, nvdec=n
                )
            )
            if "clips_per_s" in figures:
                figures["frames_per_s"] = figures["clips_per_s"] * seconds * FPS
            yield f"ingest, {workers} decoders, {'NVDEC' if nvdec else 'CPU'}", figures


def _hardware(path: Path) -> dict[str, Any]:
    """Whether a GPU really takes the clip: it may fall back to the CPU without a word."""
    with open_local(str(path), HWAccel("cuda", allow_software_fallback=True)) as container:
        context = container.streams.video[0].codec_context
        return {"is_hwaccel": bool(context.is_hwaccel)}


def _decode(
    bench: Bench, path: Path, nvdec: bool, shown: dict[bool, list[SegmentMedia]]
) -> dict[str, Any]:
    frames = {m.value: b.frames for m, b in backbones_of(bench).items() if b.frames}
    began = time.perf_counter()
    events = list(decode(DecodeRequest(str(path), frames, audio=False, nvdec=nvdec)))
    spent = time.perf_counter() - began
    shown[nvdec] = [event for event in events if isinstance(event, SegmentMedia)]
    seconds = shown[nvdec][-1].segment.end_s
    return {"seconds": spent, "frames_per_s": FPS * seconds / spent}


def _difference(shown: dict[bool, list[SegmentMedia]]) -> dict[str, float]:
    """Mean difference of the pixels, by modality, of 256 levels."""
    found = {}
    for name in shown[False][0].frames:
        pairs = [(a.frames[name], b.frames[name]) for a, b in zip(shown[False], shown[True])]
        found[name] = float(np.mean([np.abs(a.astype(int) - b).mean() for a, b in pairs]))
    return found
