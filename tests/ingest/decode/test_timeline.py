"""One clock for a file: what stamps are believed, and what becomes of those that are not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidsim.ingest.decode.stamps import JUMP_S, Stamps
from vidsim.ingest.decode.timeline import Track, straighten

FRAME, SOUND = 0.04, 0.024


def stream(
    times: Sequence[float],
    period: float = FRAME,
    places: Sequence[int] | None = None,
    is_picture: bool = True,
    duration: Sequence[float] | None = None,
) -> Stamps:
    clock = np.asarray(times, np.float64)
    return Stamps(
        place=np.asarray(places if places is not None else range(len(clock)), np.int64),
        decoded_s=clock.copy(),
        shown_s=clock.copy(),
        duration_s=np.asarray(duration if duration is not None else [period] * len(clock)),
        counts=np.ones(len(clock), bool),
        is_picture=is_picture,
    )


def interleaved(
    pieces: Sequence[tuple[float, float, float]],
) -> tuple[Stamps, Stamps]:
    """Picture and sound of pieces (clock, seconds, how much later the sound starts)."""
    packets: list[tuple[bool, float]] = []
    for clock, seconds, late in pieces:
        pictures = [(True, clock + i * FRAME) for i in range(round(seconds / FRAME))]
        sounds = [(False, clock + late + i * SOUND) for i in range(round(seconds / SOUND))]
        packets += sorted(pictures + sounds, key=lambda packet: packet[1])
    found = []
    for kind in (True, False):
        chosen = [(n, t) for n, (is_picture, t) in enumerate(packets) if is_picture == kind]
        period = FRAME if kind else SOUND
        found.append(stream([t for _, t in chosen], period, [n for n, _ in chosen], kind))
    return found[0], found[1]


def evenly(track: Track, period: float) -> None:
    np.testing.assert_allclose(np.diff(track.shown_s), period, atol=1e-9)


def test_stamps_that_run_on_are_left_as_they_are() -> None:
    (track,) = straighten([stream([5.0, 5.04, 5.08, 9.0])], clock_jumps=True)
    np.testing.assert_allclose(track.packets_s, [0, 0.04, 0.08, 4.0])
    assert track.end_s == pytest.approx(4.04)


def test_second_0_is_the_start_of_whichever_stream_begins_first() -> None:
    picture, sound = stream([17.0, 17.04]), stream([2.0, 2.024], SOUND, is_picture=False)
    tracks = straighten([picture, sound], clock_jumps=False)
    assert [track.start_s for track in tracks] == pytest.approx([15.0, 0.0])


@pytest.mark.parametrize("jump", [-1e5, -600.0, -11.0, 11.0, 600.0, 95443.7, 1e6])
def test_a_clock_that_jumps_goes_on_where_it_was(jump: float) -> None:
    picture, sound = interleaved([(100.0, 12.0, 0.0), (112.0 + jump, 12.0, 0.0)])
    shown, heard = straighten([picture, sound], clock_jumps=True)
    evenly(shown, FRAME)
    assert shown.end_s == pytest.approx(24.0)
    assert np.abs(np.diff(heard.shown_s) - SOUND).max() <= SOUND


def test_a_pause_is_kept_where_the_clock_does_not_jump() -> None:
    (track,) = straighten([stream([0, 0.04, 1800.0, 1800.04])], clock_jumps=False)
    assert track.shown_s[2] == pytest.approx(1800.0)


@pytest.mark.parametrize("wrong", [46_800.0, 9_800.0, 12.0, -5.0, -300.0])
@pytest.mark.parametrize("at", [1, 50, 98])
@pytest.mark.parametrize("clock_jumps", [False, True])
def test_one_wrong_stamp_is_put_right(wrong: float, at: int, clock_jumps: bool) -> None:
    times = 300 + np.arange(100) * FRAME
    times[at] += wrong
    (track,) = straighten([stream(times)], clock_jumps)
    np.testing.assert_allclose(track.packets_s, np.arange(100) * FRAME, atol=1e-6)


def test_a_presentation_time_stays_where_only_the_decoding_time_is_wrong() -> None:
    """As libav guesses it in Matroska after damage."""
    stamps = stream(300 + np.arange(50) * FRAME)
    stamps.decoded_s[20] -= 0.6
    (track,) = straighten([stamps], clock_jumps=False)
    np.testing.assert_allclose(track.packets_s, np.arange(50) * FRAME, atol=1e-6)


@pytest.mark.parametrize("wrong", [46_800.0, -300.0])
def test_a_wrong_stamp_at_either_end_is_put_right(wrong: float) -> None:
    times = 300 + np.arange(100) * FRAME
    times[0] += wrong
    (track,) = straighten([stream(times)], clock_jumps=True)
    np.testing.assert_allclose(track.packets_s, np.arange(100) * FRAME, atol=1e-6)
    times = 300 + np.arange(100) * FRAME
    times[-1] += abs(wrong)
    (track,) = straighten([stream(times)], clock_jumps=True)
    assert track.end_s == pytest.approx(4.0)


@pytest.mark.parametrize("wrong", [1.0, 5.0, 9.0, 4000.0, -2.0])
@pytest.mark.parametrize("delay", [0, 2])
def test_a_presentation_time_that_is_far_from_the_decoding_time_is_wrong(
    wrong: float, delay: int
) -> None:
    stamps = stream(300 + np.arange(50) * FRAME)
    stamps.decoded_s[:] -= delay * FRAME
    stamps.shown_s[20] += wrong
    (track,) = straighten([stamps], clock_jumps=False)
    np.testing.assert_allclose(track.packets_s, np.arange(50) * FRAME, atol=1e-6)


def test_pictures_that_are_reordered_are_left_in_their_order() -> None:
    """Decoded 0 3 1 2 6 4 5 ..., one a second; libav leaves out the first decoding times."""
    order = [0, *(n for first in range(3, 60, 3) for n in (first, first - 2, first - 1))]
    stamps = stream(np.array(order, float))
    stamps.decoded_s[:] = np.arange(len(order)) - 2.0
    stamps.decoded_s[:2] = np.nan
    (track,) = straighten([stamps], clock_jumps=False)
    np.testing.assert_allclose(track.packets_s, order, atol=1e-6)
    stamps.decoded_s[:] = np.nan
    (track,) = straighten([stamps], clock_jumps=False)
    np.testing.assert_allclose(track.packets_s, order, atol=1e-6)


@pytest.mark.parametrize("pause", [1.0, 9.0])
@pytest.mark.parametrize("wrong", [0.0, 0.9, 12.0])
def test_a_picture_that_ends_a_pause_stays_where_it_is(pause: float, wrong: float) -> None:
    """Decoded 0 3 1 2 6 4 5 ...: number 30 is decoded before the pause that it ends."""
    order = [0, *(n for first in range(3, 90, 3) for n in (first, first - 2, first - 1))]
    times = np.arange(90) * FRAME + np.where(np.arange(90) >= 30, pause, 0.0)
    stamps = stream(times[order])
    stamps.decoded_s[2:] = times[: len(order) - 2]
    stamps.decoded_s[:2] = [-2 * FRAME, -FRAME]
    stamps.shown_s[order.index(70)] += wrong
    (track,) = straighten([stamps], clock_jumps=True)
    off = np.abs(track.packets_s - times[order])
    assert off[order.index(70)] <= 3 * FRAME
    assert np.delete(off, order.index(70)).max() < 1e-6


def test_work_is_linear_in_the_number_of_stretches_and_is_told() -> None:
    told = []
    picture, sound = interleaved([(1000.0 * (i % 2), 2.0, 0.0) for i in range(400)])
    shown, _ = straighten([picture, sound], True, lambda: told.append(1))
    assert shown.end_s == pytest.approx(800.0)
    assert len(told) >= len(picture.place) // 4096


def test_the_last_picture_stays_as_long_as_it_says_and_the_last_sound_does_not() -> None:
    lasts = [FRAME, FRAME, 11.0]
    (shown,) = straighten([stream([0, 0.04, 0.08], duration=lasts)], clock_jumps=False)
    (heard,) = straighten(
        [stream([0, 0.04, 0.08], is_picture=False, duration=[0.04, 0.04, 268_435.0])], True
    )
    assert shown.end_s == pytest.approx(11.08)
    assert heard.end_s == pytest.approx(0.12)


def test_packets_without_duration_last_as_long_as_the_others() -> None:
    (track,) = straighten([stream([0, 0.1, 0.2], duration=[0, 0, 0])], clock_jumps=False)
    assert track.end_s == pytest.approx(0.3)


def test_the_sound_of_the_old_stretch_may_come_after_the_first_picture_of_the_new() -> None:
    picture = stream([0, 0.04, 0.08, 50.0, 50.04], places=[0, 1, 2, 3, 6])
    sound = stream([0.0, 0.06, 50.0, 50.06], 0.06, places=[4, 5, 7, 8], is_picture=False)
    shown, heard = straighten([picture, sound], clock_jumps=True)
    np.testing.assert_allclose(shown.packets_s, [0, 0.04, 0.08, 0.12, 0.16])
    np.testing.assert_allclose(heard.packets_s, [0, 0.06, 0.12, 0.18])


piece = st.tuples(st.floats(0, 95_000), st.floats(1.0, 8.0), st.floats(-0.3, 0.3))


@given(st.lists(piece, min_size=1, max_size=6))
def test_pieces_put_together_run_on_one_clock(pieces: list[tuple[float, float, float]]) -> None:
    # Neighbours whose clocks happen to fit together are one stretch with a pause.
    for (clock, seconds, _), (after, _, _) in zip(pieces, pieces[1:]):
        if -1.0 <= after - clock - seconds <= 2 * JUMP_S or abs(after - clock) <= seconds + 1:
            return
    picture, sound = interleaved(pieces)
    shown, heard = straighten([picture, sound], clock_jumps=True)
    total = sum(round(seconds / FRAME) * FRAME for _, seconds, _ in pieces)
    late = max(0.0, -pieces[0][2])
    assert shown.end_s == pytest.approx(total + late, abs=0.35 * len(pieces))
    assert (np.diff(shown.packets_s) > -1e-9).all()
    at = 0
    for number, (_, seconds, after) in enumerate(pieces):
        frames, packets = round(seconds / FRAME), round(seconds / SOUND)
        first = sum(round(s / SOUND) for _, s, _ in pieces[:number])
        steps = np.diff(shown.packets_s[at : at + frames])
        np.testing.assert_allclose(steps, FRAME, atol=1e-6)
        # Within a piece picture and sound stay as far apart as they were.
        apart = heard.packets_s[first : first + packets][0] - shown.packets_s[at]
        assert apart == pytest.approx(after, abs=1e-6)
        at += frames
