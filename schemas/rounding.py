"""Rounding of what ``--json`` prints; Python keeps the exact values."""

from __future__ import annotations

import math

_DIGITS = 6
"""Significant digits of scores and other figures: those of a float32."""

_DECIMALS = 3
"""Of seconds: finer than any frame rate."""


def rounded(data: object, name: str = "") -> object:
    """Return plain data with every float rounded, those that are not finite as None.

    Args:
        data: Dictionaries, lists and scalars, as JSON has them.
        name: What the data are called; seconds are those whose name is ``seconds`` or ends with
            ``_s``, rates (``clips_per_s``) aside.
    """
    if isinstance(data, float):
        return _rounded_float(data, name)
    if isinstance(data, dict):
        return {key: rounded(value, str(key)) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [rounded(item, name) for item in data]
    return data


def _rounded_float(value: float, name: str) -> float | None:
    if not math.isfinite(value):
        return None
    if name == "seconds" or (name.endswith("_s") and not name.endswith("_per_s")):
        return round(value, _DECIMALS)
    return float(f"{value:.{_DIGITS}g}")
