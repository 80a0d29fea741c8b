"""Measures: against scikit-learn, SciPy-like formulas and cases worked out by hand."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import structural_similarity
from sklearn.metrics import average_precision_score

from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import DEFAULT_PRESET, PRESETS
from vidsim.search.evaluation.color_metrics import l2, mse, ssim
from vidsim.search.evaluation.measures import (
    Outcomes,
    class_mean,
    interval,
    judge,
    mean,
    resample,
    sign_flip_p,
    vote,
)
from vidsim.search.fusion import WEIGHTS, fuse
from vidsim.search.likeness import Background, Yardstick, average, likeness


def test_a_ranking_worked_out_by_hand():
    classes = np.array([0, 1, 0, 1, 0])
    scores = np.array([[0.1, 0.9, 0.8, np.nan, 0.5]])  # ranking: 1, 2, 4, 0
    judged = judge(scores, classes, np.array([0]), np.array([3]), 3)
    assert judged.nearest.tolist() == [1]
    assert judged.predicted.tolist() == [0]
    assert judged.first_hit.tolist() == [2]
    assert judged.precision == pytest.approx([(1 / 2 + 2 / 3 + 3 / 4) / 3])


def test_what_is_not_ranked_counts_as_a_miss():
    scores = np.array([[0.9, np.nan], [np.nan, np.nan]])
    judged = judge(scores, np.array([0, 0]), np.array([0, 0]), np.array([2, 2]), 3)
    assert judged.precision.tolist() == [0.5, 0]
    assert judged.first_hit.tolist() == [1, 0]
    assert judged.nearest.tolist() == [0, -1]
    assert judged.predicted.tolist() == [0, -1]


@given(st.integers(0, 1000))
def test_average_precision_is_that_of_scikit_learn(seed):
    random = np.random.default_rng(seed)
    scores, classes = random.random((4, 30)), random.integers(0, 3, 30)
    own = np.array([c for c in range(3) if (classes == c).any()])
    scores = scores[: len(own)]
    relevant = (classes == own[:, None]).sum(axis=1)
    judged = judge(scores, classes, own, relevant, 3)
    for i, c in enumerate(own):
        assert judged.precision[i] == pytest.approx(
            average_precision_score(classes == c, scores[i])
        )


@given(st.integers(0, 1000), st.integers(1, 12))
def test_ties_go_by_the_order_of_the_videos(seed, k):
    random = np.random.default_rng(seed)
    scores, classes = random.integers(0, 4, (3, 10)) / 4.0, random.integers(0, 2, 10)
    scores[random.random(scores.shape) < 0.3] = np.nan
    own = np.zeros(3, np.int64)
    judged = judge(scores, classes, own, np.full(3, 10), k)
    for i, row in enumerate(scores):
        order = sorted(np.flatnonzero(~np.isnan(row)), key=lambda video: -row[video])
        ranks = [rank for rank, video in enumerate(order, 1) if classes[video] == 0]
        assert judged.nearest[i] == (order[0] if order else -1)
        assert judged.first_hit[i] == (ranks[0] if ranks else 0)
        precisions = [hits / rank for hits, rank in enumerate(ranks, 1)]
        assert judged.precision[i] == pytest.approx(sum(precisions) / 10)
        voters = np.full((1, k), -1)
        voters[0, : len(order)] = classes[order[:k]]
        assert judged.predicted[i] == vote(voters)[0]


@pytest.mark.parametrize(
    ("nearest", "winner"),
    [([1, 2, 2], 2), ([3, 2, 1], 3), ([1, 2, 2, 1, 0], 1), ([-1, -1, -1], -1), ([4, -1, -1], 4)],
)
def test_a_vote_is_the_majority_and_ties_go_to_the_nearest(nearest, winner):
    assert vote(np.array([nearest])).tolist() == [winner]


def outcomes(sums, counts, classes) -> Outcomes:
    n = len(sums)
    return Outcomes(np.arange(n), np.array(sums, float), np.array(counts, float), np.array(classes))


def test_the_mean_over_classes_gives_each_class_one_voice():
    found = outcomes([1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1])
    drawn = np.ones((2, 4), np.float32)
    assert mean(found, drawn)[0] == 0.75
    assert class_mean(found, drawn)[0] == 0.5
    assert class_mean(found, drawn)[1].tolist() == [0.5, 0.5]


def test_a_class_nobody_drew_is_left_out():
    found = outcomes([1, 0], [1, 1], [0, 1])
    assert class_mean(found, np.array([[2, 0]], np.float32))[1].tolist() == [1.0]


def test_rows_of_a_video_are_drawn_together():
    found = outcomes([8, 0], [8, 2], [0, 0])
    value, resampled = mean(found, np.array([[1, 1], [0, 2]], np.float32))
    assert value == 0.8
    assert resampled.tolist() == [0.8, 0.0]


def test_the_interval_is_as_wide_as_statistics_say():
    right = np.random.default_rng(1).random(400) < 0.7
    found = outcomes(right, np.ones(400), np.zeros(400, int))
    drawn = resample(400, 2000, 0)
    assert (drawn.sum(axis=1) == 400).all()
    bounds = interval(*mean(found, drawn))
    error = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 400)
    assert bounds.high - bounds.low == pytest.approx(2 * error, rel=0.1)
    assert bounds.low < bounds.value < bounds.high


def test_p_is_that_of_the_exact_sign_test():
    # All 5 pairs favour the first: of 32 sign patterns 2 reach as far.
    assert sign_flip_p(np.full(5, 0.2), 20_000, 0) == pytest.approx(2 / 32, abs=0.005)
    assert sign_flip_p(np.zeros(9), 100, 0) == 1


def test_p_is_uniform_where_nothing_differs():
    random = np.random.default_rng(0)
    found = [sign_flip_p(random.standard_normal(30), 200, i) for i in range(200)]
    assert np.mean(np.array(found) < 0.05) < 0.12
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def test_colour_metrics_are_those_of_the_books():
    random = np.random.default_rng(0)
    strips = random.random((5, 20, 100, 3), np.float32)
    strips[1] = np.clip(strips[0] + 0.05 * random.standard_normal((20, 100, 3)), 0, 1)
    flat = strips.reshape(5, -1)
    for i in range(5):
        for j in range(5):
            difference = flat[i].astype(float) - flat[j]
            expected = structural_similarity(strips[i], strips[j], channel_axis=2, data_range=1.0)
            assert ssim(flat, flat)[i, j] == pytest.approx(expected, abs=1e-5)
            assert mse(flat, flat)[i, j] == pytest.approx(-(difference**2).mean(), abs=1e-5)
            assert l2(flat, flat)[i, j] == pytest.approx(-np.linalg.norm(difference), abs=0.1)


def test_ssim_of_many_strips_takes_no_more_memory_than_of_some():
    strips = np.random.default_rng(0).random((640, 6000), np.float32)

    def peak(count: int) -> int:
        tracemalloc.start()
        found = ssim(strips[:1], strips[:count])
        assert found[0, -1] == pytest.approx(ssim(strips[:1], strips[count - 1 : count])[0, 0])
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(640) < 2 * peak(100)


@given(st.integers(0, 300), st.sampled_from([3, 40, 80]))
def test_many_queries_are_fused_as_one_is(seed, count):
    random = np.random.default_rng(seed)
    chance = Background(0.3, 0.1)
    yardsticks = {m: Yardstick(BACKBONES[PRESETS[DEFAULT_PRESET][m]], chance) for m in Modality}
    scores = {m: random.uniform(-1, 1, (3, count)) for m in Modality}
    for m in (Modality.AUDIO, Modality.COLOR):
        scores[m][random.random((3, count)) < 0.4] = np.nan
    odds = {m: yardsticks[m].log_odds(found) for m, found in scores.items()}
    together = likeness(average(odds, WEIGHTS["calibrated"]))
    for q in range(3):
        alone = fuse(
            "calibrated",
            {m: {str(i): s for i, s in enumerate(f[q]) if s == s} for m, f in scores.items()},
            yardsticks,
            WEIGHTS["calibrated"],
        )
        assert [alone[str(i)].likeness for i in range(count)] == pytest.approx(together[q].tolist())
