"""Measures of rankings, with bootstrap intervals and paired tests.

Every figure is a mean over queries or over classes, so that one set of resampled videos
serves all of them and differences are paired by construction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .fusion import Scores

FloatVector = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

RECALL_AT = (1, 5, 10, 20)

_CONFIDENCE = 0.95
_FLIPS_PER_BLOCK = 250


@dataclass(frozen=True)
class Judged:
    """What became of each query.

    Attributes:
        predicted: (queries,) class by the vote of k, -1 where nothing was found.
        nearest: (queries,) index of the nearest video, -1 where nothing was found.
        first_hit: (queries,) rank of the first of the query's class, 0 where none was found.
        precision: (queries,) average precision over the whole ranking.
    """

    predicted: IntArray
    nearest: IntArray
    first_hit: IntArray
    precision: FloatVector


def judge(scores: Scores, classes: IntArray, own: IntArray, relevant: IntArray, k: int) -> Judged:
    """Judges rankings by descending score, ties by the order of the videos.

    Args:
        scores: (queries, videos); NaN for a video that is not ranked.
        classes: (videos,) class numbers.
        own: (queries,) class number of each query.
        relevant: (queries,) videos of the query's class there are to find, above 0; those that
            are not ranked count as misses in average precision.
        k: How many nearest videos vote.
    """
    order = np.argsort(-scores, axis=1, kind="stable")  # NaN last
    found = np.take_along_axis(~np.isnan(scores), order, axis=1)
    ranked = np.where(found, classes[order], -1)
    hits = ranked == own[:, None]
    precision = np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)
    return Judged(
        predicted=vote(ranked[:, :k]),
        nearest=np.where(found[:, 0], order[:, 0], -1),
        first_hit=np.where(hits.any(axis=1), hits.argmax(axis=1) + 1, 0),
        precision=(precision * hits).sum(axis=1) / relevant,
    )


def vote(nearest: IntArray) -> IntArray:
    """The class most of the nearest have, ties by the nearest of those tied.

    Args:
        nearest: (queries, k) class numbers by rank, -1 for none.
    """
    votes = (nearest[:, :, None] == nearest[:, None, :]).sum(axis=2)
    votes[nearest < 0] = 0
    return np.asarray(nearest[np.arange(len(nearest)), votes.argmax(axis=1)])


def resample(videos: int, times: int, seed: int) -> npt.NDArray[np.float32]:
    """(times, videos): how often each video was drawn, with replacement."""
    random = np.random.default_rng(seed)
    drawn = np.empty((times, videos), np.float32)
    for row in drawn:
        row[:] = np.bincount(random.integers(0, videos, videos), minlength=videos)
    return drawn


@dataclass(frozen=True)
class Interval:
    """A figure with the bounds of its bootstrap 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Outcomes:
    """What is averaged: sums over a video's queries (one, or one a row), and their number.

    Attributes:
        videos: (n,) indexes of the videos that ask, ascending.
        sums: (n,) sums of what is measured.
        counts: (n,) number of queries of each.
        classes: (n,) class numbers.
    """

    videos: IntArray
    sums: FloatVector
    counts: FloatVector
    classes: IntArray


def mean(outcomes: Outcomes, drawn: npt.NDArray[np.float32]) -> tuple[float, FloatVector]:
    """The mean over queries, and the same of every resample (NaN where none was drawn)."""
    there = drawn[:, outcomes.videos]
    with np.errstate(invalid="ignore"):
        resampled = (there @ outcomes.sums) / (there @ outcomes.counts)
    return float(outcomes.sums.sum() / outcomes.counts.sum()), resampled


def class_mean(outcomes: Outcomes, drawn: npt.NDArray[np.float32]) -> tuple[float, FloatVector]:
    """The mean over classes of the mean over their queries, and the same of every resample.

    A class of which a resample holds no video is left out of that resample.
    """
    _, codes = np.unique(outcomes.classes, return_inverse=True)
    member = np.eye(codes.max() + 1)[codes]
    there = drawn[:, outcomes.videos]
    with np.errstate(invalid="ignore"):
        rates = (there @ (member * outcomes.sums[:, None])) / (
            there @ (member * outcomes.counts[:, None])
        )
    once = (outcomes.sums @ member) / (outcomes.counts @ member)
    drawn_classes = ~np.isnan(rates)
    with np.errstate(invalid="ignore"):
        resampled = np.nansum(rates, axis=1) / drawn_classes.sum(axis=1)
    return float(once.mean()), resampled


def interval(value: float, resampled: FloatVector) -> Interval:
    """The percentile interval of a bootstrap."""
    tail = 100 * (1 - _CONFIDENCE) / 2
    low, high = np.nanpercentile(resampled, [tail, 100 - tail])
    return Interval(value, float(low), float(high))


def sign_flip_p(differences: FloatVector, times: int, seed: int) -> float:
    """Two-sided p of paired differences whose signs are exchangeable if nothing differs.

    Args:
        differences: (queries,) weighted, so that their sum is the difference of the figures.
        times: Random sign patterns; p is at least 1 / (times + 1).
        seed: Of those.
    """
    differences = differences[differences != 0]
    random = np.random.default_rng(seed)
    reached = 0
    least = abs(differences.sum()) - 1e-12
    for start in range(0, times, _FLIPS_PER_BLOCK):
        count = min(_FLIPS_PER_BLOCK, times - start)
        signs = random.integers(0, 2, (count, len(differences)), np.int8) * 2.0 - 1
        reached += int((np.abs(signs @ differences) >= least).sum())
    return (reached + 1) / (times + 1)
