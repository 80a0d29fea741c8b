"""Figures of predictions, with confidence intervals."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...schemas.evaluation import Estimate, Figures
from .measures import (
    RECALL_AT,
    FloatVector,
    Outcomes,
    class_mean,
    interval,
    mean,
)
from .protocols import LEAKY
from .ranking import Classes, Predictions


def figures_of(
    predictions: Predictions, classes: Classes, drawn: npt.NDArray[np.float32]
) -> Figures:
    """Compute the figures of one configuration under one protocol.

    Args:
        predictions: Its predictions.
        classes: Of all videos.
        drawn: (times, videos) from `resample`.
    """

    def average(values: FloatVector) -> Estimate:
        return estimate(*mean(_outcomes(predictions, classes, values), drawn))

    right = _outcomes(predictions, classes, right_votes(predictions, classes))
    hits = predictions.first_hit
    return Figures(
        protocol=predictions.protocol,
        leaky=predictions.protocol in LEAKY,
        configuration=predictions.configuration,
        queries=len(predictions.videos),
        classes=len(set(right.classes.tolist())),
        accuracy=estimate(*class_mean(right, drawn)),
        recall={}
        if hits is None
        else {n: average(((hits > 0) & (hits <= n)).astype(float)) for n in RECALL_AT},
        mean_average_precision=None
        if predictions.precision is None
        else average(predictions.precision),
    )


def right_votes(predictions: Predictions, classes: Classes) -> FloatVector:
    """Return (queries,) 1 where the vote names the query's class, else 0."""
    return np.equal(predictions.predicted, classes.numbers[predictions.videos]).astype(float)


def estimate(value: float, resampled: FloatVector) -> Estimate:
    """Return a figure with its interval, from the result of `mean` or `class_mean`."""
    found = interval(value, resampled)
    return Estimate(value=found.value, low=found.low, high=found.high)


def _outcomes(predictions: Predictions, classes: Classes, values: FloatVector) -> Outcomes:
    """Sum values per video, which is one query or one query per row."""
    videos, owner = np.unique(predictions.videos, return_inverse=True)
    return Outcomes(
        videos=videos,
        sums=np.bincount(owner, values).astype(float),
        counts=np.bincount(owner).astype(float),
        classes=classes.numbers[videos],
    )
