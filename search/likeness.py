"""Likeness: how alike two videos are, on one scale for all modalities, whatever else is stored.

Each backbone has a `Curve` from its similarity to log-odds that two videos show the same kind of
thing; the log-odds of several modalities are averaged; `SCALE` turns log-odds into a likeness.
Curves and scale were fitted to graded pairs of real clips (docs/fusion.md, docs/fit_likeness.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..schemas.backbones import Backbone
from ..schemas.modality import Modality
from ..schemas.presets import DEFAULT_PRESET, PRESETS

Values = npt.NDArray[np.float64]

Word = Literal["same footage", "very alike", "alike", "weak"]

NEAREST = 0.01
"""Added to 1 - similarity, so that the logarithm of equal vectors is finite."""

_BEND, _MOST = 8.0, 12.0
"""Log-odds from which a modality's evidence grows ever less, and that it never reaches: up there
all are copies, and one modality shall not outweigh the others (a choice)."""

_CHANCE_DEVIATIONS = 1.7
"""Deviations above random pairs, in all modalities at once, up to which a best result is chance."""

ALIKE = 0.6
"""Likeness from which a best result is no chance: with `_CHANCE_DEVIATIONS` the fitted half of the
sets gives a result to 3 % of the queries whose class is absent (docs/fusion.md)."""

WORDS: tuple[tuple[float, Word], ...] = (
    (0.9, "same footage"),
    (0.75, "very alike"),
    (ALIKE, "alike"),
    (0.0, "weak"),
)
"""Least likeness of each word."""


@dataclass(frozen=True)
class Background:
    """Mean and standard deviation of the similarities of random pairs of videos."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Curve:
    """Log-odds by similarity: flat below the knee, then straight in -log(1 - similarity).

    Attributes:
        slope: Log-odds per unit, far above the knee.
        knee: Where it turns, as -log(1 - similarity).
        width: How gently.
        floor: Log-odds far below it.
    """

    slope: float
    knee: float
    width: float
    floor: float

    def log_odds(self, similarities: Values) -> Values:
        """Return log-odds that two videos show the same kind of thing, at even odds before."""
        closeness = -np.log(1 - np.minimum(similarities, 1) + NEAREST)
        with np.errstate(invalid="ignore"):  # NaN
            rise = self.width * np.logaddexp(0, (closeness - self.knee) / self.width)
        odds = self.floor + self.slope * rise
        above = np.maximum(odds - _BEND, 0)
        room = _MOST - _BEND
        return np.asarray(np.minimum(odds, _BEND) + room * (1 - np.exp(-above / room)))


CURVES: Mapping[str, Curve] = {
    "labhist": Curve(slope=2.395, knee=0.855, width=0.088, floor=-0.862),
    "efficientnet_lite0": Curve(slope=5.866, knee=0.024, width=0.339, floor=-3.774),
    "yamnet": Curve(slope=6.849, knee=0.906, width=0.627, floor=-3.688),
    "i3d_192": Curve(slope=12.684, knee=1.093, width=0.288, floor=-1.957),
    "i3d": Curve(slope=11.811, knee=1.065, width=0.274, floor=-1.877),
}
"""By backbone, fitted to pairs of capstone70 and av_segments (yamnet: of the latter alone); `i3d`
when it was the default."""

TYPICAL: Mapping[str, Background] = {
    "labhist": Background(0.56, 0.21),
    "vid2img": Background(-0.11, 0.07),
    "efficientnet_lite0": Background(0.47, 0.13),
    "efficientnet_lite0_192": Background(0.45, 0.14),
    "yamnet": Background(0.52, 0.17),
    "vggish": Background(0.03, 0.12),
    "i3d": Background(0.63, 0.08),
    "i3d_192": Background(0.63, 0.08),
    "i3d_160": Background(0.65, 0.08),
}
"""Means of the backgrounds of four sets of real clips, 6,892 pairs of videos (yamnet: of the
one set with sound, 1,770 pairs): capstone70, av_segments, drone_visible and ucf101_mini; of
vggish over 8,128 pairs of AudioSet's clips, as `background.measure` finds them."""

SCALE = ((-0.526, 1.859), (1.139, 1.416), (6.583, 0.672))
"""Where a pair is as likely to have a grade as not, and how sharply: of the same kind, of the same
scene, the same footage. Fitted with four grades of equal weight."""


@dataclass(frozen=True)
class Yardstick:
    """What a similarity by one backbone means.

    Attributes:
        backbone: What compares videos.
        background: Of the searched libraries.
    """

    backbone: Backbone
    background: Background

    def log_odds(self, similarities: Values) -> Values:
        """Return log-odds that videos show the same kind of thing, at even odds before.

        A backbone without a curve takes that of its modality's default, where a pair is as far from
        equal in proportion to random pairs. What random pairs are like say the `TYPICAL`; only for
        other backbones it depends on the searched libraries.

        Args:
            similarities: Of any shape; NaN stays.
        """
        if curve := CURVES.get(self.backbone.name):
            return curve.log_odds(similarities)
        default = PRESETS[DEFAULT_PRESET][self.backbone.modality]
        random = TYPICAL.get(self.backbone.name, self.background).mean
        equal = 1.0 if self.backbone.similarity == "cosine" else 0.0
        apart = (equal - similarities) / max(equal - random, NEAREST)
        return CURVES[default].log_odds(1 - (1 - TYPICAL[default].mean) * apart)


def average(parts: Mapping[Modality, Values], weights: Mapping[Modality, float]) -> Values:
    """Return the weighted mean of the log-odds of modalities, over those that are not NaN.

    Args:
        parts: Of equal shapes; NaN where a video lacks the modality.
        weights: For each of those modalities, above 0.

    Returns:
        NaN where all are.
    """
    total = sum(weights[m] * np.nan_to_num(part) for m, part in parts.items())
    weight = sum(weights[m] * ~np.isnan(part) for m, part in parts.items())
    with np.errstate(invalid="ignore"):  # 0 / 0 for a video without any
        return np.asarray(total / weight)


def likeness(log_odds: Values) -> Values:
    """Return the likeness by log-odds: the mean grade of such pairs, from 0 to 1.

    A third is the same kind of thing, two thirds the same scene, 1 the same footage.
    """
    grades = [1 / (1 + np.exp(-(log_odds - middle) * slope)) for middle, slope in SCALE]
    return np.asarray(sum(grades) / len(SCALE))


def in_words(value: float) -> Word:
    """Return the word for a likeness."""
    return next(word for least, word in WORDS if value >= least)


def word_among(value: float, bound: float) -> str:
    """Return the word for a likeness in an answer, in which what lies below `bound` is chance."""
    return "by chance" if ALIKE <= value < bound else in_words(value)


def nothing_alike(best: float, bound: float) -> str:
    """Say that the best likeness of an answer is chance, which goes up to `bound`."""
    if best >= ALIKE:
        return (
            "Nothing here stands out: videos of these libraries are much alike, by chance up to "
            f"{bound:.2f}."
        )
    return f"Nothing here is much like it: below {bound:.2f} likeness is chance."


def chance(yardsticks: Mapping[Modality, Yardstick], weights: Mapping[Modality, float]) -> float:
    """Return the likeness up to which the best result may be chance.

    It is `ALIKE`, or more where videos of the searched libraries are much alike anyway: that of a
    pair which is some deviations above random pairs in all modalities.
    """
    parts = {}
    for modality, yardstick in yardsticks.items():
        random = yardstick.background
        far = random.mean + _CHANCE_DEVIATIONS * random.deviation
        parts[modality] = yardstick.log_odds(np.array(far))
    return max(ALIKE, float(likeness(average(parts, weights))))
