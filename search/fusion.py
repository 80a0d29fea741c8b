"""Fusion: one ranking from the similarities of several modalities.

Two ways. ``calibrated`` (the default) turns each modality's similarities into a share of
attention: how far above chance a video is, compared with the best others. ``rrf`` adds
reciprocal ranks (Cormack, Clarke and Buettcher, 2009). In both, a modality that the query
or the video lacks neither helps nor hurts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..schemas.errors import ModelError
from ..schemas.modality import Modality, parse_modalities

FusionName = Literal["calibrated", "rrf"]

WEIGHTS: Mapping[FusionName, Mapping[Modality, float]] = {
    "calibrated": {
        Modality.COLOR: 0.25,
        Modality.FRAME: 1.0,
        Modality.AUDIO: 1.0,
        Modality.MOTION: 1.0,
    },
    "rrf": dict.fromkeys(Modality, 1.0),
}
"""Weights of the modalities: measured leave-one-video-out on nine sets of real clips;
weights learned on one set were no better on another."""

TOP = 50
"""Hits a modality over which its softmax runs, and candidates each modality proposes."""

_Z_CAP = 10.0
"""Standard deviations above chance beyond which nothing more is learned: exp(10) against 49
others leaves them 0.2 %."""

_RRF_K = 60
"""The constant of reciprocal rank fusion, as its authors chose it."""


@dataclass(frozen=True)
class Background:
    """Similarities of random pairs of videos of a library: their mean and deviation."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Fused:
    """A video's fused score and what each modality contributed to it (adding up to 1)."""

    score: float
    shares: dict[Modality, float]


def parse_weights(text: str | None, fusion: FusionName) -> dict[Modality, float]:
    """Reads ``frame=2,color=0.5``; modalities not named keep their default.

    Raises:
        ModelError: An unknown modality or a weight that is no number above zero.
    """
    weights = dict(WEIGHTS[fusion])
    for part in filter(None, (text or "").split(",")):
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
    """Fused scores of all candidates, best first, ties by video id.

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
            _attention(found, background[modality], len(candidates))
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


def _attention(
    found: Mapping[str, float], background: Background, candidates: int
) -> dict[str, float]:
    """exp(z) over the sum of exp(z) of the best hits, z being deviations above chance.

    The sum always runs over as many videos as there are candidates (`TOP` at most): those
    without the modality count as random ones (z = 0). Otherwise the only other video with
    sound would take all of a query's attention to sound, whatever it sounds like.
    """
    values = np.array(list(found.values()))
    z = np.minimum((values - background.mean) / background.deviation, _Z_CAP)
    count = min(TOP, candidates)
    best = np.sort(z)[::-1][:count]
    total = np.exp(best).sum() + (count - len(best))
    return dict(zip(found, (np.exp(z) / total).tolist(), strict=True))


def _reciprocal_ranks(found: Mapping[str, float]) -> dict[str, float]:
    """(k + 1) / (k + rank): 1 for the best, so that scores lie in (0, 1]."""
    return {video_id: (_RRF_K + 1) / (_RRF_K + rank) for video_id, rank in ranks(found).items()}


def ranks(found: Mapping[str, float]) -> dict[str, int]:
    """Ranks from 1 by descending similarity, ties by video id."""
    ordered = sorted(found, key=lambda video_id: (-found[video_id], video_id))
    return {video_id: i + 1 for i, video_id in enumerate(ordered)}
