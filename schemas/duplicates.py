"""Thresholds of near-duplicates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DuplicateOptions:
    """Thresholds; docs/duplicates.md says how the defaults were measured.

    Attributes:
        max_distance: Most bits of 64 in which the hashes of two matching frames differ.
        min_similarity: Least cosine of the mean frame embeddings over the common stretch.
    """

    max_distance: int = 14
    min_similarity: float = 0.8
