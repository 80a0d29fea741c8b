"""Fusion: likeness, attention and reciprocal ranks, checked against their formulas."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.errors import ModelError
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import DEFAULT_PRESET, PRESETS
from vidsim.search.fusion import WEIGHTS, fuse, parse_weights, ranks
from vidsim.search.likeness import Background, Yardstick

F, A, C = Modality.FRAME, Modality.AUDIO, Modality.COLOR
YARDSTICKS = {
    m: Yardstick(BACKBONES[PRESETS[DEFAULT_PRESET][m]], Background(0.3, 0.1)) for m in Modality
}
W = WEIGHTS["calibrated"]


def test_the_relative_score_is_the_published_formula():
    similarities = {F: {"a": 0.9, "b": 0.5, "c": 0.3}, C: {"a": 0.2, "b": 0.8, "c": 0.3}}
    fused = fuse("calibrated", similarities, YARDSTICKS, W)
    for video in "abc":
        parts = []
        for modality, found in similarities.items():
            z = {i: (s - 0.3) / 0.1 for i, s in found.items()}
            share = math.exp(z[video]) / sum(math.exp(v) for v in z.values())
            parts.append((W[modality], W[modality] * share))
        expected = sum(p for _, p in parts) / sum(w for w, _ in parts)
        assert fused[video].relative == pytest.approx(expected)


def test_the_ranking_is_that_of_likeness():
    similarities = {F: {"a": 0.9, "b": 0.5, "c": 0.3}, C: {"a": 0.2, "b": 0.8, "c": 0.3}}
    fused = fuse("calibrated", similarities, YARDSTICKS, W)
    alike = [f.likeness for f in fused.values()]
    assert next(iter(fused)) == "a"
    assert alike == sorted(alike, reverse=True)


def test_a_missing_modality_neither_helps_nor_hurts():
    similarities = {F: {"heard": 0.6, "silent": 0.7, "x": 0.3}, A: {"heard": 0.3}}
    fused = fuse("calibrated", similarities, YARDSTICKS, W)
    alone = fuse("calibrated", {F: similarities[F]}, YARDSTICKS, W)
    assert fused["silent"].likeness == alone["silent"].likeness
    assert fused["silent"].relative == pytest.approx(alone["silent"].relative)
    assert fused["silent"].shares == {F: 1.0}
    # The only other video with sound sounds like chance: that must not win.
    assert next(iter(fused)) == "silent"


def test_a_near_copy_does_not_overflow():
    fused = fuse("calibrated", {F: {"a": 1e6, "b": 0.1}}, YARDSTICKS, W)
    assert fused["a"].relative == pytest.approx(1, abs=1e-3)
    assert fused["a"].likeness > 0.95


def test_rrf_is_the_published_formula():
    similarities = {F: {"a": 3.0, "b": 2.0, "c": 1.0}, C: {"b": 9.0, "a": 1.0}}
    fused = fuse("rrf", similarities, YARDSTICKS, WEIGHTS["rrf"])
    expected = {"a": (61 / 61 + 61 / 62) / 2, "b": (61 / 62 + 61 / 61) / 2, "c": 61 / 63}
    assert {i: f.relative for i, f in fused.items()} == pytest.approx(expected)
    assert list(fused) == ["a", "b", "c"]


@given(
    st.dictionaries(
        st.sampled_from([F, A, C]),
        st.dictionaries(st.sampled_from("abcdef"), st.floats(-1, 1), min_size=1),
        min_size=1,
    ),
    st.sampled_from(["calibrated", "rrf"]),
)
def test_shares_explain_the_relative_score(similarities, fusion):
    fused = fuse(fusion, similarities, YARDSTICKS, W)
    assert set(fused) == {i for found in similarities.values() for i in found}
    ranked = [f.likeness if fusion == "calibrated" else f.relative for f in fused.values()]
    assert ranked == sorted(ranked, reverse=True)
    for video, result in fused.items():
        assert 0 < result.relative <= 1 + 1e-9
        assert 0 <= result.likeness <= 1
        assert set(result.by_modality) == set(result.shares)
        assert sum(result.shares.values()) == pytest.approx(1)
        assert set(result.shares) == {m for m, found in similarities.items() if video in found}


def test_ranks_break_ties_by_name():
    assert ranks({"b": 1.0, "a": 1.0, "c": 2.0}) == {"c": 1, "a": 2, "b": 3}


def test_weights_are_read_and_checked():
    weights = parse_weights("frame=2,color=0.5", "calibrated")
    assert (weights[F], weights[C], weights[A]) == (2, 0.5, W[A])
    for wrong in ("frame", "frame=x", "frame=0", "frame=-1", "frame=inf"):
        with pytest.raises(ModelError, match="is no weight"):
            parse_weights(wrong, "calibrated")
    with pytest.raises(ModelError, match="smell"):
        parse_weights("smell=1", "calibrated")
