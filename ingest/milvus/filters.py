"""Milvus filters, in the dialect shared by Lite and every server."""

from __future__ import annotations

from collections.abc import Iterable

_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r"})
"""Characters that a filter's string must escape. Lite has no escape for other control characters,
and accepts them unescaped."""


def equals(field: str, value: str) -> str:
    """Return the filter ``field == "value"`` with the value quoted."""
    return f"{field} == {_quote(value)}"


def differs(field: str, value: str) -> str:
    """Return the filter ``field != "value"`` with the value quoted."""
    return f"{field} != {_quote(value)}"


def is_after(field: str, value: str) -> str:
    """Return the filter ``field > "value"`` with the value quoted."""
    return f"{field} > {_quote(value)}"


def is_in(field: str, values: Iterable[str]) -> str:
    """Return the filter ``field in ["a", "b"]`` with the values quoted."""
    return f"{field} in [{', '.join(_quote(v) for v in values)}]"


def _quote(value: str) -> str:
    return f'"{value.translate(_ESCAPED)}"'
