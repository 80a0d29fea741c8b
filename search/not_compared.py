"""Sentences on the modalities that did not count, for terminals and pages."""

from __future__ import annotations

from collections.abc import Sequence


def query_lacks(modalities: Sequence[str]) -> list[str]:
    """Say what was asked for and the query has not; nothing where it has all."""
    if not modalities:
        return []
    lacking = ", ".join(modalities)
    return [
        f"The query has no {lacking} (no track, silence, or a still picture); it did not count."
    ]


def pair_lacks(modalities: Sequence[str]) -> list[str]:
    """Say what one of two videos has not; nothing where both have all."""
    if not modalities:
        return []
    return [f"One of the two has no {', '.join(modalities)}; it did not count."]
