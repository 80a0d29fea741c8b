"""Fusion: one ranking from the similarities of several modalities.

There are two methods. ``calibrated`` (the default) turns each modality's similarities into a share
of attention: how far above chance a video is, relative to the best others. ``rrf`` adds
reciprocal ranks (Cormack, Clarke and Buettcher, 2009). In both, a modality that the query
or the video lacks neither helps nor hurts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..schemas.errors import ModelError
from ..schemas.modality import Modality, parse_modalities

FusionName = Literal["calibrated", "rrf"]

Scores = npt.NDArray[np.float64]
"""(queries, videos) similarities or scores of one kind."""

WEIGHTS: Mapping[FusionName, Mapping[Modality, float]] = {
    "calibrated": {
        Modality.COLOR: 0.25,
        Modality.FRAME: 1.25,
        Modality.AUDIO: 1.0,
        Modality.MOTION: 1.0,
    },
    "rrf": dict.fromkeys(Modality, 1.0),
}
"""Weights of the modalities: measured leave-one-video-out on nine sets of real clips, where weights
learned on one set were no better on another; that of frames again on four (docs/fusion.md)."""

TOP = 50
"""Hits per modality that its softmax runs over, and candidates that each modality proposes."""

_Z_CAP = 10.0
"""Standard deviations above chance at which z is clipped: exp(10) against 49
others leaves them 0.2 %."""

_RRF_K = 60
"""The constant k of reciprocal rank fusion, as its authors chose it."""


@dataclass(frozen=True)
class Background:
    """Mean and standard deviation of the similarities of random pairs of videos."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Fused:
    """A video's fused score, and each modality's contribution to it (they sum to 1)."""

    score: float
    shares: dict[Modality, float]


def parse_weights(text: str | None, fusion: FusionName) -> dict[Modality, float]:
    """Read ``frame=2,color=0.5``; unnamed modalities keep their default; None keeps all.

    ``default`` means the same as None.

    Raises:
        ModelError: A modality is unknown, or a weight is not a positive number.
    """
    weights = dict(WEIGHTS[fusion])
    for part in filter(None, "" if text in (None, "default") else text.split(",")):
        name, _, value = part.partition("=")
        (modality,) = parse_modalities(name)
        try:
            weights[modality] = float(value)
        except ValueError:
            weights[modality] = math.nan
        if not 0 < weights[modality] < math.inf:
            raise ModelError(
                f"{part!r} is no weight; write for example --weights frame=2,color=0.5."
            )
    return weights


def fuse(
    fusion: FusionName,
    similarities: Mapping[Modality, Mapping[str, float]],
    background: Mapping[Modality, Background],
    weights: Mapping[Modality, float],
) -> dict[str, Fused]:
    """Fuse the scores of all candidates, best first, ties by video id.

    Args:
        fusion: ``calibrated`` or ``rrf``.
        similarities: For each modality the query has, the similarity of every candidate
            that has it too.
        background: For each of those modalities; not used by ``rrf``.
        weights: For each of those modalities, above 0.

    Returns:
        By video id. Scores lie in (0, 1].
    """
    candidates = {video_id for found in similarities.values() for video_id in found}
    parts = {
        modality: (
            _attention_to(found, background[modality], len(candidates))
            if fusion == "calibrated"
            else _reciprocal_ranks(found)
        )
        for modality, found in similarities.items()
    }
    fused = {}
    for video_id in candidates:
        weighted = {m: weights[m] * p[video_id] for m, p in parts.items() if video_id in p}
        total = sum(weighted.values())
        fused[video_id] = Fused(
            score=total / sum(weights[m] for m in weighted),
            shares={m: part / total for m, part in weighted.items()},
        )
    return dict(sorted(fused.items(), key=lambda item: (-item[1].score, item[0])))


def attention(
    similarities: Scores, background: Background, candidates: npt.NDArray[np.int64]
) -> Scores:
    """Return exp(z) over the sum of exp(z) of the best hits; z is in deviations above chance.

    The sum always has as many terms as there are candidates (at most `TOP`): those
    without the modality count as random videos (z = 0). Otherwise the only other video with
    sound would take all of a query's attention to sound, whatever it sounds like.

    Args:
        similarities: (queries, videos) of one modality; NaN for a video that lacks it or is
            not a candidate.
        background: Of the similarities of random pairs.
        candidates: (queries,) how many videos have any of the query's modalities.

    Returns:
        (queries, videos), NaN where `similarities` is.
    """
    z = np.minimum((similarities - background.mean) / background.deviation, _Z_CAP)
    attention = np.exp(z)
    found = np.nan_to_num(attention)
    first = max(found.shape[1] - TOP, 0)
    best = np.sort(np.partition(found, first, axis=1)[:, first:], axis=1)[:, ::-1]
    count = np.minimum(TOP, candidates)
    best[np.arange(best.shape[1]) >= count[:, None]] = 0
    random = np.maximum(count - (~np.isnan(z)).sum(axis=1), 0)
    return np.asarray(attention / (best.sum(axis=1) + random)[:, None])


def attend(
    similarities: Mapping[Modality, Scores], background: Mapping[Modality, Background]
) -> dict[Modality, Scores]:
    """Compute the `attention` of every modality, over the candidates of all modalities.

    Args:
        similarities: (queries, videos) of each modality; NaN where the query or the video
            lacks it, or the video is not a candidate.
        background: For each of those modalities.
    """
    there = np.logical_or.reduce([~np.isnan(found) for found in similarities.values()])
    candidates = there.sum(axis=1)
    return {m: attention(found, background[m], candidates) for m, found in similarities.items()}


def combine(parts: Mapping[Modality, Scores], weights: Mapping[Modality, float]) -> Scores:
    """Compute the scores of `fuse` (calibrated) for many queries over the same videos.

    Args:
        parts: From `attend`.
        weights: For each of those modalities, above 0.

    Returns:
        (queries, videos), NaN for videos that are not candidates.
    """
    total = sum(weights[m] * np.nan_to_num(part) for m, part in parts.items())
    weight = sum(weights[m] * ~np.isnan(part) for m, part in parts.items())
    with np.errstate(invalid="ignore"):  # 0 / 0 where a video is not a candidate
        return np.asarray(total / weight)


def _attention_to(
    found: Mapping[str, float], background: Background, candidates: int
) -> dict[str, float]:
    row = np.array([list(found.values())])
    (parts,) = attention(row, background, np.array([candidates]))
    return dict(zip(found, parts.tolist(), strict=True))


def _reciprocal_ranks(found: Mapping[str, float]) -> dict[str, float]:
    """Return (k + 1) / (k + rank): 1 for the best, so that scores lie in (0, 1]."""
    return {video_id: (_RRF_K + 1) / (_RRF_K + rank) for video_id, rank in ranks(found).items()}


def ranks(found: Mapping[str, float]) -> dict[str, int]:
    """Rank from 1 by descending similarity, ties by video id."""
    ordered = sorted(found, key=lambda video_id: (-found[video_id], video_id))
    return {video_id: i + 1 for i, video_id in enumerate(ordered)}
