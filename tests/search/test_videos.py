"""Rows become videos: how alike two of them are, and where."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.embedding import unit
from vidsim.schemas.rows import StoredRow
from vidsim.search.videos import (
    align,
    from_embedded,
    from_stored,
    row_by_row,
    similarities,
    similarity,
    summarize,
)

from ..helpers.embedded_videos import embedded

LAB, LITE0, VID2IMG = (BACKBONES[n] for n in ("labhist", "efficientnet_lite0", "vid2img"))


def frames(count: int, seed: int, first_s: float = 0.0, a_segment: int = 8, step: float = 1.25):
    """`count` unlike frames, one every `step` seconds, cut into segments of `a_segment`."""
    vectors = np.random.default_rng(seed).standard_normal((count, LITE0.dim), np.float32)
    start = first_s + step * np.arange(count)
    return vectors, [i // a_segment for i in range(count)], start, start + step


def made(vectors, segments, start, end, backbone=LITE0):
    return summarize(backbone, segments, vectors, start.tolist(), end.tolist())


def test_a_segment_is_the_normalised_mean_of_its_rows():
    vectors, segments, start, end = frames(20, seed=1)
    video = made(vectors, segments, start, end)
    assert video.edges.tolist() == [0, 8, 16, 20]
    assert np.allclose(video.means[1], unit(unit(vectors[8:16]).mean(0)), atol=1e-6)
    assert np.allclose(np.linalg.norm(video.rows, axis=1), 1, atol=1e-6)


def test_similarity_is_how_well_the_video_covers_the_query():
    whole = made(*frames(32, seed=2))
    part = made(*(a[8:16] for a in frames(32, seed=2)))
    assert similarity(LITE0, part, whole) == pytest.approx(1, abs=1e-5)
    # Three quarters of the long one have no like in the part.
    best = (whole.means @ part.means.T).max(1)
    assert similarity(LITE0, whole, part) == pytest.approx(best.mean(), abs=1e-6)
    assert similarity(LITE0, whole, part) < 0.5


def test_vid2img_is_compared_by_mean_squared_difference():
    strips = np.random.default_rng(3).uniform(0, 1, (2, VID2IMG.dim)).astype(np.float32)
    time = np.zeros(1), np.ones(1)
    a, b = (made(strip[None], [0], *time, backbone=VID2IMG) for strip in strips)
    assert similarity(VID2IMG, a, a) == pytest.approx(0, abs=1e-6)
    expected = -np.mean((strips[0] - strips[1]) ** 2)
    assert similarity(VID2IMG, a, b) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", ["vid2img", "i3d"])
def test_row_by_row_is_as_all_with_all(name):
    backbone = BACKBONES[name]
    a, b = (unit(np.random.default_rng(n).normal(size=(5, backbone.dim))) for n in range(2))
    assert row_by_row(backbone, a, b) == pytest.approx(
        similarities(backbone, a, b).diagonal(), abs=1e-6
    )


@given(st.integers(0, 24), st.integers(3, 8))
def test_a_cutting_is_found_where_it_was_cut(first, count):
    vectors, segments, start, end = frames(32, seed=4)
    video = made(vectors, segments, start, end)
    cut = slice(first, first + count)
    clip = made(vectors[cut], [0] * count, start[cut] - start[first], end[cut] - start[first])
    where = align(LITE0, clip, video)
    assert (where.query_start_s, where.query_end_s) == pytest.approx((0, 1.25 * count))
    assert where.start_s == pytest.approx(start[first])
    assert where.end_s == pytest.approx(end[first + count - 1])


def test_one_frame_that_looks_like_many_does_not_decide():
    vectors, segments, start, end = frames(32, seed=5)
    clip_vectors = vectors[10:16].copy()
    clip_vectors[0] = vectors[24]  # a picture that comes again later
    video = made(vectors, segments, start, end)
    clip = made(clip_vectors, [0] * 6, start[:6], end[:6])
    where = align(LITE0, clip, video)
    assert where.start_s == pytest.approx(start[10])


def test_rows_from_milvus_and_from_extraction_make_the_same_video():
    video = embedded("lib/a.mp4", segments=3, seed=6)
    direct = from_embedded(LITE0, video)
    rows, vectors = [], []
    for segment, part in zip(video.segments, video.embeddings, strict=True):
        found = part.rows["efficientnet_lite0"]
        for i, vector in enumerate(found.vectors):
            time = float(found.start_s[i]), float(found.end_s[i])
            row = StoredRow(f"{i}", "lib/a.mp4", "lib", "", "", segment.index, *time, "")
            rows.append(row)
            vectors.append(vector)
    stored = from_stored(LITE0, rows, unit(np.array(vectors)))["lib/a.mp4"]
    assert direct is not None
    for name in ("rows", "start_s", "end_s", "edges", "means"):
        assert np.allclose(getattr(direct, name), getattr(stored, name), atol=1e-6), name


def test_a_video_without_rows_is_none():
    assert from_embedded(BACKBONES["yamnet"], embedded("lib/a.mp4")) is None
    assert from_embedded(LAB, embedded("lib/a.mp4")) is not None
