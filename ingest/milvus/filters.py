"""Milvus filters, in the dialect that Lite and every server have in common."""

from __future__ import annotations

from collections.abc import Iterable

_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n", "\r": r"\r"})
"""What may not stand in a filter's string as it is. Lite knows no escape for other control
characters, and takes them unescaped."""


def equals(field: str, value: str) -> str:
    """The filter ``field == "value"`` with the value quoted."""
    return f"{field} == {_quote(value)}"


def differs(field: str, value: str) -> str:
    """The filter ``field != "value"`` with the value quoted."""
    return f"{field} != {_quote(value)}"


def is_after(field: str, value: str) -> str:
    """The filter ``field > "value"`` with the value quoted."""
    return f"{field} > {_quote(value)}"


def is_in(field: str, values: Iterable[str]) -> str:
    """The filter ``field in ["a", "b"]`` with the values quoted."""
    return f"{field} in [{', '.join(_quote(v) for v in values)}]"


def _quote(value: str) -> str:
    return f'"{value.translate(_ESCAPED)}"'
