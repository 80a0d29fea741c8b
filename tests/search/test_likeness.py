"""Likeness: one scale for all modalities, and what is chance on it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import DEFAULT_PRESET, PRESETS
from vidsim.search.fusion import WEIGHTS, fuse
from vidsim.search.likeness import (
    ALIKE,
    TYPICAL,
    Background,
    Yardstick,
    average,
    chance,
    in_words,
    likeness,
    nothing_alike,
    word_among,
)

W = WEIGHTS["calibrated"]
DEFAULTS = {m: BACKBONES[PRESETS[DEFAULT_PRESET][m]] for m in Modality}


def yardsticks(mean: float = 0.3, deviation: float = 0.1) -> dict[Modality, Yardstick]:
    return {m: Yardstick(b, Background(mean, deviation)) for m, b in DEFAULTS.items()}


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_more_similar_is_more_alike(name):
    backbone = BACKBONES[name]
    yardstick = Yardstick(backbone, TYPICAL.get(name, Background(0.4, 0.1)))
    least, most = (-1.0, 1.0) if backbone.similarity == "cosine" else (-1.0, 0.0)
    found = yardstick.log_odds(np.linspace(least, most, 400))
    assert (np.diff(found) >= 0).all()
    assert np.isfinite(found).all()
    random, equal = likeness(yardstick.log_odds(np.array([yardstick.background.mean, most])))
    assert random < 0.35
    assert equal > 0.85


@pytest.mark.parametrize("modality", list(Modality))
def test_equal_videos_are_the_same_footage_and_random_ones_are_not(modality):
    yardstick = yardsticks()[modality]
    typical = TYPICAL[yardstick.backbone.name]
    equal, random = likeness(yardstick.log_odds(np.array([1.0, typical.mean])))
    assert equal > 0.85
    assert random < 0.35
    assert in_words(float(random)) == "weak"


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=4, max_size=4), min_size=2, max_size=8),
    st.integers(0, 7),
    st.floats(0.1, 0.9),
    st.floats(0.02, 0.3),
)
def test_it_is_the_same_whatever_else_is_stored_found_or_like_chance(rows, at, mean, deviation):
    at %= len(rows)
    names = [str(i) for i in range(len(rows))]
    similarities = {m: dict(zip(names, [row[n] for row in rows])) for n, m in enumerate(Modality)}
    alone = {m: {str(at): found[str(at)]} for m, found in similarities.items()}
    among = fuse("calibrated", similarities, yardsticks(), W)[str(at)]
    other = fuse("calibrated", alone, yardsticks(mean, deviation), W)[str(at)]
    assert among.likeness == other.likeness
    assert among.by_modality == other.by_modality


def test_a_backbone_without_a_curve_is_measured_by_its_libraries():
    unknown = replace(DEFAULTS[Modality.FRAME], name="another")
    typical = TYPICAL[DEFAULTS[Modality.FRAME].name]
    narrow = Background(0.9, 0.02)
    found = Yardstick(unknown, narrow).log_odds(np.array([0.9, 0.95, 1.0, np.nan]))
    known = Yardstick(DEFAULTS[Modality.FRAME], narrow).log_odds(
        np.array([typical.mean, (1 + typical.mean) / 2, 1.0, np.nan])
    )
    assert found == pytest.approx(known, nan_ok=True)


def test_the_average_is_over_the_modalities_that_are_there():
    parts = {
        Modality.FRAME: np.array([1.0, np.nan, np.nan]),
        Modality.AUDIO: np.array([4, 4, np.nan]),
    }
    weights = {Modality.FRAME: 1.0, Modality.AUDIO: 0.5}
    assert average(parts, weights) == pytest.approx([2.0, 4.0, np.nan], nan_ok=True)


def test_words_are_told_from_the_top():
    values = (1.0, 0.9, 0.89, 0.75, 0.74, ALIKE, ALIKE - 0.01, 0.0)
    words = ["same footage"] * 2 + ["very alike"] * 2 + ["alike"] * 2 + ["weak"] * 2
    assert [in_words(value) for value in values] == words


def test_no_word_praises_what_is_chance_among_an_answers_libraries():
    found = [word_among(value, 0.8) for value in (0.5, 0.6, 0.79, 0.8, 0.95)]
    assert found == ["weak", "by chance", "by chance", "very alike", "same footage"]
    assert nothing_alike(0.24, 0.8).startswith("Nothing here is much like it: below 0.80")
    assert nothing_alike(0.7, 0.8).startswith("Nothing here stands out")


def test_where_all_are_alike_more_is_chance():
    assert chance(yardsticks(0.3, 0.05), W) == ALIKE
    narrow = chance(yardsticks(0.8, 0.08), W)
    assert ALIKE < narrow < 1
