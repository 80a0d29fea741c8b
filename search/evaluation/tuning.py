"""Tuning of fusion weights on a training part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...schemas.errors import ModelError
from ...schemas.modality import Modality
from ..fusion import WEIGHTS, Scores
from ..likeness import Yardstick, average
from .measures import judge
from .protocols import Protocol
from .ranking import Classes, Single, blocks

_STEPS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Candidate weights: finer differences are lost in the noise of a data set."""

_QUERIES = 1000
"""Most training videos used as queries: their similarities to all others are in memory."""


def tune(
    singles: Sequence[Single],
    yardsticks: Mapping[Modality, Yardstick],
    protocol: Protocol,
    classes: Classes,
    seed: int,
) -> dict[Modality, float]:
    """Find the weights with the best mean average precision on the training videos alone.

    Each training video is a query against the others outside its group. One weight after another
    is set to the best of a few values, until none changes; that of frame (or else of the first
    modality) is fixed, since only ratios matter.

    Args:
        singles: Comparisons of the modalities.
        yardsticks: Of each modality, from training videos alone.
        protocol: Its gallery is the training part.
        classes: Of all videos.
        seed: Seed that draws the query videos, where there are very many.

    Raises:
        ModelError: No training video has another of its class.
    """
    training = Protocol(protocol.name, protocol.gallery, protocol.gallery, protocol.groups)
    queries = np.flatnonzero(protocol.gallery & (classes.numbers >= 0))
    if len(queries) > _QUERIES:
        chosen = np.random.default_rng(seed).choice(queries, _QUERIES, replace=False)
        queries = np.sort(chosen)
    own = classes.numbers[queries]
    relevant = (training.allowed(queries) & (classes.numbers == own[:, None])).sum(axis=1)
    asks = relevant > 0
    if not asks.any():
        raise ModelError("No training video has another of its class; weights need more videos.")
    queries, own, relevant = queries[asks], own[asks], relevant[asks]
    parts: dict[Modality, list[Scores]] = {m: [] for m in yardsticks}
    for _, scores in blocks(singles, training, queries):
        for m, yardstick in yardsticks.items():
            parts[m].append(yardstick.log_odds(scores[m.value]))
    odds = {m: np.concatenate(part) for m, part in parts.items()}

    def precision(weights: Mapping[Modality, float]) -> float:
        fused = average(odds, weights)
        return float(judge(fused, classes.numbers, own, relevant, 1).precision.mean())

    weights = {m: WEIGHTS["calibrated"][m] for m in yardsticks}
    fixed = Modality.FRAME if Modality.FRAME in weights else next(iter(weights))
    best, before = precision(weights), None
    while weights != before:
        before = dict(weights)
        for modality in [m for m in weights if m is not fixed]:
            for step in _STEPS:
                tried = {**weights, modality: step}
                reached = precision(tried)
                if reached > best + 1e-9:
                    best, weights = reached, tried
    return weights
