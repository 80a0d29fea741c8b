"""The growth of a library's cost with its videos, and how many videos a machine can hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .results import ScaleFit, ScaleLimit, ScaleStep

USABLE = 0.8
"""Fraction of a machine's memory for the library: the rest is for the system, and for what grows
in the meantime."""

SLOW_MS = 1000.0
LONG_S = 10.0
"""A response slower than one second interrupts the user's flow of thought; after ten seconds
users turn to other tasks (Nielsen, Usability Engineering, 1993). Every 'vidsim query' opens the
store."""

_MEASURED: dict[str, Callable[[ScaleStep], float | None]] = {
    "fill peak MB": lambda step: step.fill_peak_mb,
    "build s": lambda step: step.build_s,
    "open s": lambda step: step.open_s,
    "query peak MB": lambda step: step.query_peak_mb,
    "query p50 ms": lambda step: step.p50_ms,
    "query p95 ms": lambda step: step.p95_ms,
    "shards MB": lambda step: step.shards_mb,
    "Milvus MB": lambda step: step.milvus_mb,
}


def fit(steps: Sequence[ScaleStep]) -> list[ScaleFit]:
    """Fit a line to every quantity measured at two sizes or more."""
    filled = np.cumsum([step.fill_s for step in steps])
    fits = [fit_line("fill s", [s.videos for s in steps], filled.tolist())]
    for what, measured in _MEASURED.items():
        points = [(s.videos, y) for s in steps if (y := measured(s)) is not None]
        if len(points) > 1:
            fits.append(fit_line(what, [x for x, _ in points], [y for _, y in points]))
    return fits


def fit_line(what: str, videos: Sequence[int], values: Sequence[float]) -> ScaleFit:
    """Fit a least-squares line to `values` over `videos`."""
    x, y = np.array(videos) / 1000, np.array(values)
    slope, fixed = np.polyfit(x, y, 1)
    missed = np.abs(fixed + slope * x - y) / np.maximum(np.abs(y), 1e-9)
    return ScaleFit(
        what=what, fixed=float(fixed), per_1000_videos=float(slope), miss=float(missed.max())
    )


def find_limits(fits: Sequence[ScaleFit], memory_gb: float) -> list[ScaleLimit]:
    """Find where the lines reach a machine's memory, or times that are too long.

    Args:
        fits: From `fit`.
        memory_gb: The machine's, 10^9 bytes.
    """
    usable_mb = USABLE * 1000 * memory_gb
    most = {
        "fill peak MB": ("memory while it is filled", usable_mb),
        "query peak MB": ("memory while it is asked", usable_mb),
        "open s": (f"{LONG_S:g} s to open and answer once", LONG_S),
        "query p95 ms": (f"query p95 of {SLOW_MS:,.0f} ms", SLOW_MS),
    }
    return [
        ScaleLimit(what=most[f.what][0], videos=_videos_until(f, most[f.what][1]))
        for f in fits
        if f.what in most
    ]


def _videos_until(line: ScaleFit, value: float) -> int | None:
    if line.per_1000_videos <= 0:
        return None
    return max(0, int(1000 * (value - line.fixed) / line.per_1000_videos))
