"""Projections onto a plane: what is alike lies together, whatever is missing."""

from __future__ import annotations

import numpy as np
import pytest

from vidsim.schemas.embedding import FloatArray
from vidsim.search.server.maps import projection
from vidsim.search.server.maps.projection import clusters, neighbour_plane, plane, reduced

long = pytest.mark.acceptance
"""Loads scikit-learn, which takes seconds."""


def groups(count: int, dim: int, seed: int = 0) -> tuple[FloatArray, np.ndarray]:
    """Vectors (n, dim) of 6 groups, and the group (n,) of each."""
    random = np.random.default_rng(seed)
    of = np.arange(count) % 6
    centers = random.standard_normal((6, dim))
    return (centers[of] + 0.3 * random.standard_normal((count, dim))).astype(np.float32), of


def near(flat: FloatArray, of: np.ndarray) -> float:
    """The part of the videos whose nearest on the plane is of their own group."""
    distances = ((flat[:, None] - flat[None]) ** 2).sum(axis=2)
    np.fill_diagonal(distances, np.inf)
    return float((of[distances.argmin(axis=1)] == of).mean())


def test_what_is_alike_lies_together() -> None:
    vectors, of = groups(240, 300)
    components = reduced([(vectors, 1.0)])
    assert components.shape == (240, 50)
    flat = plane(components)
    assert flat.shape == (240, 2)
    assert np.abs(flat).max() == pytest.approx(1, abs=1e-6)
    assert near(flat, of) >= 0.6


@long
def test_on_the_better_plane_neighbours_stay_neighbours() -> None:
    vectors, of = groups(240, 300)
    flat = neighbour_plane(reduced([(vectors, 1.0)]))
    assert np.abs(flat).max() == pytest.approx(1, abs=1e-6)
    assert near(flat, of) >= 0.98


@long
def test_of_many_videos_a_sample_is_laid_out_and_the_others_among_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(projection, "_SAMPLE", 100)
    vectors, of = groups(400, 40)
    flat = neighbour_plane(reduced([(vectors, 1.0)]))
    assert flat.shape == (400, 2)
    assert near(flat, of) >= 0.95


def test_a_modality_that_a_video_lacks_does_not_move_it() -> None:
    frame, of = groups(120, 60)
    audio, _ = groups(120, 30, seed=1)
    audio[::2] = np.nan
    both = reduced([(frame, 1.0), (audio, 0.5)])
    assert np.isfinite(both).all()
    assert near(plane(both), of) > 0.5
    # A modality counts by its weight, however large its numbers are.
    louder = reduced([(frame, 1.0), (1000 * audio, 0.5)])
    assert np.allclose(np.abs(both), np.abs(louder), atol=1e-3)


def test_clusters_are_of_what_is_alike_the_largest_first() -> None:
    vectors, of = groups(72, 50)
    found = clusters(reduced([(vectors, 1.0)]))
    sizes = np.bincount(found)
    assert len(sizes) == 6
    assert (np.diff(sizes) <= 0).all()
    of_one_group = [np.bincount(of[found == each]).max() for each in range(6)]
    assert sum(of_one_group) / len(of) > 0.8


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_few_videos(count: int) -> None:
    components = few(count)
    assert is_plane(plane(components), count)
    assert clusters(components).shape == (count,)


@long
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5])
def test_few_videos_on_the_better_plane(count: int) -> None:
    assert is_plane(neighbour_plane(few(count)), count)


@long
def test_videos_that_are_all_the_same_have_a_place() -> None:
    same = reduced([(np.ones((20, 8), np.float32), 1.0)])
    assert is_plane(plane(same), 20)
    assert is_plane(neighbour_plane(same), 20)


def few(count: int) -> FloatArray:
    vectors = np.random.default_rng(0).standard_normal((count, 8)).astype(np.float32)
    return reduced([(vectors, 1.0)])


def is_plane(flat: FloatArray, count: int) -> bool:
    return flat.shape == (count, 2) and bool((np.abs(flat) <= 1).all())
