"""Fusion: calibrated attention and reciprocal ranks, checked against their formulas."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsim.schemas.errors import ModelError
from vidsim.schemas.modality import Modality
from vidsim.search.fusion import WEIGHTS, Background, fuse, parse_weights, ranks

F, A, C = Modality.FRAME, Modality.AUDIO, Modality.COLOR
CHANCE = {m: Background(0.3, 0.1) for m in Modality}
W = WEIGHTS["calibrated"]


def test_calibrated_is_the_published_formula():
    similarities = {F: {"a": 0.9, "b": 0.5, "c": 0.3}, C: {"a": 0.2, "b": 0.8, "c": 0.3}}
    fused = fuse("calibrated", similarities, CHANCE, W)
    expected = {}
    for video in "abc":
        parts = []
        for modality, found in similarities.items():
            z = {i: (s - 0.3) / 0.1 for i, s in found.items()}
            share = math.exp(z[video]) / sum(math.exp(v) for v in z.values())
            parts.append((W[modality], W[modality] * share))
        expected[video] = sum(p for _, p in parts) / sum(w for w, _ in parts)
    assert {i: f.score for i, f in fused.items()} == pytest.approx(expected)
    assert list(fused) == sorted(expected, key=lambda i: -expected[i])


def test_a_missing_modality_neither_helps_nor_hurts():
    similarities = {F: {"heard": 0.6, "silent": 0.7, "x": 0.3}, A: {"heard": 0.3}}
    fused = fuse("calibrated", similarities, CHANCE, W)
    alone = fuse("calibrated", {F: similarities[F]}, CHANCE, W)
    assert fused["silent"].score == pytest.approx(alone["silent"].score)
    assert fused["silent"].shares == {F: 1.0}
    # The only other video with sound sounds like chance: that must not win.
    assert next(iter(fused)) == "silent"


def test_a_near_copy_does_not_overflow():
    fused = fuse("calibrated", {F: {"a": 1e6, "b": 0.1}}, CHANCE, W)
    assert fused["a"].score == pytest.approx(1, abs=1e-3)


def test_rrf_is_the_published_formula():
    similarities = {F: {"a": 3.0, "b": 2.0, "c": 1.0}, C: {"b": 9.0, "a": 1.0}}
    fused = fuse("rrf", similarities, {}, WEIGHTS["rrf"])
    expected = {"a": (61 / 61 + 61 / 62) / 2, "b": (61 / 62 + 61 / 61) / 2, "c": 61 / 63}
    assert {i: f.score for i, f in fused.items()} == pytest.approx(expected)
    assert list(fused) == ["a", "b", "c"]


@given(
    st.dictionaries(
        st.sampled_from([F, A, C]),
        st.dictionaries(st.sampled_from("abcdef"), st.floats(-1, 1), min_size=1),
        min_size=1,
    ),
    st.sampled_from(["calibrated", "rrf"]),
)
def test_shares_explain_the_score(similarities, fusion):
    fused = fuse(fusion, similarities, CHANCE, W)
    assert set(fused) == {i for found in similarities.values() for i in found}
    scores = [f.score for f in fused.values()]
    assert scores == sorted(scores, reverse=True)
    for video, result in fused.items():
        assert 0 < result.score <= 1 + 1e-9
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
