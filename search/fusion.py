"""Fusion: one ranking from the similarities of several modalities.

There are two methods. ``calibrated`` (the default) ranks by likeness (likeness.py), which is the
same for the same two videos whatever else is stored or found. ``rrf`` adds reciprocal ranks
(Cormack, Clarke and Buettcher, 2009). In both, a modality that the query or the video lacks neither
helps nor hurts.
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
from .likeness import Background, Yardstick, average, likeness

FusionName = Literal["calibrated", "rrf"]

Scores = npt.NDArray[np.float64]
"""(queries, videos) similarities or scores of one kind."""

WEIGHTS: Mapping[FusionName, Mapping[Modality, float]] = {
    "calibrated": {
        Modality.COLOR: 0.5,
        Modality.FRAME: 1.0,
        Modality.AUDIO: 0.5,
        Modality.MOTION: 0.75,
    },
    "rrf": dict.fromkeys(Modality, 1.0),
}
"""Weights of the modalities: chosen on two sets of real clips, and no worse on two others; weights
learned on one set are no better on another (docs/fusion.md)."""

TOP = 50
"""Hits per modality that its softmax runs over, and candidates that each modality proposes."""

_Z_CAP = 10.0
"""Standard deviations above chance at which z is clipped: exp(10) against 49
others leaves them 0.2 %."""

_RRF_K = 60
"""The constant k of reciprocal rank fusion, as its authors chose it."""


@dataclass(frozen=True)
class Fused:
    """What a video is to a query.

    Attributes:
        likeness: From 0 to 1, over all modalities.
        by_modality: The likeness by each.
        relative: Above 0, at most 1, and only comparable within one answer: for ``rrf`` the mean
            of reciprocal ranks by weight, else the part of the query's attention (`_attention_to`).
        shares: Each modality's part of `relative`; they sum to 1.
    """

    likeness: float
    by_modality: dict[Modality, float]
    relative: float
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
    yardsticks: Mapping[Modality, Yardstick],
    weights: Mapping[Modality, float],
) -> dict[str, Fused]:
    """Fuse the similarities of all candidates, best first, ties by video id.

    Args:
        fusion: ``calibrated`` ranks by likeness, ``rrf`` by reciprocal ranks.
        similarities: For each modality the query has, the similarity of every candidate
            that has it too.
        yardsticks: For each of those modalities.
        weights: For each of those modalities, above 0.

    Returns:
        By video id.
    """
    candidates = sorted({video_id for found in similarities.values() for video_id in found})
    odds = {
        m: yardsticks[m].log_odds(np.array([found.get(i, np.nan) for i in candidates]))
        for m, found in similarities.items()
    }
    total = average(odds, weights)
    parts = {
        m: (
            _reciprocal_ranks(found)
            if fusion == "rrf"
            else _attention_to(found, yardsticks[m].background, len(candidates))
        )
        for m, found in similarities.items()
    }
    alike = likeness(total).tolist()
    by_modality = {m: dict(zip(candidates, likeness(of).tolist())) for m, of in odds.items()}
    fused = {}
    for n, video_id in enumerate(candidates):
        weighted = {m: weights[m] * p[video_id] for m, p in parts.items() if video_id in p}
        attention = sum(weighted.values())
        fused[video_id] = Fused(
            likeness=alike[n],
            by_modality={m: by_modality[m][video_id] for m in weighted},
            relative=attention / sum(weights[m] for m in weighted),
            shares={m: part / attention for m, part in weighted.items()},
        )
    order = (
        dict(zip(candidates, total.tolist()))  # finer than likeness, which ends at 1
        if fusion == "calibrated"
        else {i: one.relative for i, one in fused.items()}
    )
    return {i: fused[i] for i in sorted(candidates, key=lambda i: (-order[i], i))}


def _attention_to(
    found: Mapping[str, float], background: Background, candidates: int
) -> dict[str, float]:
    """Return exp(z) over the sum of exp(z) of the best hits; z is in deviations above chance.

    The sum always has as many terms as there are candidates (at most `TOP`): those
    without the modality count as random videos (z = 0). Otherwise the only other video with
    sound would take all of a query's attention to sound, whatever it sounds like.
    """
    z = (np.array(list(found.values())) - background.mean) / background.deviation
    attention = np.exp(np.minimum(z, _Z_CAP))
    count = min(TOP, candidates)
    best = np.sort(attention)[::-1][:count]
    whole = best.sum() + max(count - len(found), 0)
    return dict(zip(found, (attention / whole).tolist(), strict=True))


def _reciprocal_ranks(found: Mapping[str, float]) -> dict[str, float]:
    """Return (k + 1) / (k + rank): 1 for the best, so that scores lie in (0, 1]."""
    return {video_id: (_RRF_K + 1) / (_RRF_K + rank) for video_id, rank in ranks(found).items()}


def ranks(found: Mapping[str, float]) -> dict[str, int]:
    """Rank from 1 by descending similarity, ties by video id."""
    ordered = sorted(found, key=lambda video_id: (-found[video_id], video_id))
    return {video_id: i + 1 for i, video_id in enumerate(ordered)}
