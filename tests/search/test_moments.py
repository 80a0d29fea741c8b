"""Moments: where a query and a video correspond."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import DEFAULT_PRESET, PRESETS
from vidsim.search.fusion import WEIGHTS
from vidsim.search.likeness import TYPICAL, Yardstick
from vidsim.search.moments import find_moments
from vidsim.search.videos import VideoVectors, summarize

F, A = Modality.FRAME, Modality.AUDIO
NAMES = PRESETS[DEFAULT_PRESET]
YARDSTICKS = {m: Yardstick(BACKBONES[NAMES[m]], TYPICAL[NAMES[m]]) for m in Modality}
WEIGHTS_ = WEIGHTS["calibrated"]
EVERY_S = 1.0


def story(seconds: float, seed: int) -> np.ndarray:
    """Something that changes slowly: (n, 64), a row each tenth of a second."""
    random = np.random.default_rng(seed)
    steps = random.normal(size=(round(seconds * 10), 64))
    walk = np.cumsum(steps, axis=0) * 0.3 + 4 * random.normal(size=64)
    return walk / np.linalg.norm(walk, axis=1, keepdims=True)


def described(told: np.ndarray, modality: Modality, offset_s: float = 0.0) -> VideoVectors:
    """Rows of what is told, one a second, from an offset on."""
    times = np.arange(offset_s + EVERY_S / 2, len(told) / 10, EVERY_S)
    rows = np.zeros((len(times), BACKBONES[NAMES[modality]].dim), np.float32)
    rows[:, :64] = told[np.round(times * 10).astype(int).clip(max=len(told) - 1)]
    segments = [0] * len(times)
    starts = times - EVERY_S / 2
    backbone = BACKBONES[NAMES[modality]]
    return summarize(backbone, segments, rows, starts, starts + EVERY_S)


def both(told: np.ndarray) -> dict[Modality, VideoVectors]:
    return {m: described(told, m) for m in (F, A)}


@given(st.integers(0, 1000), st.floats(0, 20), st.floats(4, 9))
@settings(max_examples=25, deadline=None)
def test_a_cut_out_clip_is_found_where_it_is_from(seed, start_s, length_s):
    told = story(30, seed)
    clip = told[round(start_s * 10) : round((start_s + length_s) * 10)]
    best = find_moments(both(clip), both(told), YARDSTICKS, WEIGHTS_)[0]
    assert best.start_s - best.query_start_s == pytest.approx(start_s, abs=1.0)
    assert best.end_s - best.start_s == pytest.approx(best.query_end_s - best.query_start_s)


def test_what_comes_twice_is_found_twice():
    scene, other = story(6, 1), story(10, 2)
    video = np.concatenate([other, scene, story(10, 3), scene, story(8, 4)])
    found = find_moments(both(scene), both(video), YARDSTICKS, WEIGHTS_)
    starts = sorted(moment.start_s - moment.query_start_s for moment in found)
    assert starts == pytest.approx([10, 26], abs=1.0)


def test_of_a_long_query_the_part_that_corresponds_is_told():
    scene = story(12, 5)
    query = np.concatenate([story(70, 6), scene, story(20, 7)])
    video = np.concatenate([story(15, 8), scene, story(9, 9)])
    best = find_moments(both(query), both(video), YARDSTICKS, WEIGHTS_)[0]
    assert (best.query_start_s, best.start_s) == pytest.approx((70, 15), abs=2.0)
    assert best.end_s - best.start_s == pytest.approx(12, abs=4.0)


def test_where_nothing_changes_all_of_it_is_one_moment():
    still = np.tile(story(0.1, 3), (300, 1))
    (only,) = find_moments(both(still[:60]), both(still), YARDSTICKS, WEIGHTS_)
    assert only.end_s - only.start_s == pytest.approx(6.0)
    assert only.likeness > 0.9


def test_a_copy_is_one_moment_as_much_alike_as_it_is():
    told = story(30, 12)
    (only,) = find_moments(both(told), both(told), YARDSTICKS, WEIGHTS_)
    assert (only.query_start_s, only.query_end_s) == (only.start_s, only.end_s) == (0.0, 30.0)
    assert only.likeness > 0.95


def test_a_picture_is_seen_for_as_long_as_the_scene_lasts():
    still = np.tile(story(0.1, 20), (80, 1))
    video = np.concatenate([story(12, 21), still, story(10, 22)])
    rows = described(still[:10], F).rows
    picture = summarize(BACKBONES[NAMES[F]], [0], rows, [0.0], [0.0])
    (only,) = find_moments({F: picture}, both(video), YARDSTICKS, WEIGHTS_)
    assert (only.query_start_s, only.query_end_s) == (0, 0)
    assert (only.start_s, only.end_s) == pytest.approx((12, 20), abs=1.0)


@pytest.mark.parametrize("start_s", [100.0, 3210.0])
def test_in_hours_of_video_a_clip_is_found_to_the_second(start_s):
    told = story(2 * 3600, 13)
    clip = told[round(start_s * 10) : round(start_s * 10) + 100]
    tracemalloc.start()
    best = find_moments(both(clip), both(told), YARDSTICKS, WEIGHTS_)[0]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert best.start_s - best.query_start_s == pytest.approx(start_s, abs=1.0)
    assert peak < 200e6


def test_a_long_part_of_hours_is_found_to_the_second():
    told = story(2 * 3600, 15)
    clip = told[29_409 : 29_409 + 12_000]  # between two steps of the coarse grid
    best = find_moments(both(clip), both(told), YARDSTICKS, WEIGHTS_)[0]
    assert best.start_s - best.query_start_s == pytest.approx(2940.9, abs=1.0)


def test_in_a_scene_that_hardly_changes_what_changes_tells_the_time():
    random = np.random.default_rng(16)
    scene, each_s = random.normal(size=64), random.normal(size=(41, 64))
    moved = [np.interp(np.arange(400) / 10, np.arange(41), column) for column in each_s.T]
    told = scene + 0.05 * np.transpose(moved)
    worse = 0.3 * random.normal(size=64)  # as of another encoder, the same in each frame
    clip = told[173:243] + worse
    best = find_moments(both(clip), both(told), YARDSTICKS, WEIGHTS_)[0]
    assert best.start_s - best.query_start_s == pytest.approx(17.3, abs=1.0)


def test_hours_against_themselves_are_one_moment():
    told = both(story(3600, 14))
    found = find_moments(told, told, YARDSTICKS, WEIGHTS_)
    assert [(m.start_s, m.query_start_s) for m in found] == [(pytest.approx(0, abs=1.0),) * 2]
    assert found[0].end_s == pytest.approx(3600, abs=5.0)


def test_one_modality_may_be_all_there_is():
    told = story(20, 11)
    clip = told[50:100]
    best = find_moments({F: described(clip, F)}, both(told), YARDSTICKS, WEIGHTS_)[0]
    assert best.start_s - best.query_start_s == pytest.approx(5.0, abs=1.0)
