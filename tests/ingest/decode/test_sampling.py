"""Sampling moments and serving them with frames."""

from __future__ import annotations

import numpy as np
import pytest

from vidsim.ingest.decode.sampling import ShownReader, sample_times
from vidsim.schemas.modality import FrameSampling
from vidsim.schemas.video import Segment


def test_even_sampling_takes_midpoints() -> None:
    times = sample_times(FrameSampling(4, 8, "crop"), Segment(1, 10.0, 12.0))
    assert times.dtype == np.float64
    np.testing.assert_allclose(times, [10.25, 10.75, 11.25, 11.75])


def test_fps_sampling_lies_around_the_middle() -> None:
    times = sample_times(FrameSampling(5, 8, "crop", fps=10.0), Segment(0, 0.0, 10.0))
    np.testing.assert_allclose(times, [4.8, 4.9, 5.0, 5.1, 5.2])


@pytest.mark.parametrize("end_s", [0.0, 0.04, 0.9, 1.27, 1.28, 10.0, 15.0])
def test_no_sample_lies_outside_the_segment(end_s: float) -> None:
    times = sample_times(FrameSampling(32, 8, "crop", fps=25.0), Segment(0, 0.0, end_s))
    assert times.shape == (32,)
    assert (times >= 0).all()
    assert (times <= end_s).all()
    assert (np.diff(times) >= 0).all()


def test_a_short_segment_is_sampled_evenly_instead_of_at_fps() -> None:
    short = Segment(0, 2.0, 3.0)
    np.testing.assert_allclose(
        sample_times(FrameSampling(32, 8, "crop", fps=25.0), short),
        sample_times(FrameSampling(32, 8, "crop"), short),
    )


def test_the_last_item_that_began_serves_each_moment_and_may_serve_several() -> None:
    reader = ShownReader(iter([(0.0, "a"), (1.0, "b"), (5.0, "c")]))
    moments = (-1, 0.4, 0.999, 1.0, 2.9, 4.9, 5.0, 9.5)
    assert [reader.at(t)[1] for t in moments] == list("aaabbbcc")
    assert reader.exhausted
    assert reader.last_s == 5.0


def test_reading_stops_at_the_item_after_the_moment() -> None:
    read: list[int] = []

    def items() -> object:
        for i in range(10):
            read.append(i)
            yield float(i), i

    reader: ShownReader[int] = ShownReader(items())  # type: ignore[arg-type]
    assert reader.at(3.4) == (3.0, 3)
    assert read == [0, 1, 2, 3, 4]


def test_items_that_run_back_in_time_are_passed_over() -> None:
    reader = ShownReader(iter([(0.0, "a"), (2.0, "b"), (1.0, "late"), (3.0, "c")]))
    assert [reader.at(t)[1] for t in (0.9, 2.1, 3.6)] == ["a", "b", "c"]


def test_an_empty_stream_serves_nothing() -> None:
    reader: ShownReader[int] = ShownReader(iter([]))
    assert not reader.prime()
    with pytest.raises(ValueError, match="no item"):
        reader.at(0.0)
