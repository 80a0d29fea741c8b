"""Confusion matrices of predictions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ...schemas.evaluation import Confusion
from .ranking import Classes, Predictions


def confusions(predictions: Predictions, classes: Classes) -> list[Confusion]:
    """List every confused pair of classes, largest share of its class first."""
    matrix = confusion_matrix(predictions, classes)
    shares = confusion_shares(predictions, classes)
    wrong = np.where(np.eye(len(matrix), dtype=bool), 0, matrix)
    pairs = [(int(i), int(j)) for i, j in np.argwhere(wrong)]
    pairs.sort(key=lambda p: (-shares[p], -matrix[p], p))
    return [
        Confusion(
            protocol=predictions.protocol,
            configuration=predictions.configuration,
            label=classes.names[i],
            predicted=classes.names[j],
            queries=int(matrix[i, j]),
            share=float(shares[i, j]),
        )
        for i, j in pairs
    ]


def confusion_matrix(predictions: Predictions, classes: Classes) -> npt.NDArray[np.int64]:
    """Count queries by true and predicted class: (classes, classes)."""
    from sklearn.metrics import confusion_matrix as count

    own = classes.numbers[predictions.videos]
    named = predictions.predicted >= 0  # a vote of unlabelled videos names no class
    labels = range(len(classes.names))
    if not named.any():
        return np.zeros((len(labels), len(labels)), np.int64)
    return np.asarray(count(own[named], predictions.predicted[named], labels=list(labels)))


def queries_of(predictions: Predictions, classes: Classes) -> npt.NDArray[np.int64]:
    """Count the queries of each class: (classes,)."""
    own = classes.numbers[predictions.videos]
    return np.bincount(own, minlength=len(classes.names))


def confusion_shares(predictions: Predictions, classes: Classes) -> npt.NDArray[np.float64]:
    """Divide `confusion_matrix` by all queries of the class, those without a vote included."""
    queries = queries_of(predictions, classes)
    return np.asarray(confusion_matrix(predictions, classes) / np.maximum(queries, 1)[:, None])
