"""Random time lines, decoded as they were written: `random_files` builds them, and knows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vidsim.ingest.decode.events import Opened, SegmentMedia
from vidsim.ingest.decode.lost import Lost
from vidsim.ingest.decode.sampling import sample_times
from vidsim.ingest.decode.segments import DecodeRequest, decode
from vidsim.schemas.modality import SAMPLE_RATE, FrameSampling
from vidsim.schemas.video import Segment

from ...helpers import media_cases, random_files
from ...helpers.random_files import Truth

SAMPLING = FrameSampling(20, 96, "stretch")

ROUNDING_S = 2e-3
"""Two ticks of Matroska: of a stamp, and of the start of the file."""


def check_seed(seed: int, folder: Path) -> None:
    """Builds a file and holds what is decoded of it against what is known of it."""
    path, truth = random_files.build(seed, folder)
    try:
        opened, *media, lost = decode(DecodeRequest(str(path), {"x": SAMPLING}, audio=True))
        assert isinstance(opened, Opened)
        assert isinstance(lost, Lost)
        segments = [part for part in media if isinstance(part, SegmentMedia)]
        # Sound ends with its last packet, after what its encoder put before it.
        wanted = pytest.approx(truth.duration_s, abs=truth.slack_s + 1.5 * random_files.PACKET_S)
        assert opened.duration_s == wanted
        check_lost(lost, truth)
        check_pictures(segments, truth)
        check_sound(segments, truth)
    except Exception as error:
        raise AssertionError(f"seed {seed}, {truth.built}: {error}") from error
    path.unlink()


def check_lost(lost: Lost, truth: Truth) -> None:
    """All that is lost is told, and at most what is unsure."""
    assert not lost.sound_s
    assert not lost.breaks_off
    assert not lost.missing
    told_s = sum(end - start for start, end in lost.picture_s)
    first, behind = truth.lost
    least_s = truth.begins_s(behind) - truth.begins_s(first)
    if behind - first <= 2 or (truth.unsure[1] == len(truth.shown_s) and least_s < 0.5):
        least_s = 0.0  # so few may be fields; what comes after the last sample is not looked at
    from_s, to_s = (truth.begins_s(number) for number in truth.unsure)
    assert least_s - ROUNDING_S <= told_s + tolerance_s(truth)
    assert told_s <= to_s - from_s + ROUNDING_S
    for start, end in lost.picture_s:
        assert from_s - ROUNDING_S <= start <= end <= to_s + ROUNDING_S


def tolerance_s(truth: Truth) -> float:
    """Where pictures are reordered, two at either side may stand alone, and are not told."""
    return 0.0 if truth.lost[0] == truth.unsure[0] else 4 * float(np.diff(truth.shown_s).max())


def check_pictures(segments: list[SegmentMedia], truth: Truth) -> None:
    """Every picture is taken while it is on the screen; where any begins, some are taken."""
    unsure = [truth.begins_s(number) for number in truth.unsure]
    # Of an end that is lost nothing is sampled, so other moments are than of a whole file.
    lost_end = truth.unsure[1] == len(truth.shown_s)
    shown_s = np.array(truth.shown_s)
    sampled = [part.segment for part in segments if part.frames]
    for number, time_s in enumerate(shown_s):
        if not truth.unsure[0] <= number < truth.unsure[1]:
            near = truth.slack_s + ROUNDING_S
            assert any(s.start_s - near <= time_s <= s.end_s + near for s in sampled), number
    for part in segments:
        if not part.frames:
            continue
        start_s = max(part.segment.start_s, shown_s[0])
        end_s = min(part.segment.end_s, truth.picture_end_s)
        if lost_end and end_s > unsure[0]:
            continue
        times = sample_times(SAMPLING, Segment(part.segment.index, start_s, end_s))
        for time_s, frame in zip(times, part.frames["x"]):
            if unsure[0] <= time_s < unsure[1]:
                continue
            near = truth.slack_s + ROUNDING_S
            least, most = np.searchsorted(shown_s, [time_s - near, time_s + near], side="right") - 1
            found = media_cases.number_of(frame)
            assert max(least, 0) <= found <= max(most, 0), f"picture {found} at {time_s:.3f} s"


def check_sound(segments: list[SegmentMedia], truth: Truth) -> None:
    """The middle of every second holds that second's tone, or nothing in a gap."""
    quarter = SAMPLE_RATE // 4
    for part in segments:
        if part.audio is None:
            continue
        for second in range(int(part.segment.start_s), int(part.segment.end_s) + 1):
            begin = round((second - part.segment.start_s) * SAMPLE_RATE) + quarter
            samples = part.audio[max(begin, 0) : begin + 2 * quarter]
            if begin < 0 or len(samples) < 2 * quarter:
                continue
            start_s, end_s = second + 0.25 - truth.slack_s, second + 0.75 + truth.slack_s
            heard = any(a <= start_s and end_s <= b for a, b in truth.heard_s)
            silent = all(
                end_s < a - random_files.PACKET_S or b + random_files.PACKET_S < start_s
                for a, b in truth.heard_s
            )
            found = media_cases.second_of(samples)
            if heard:
                assert found is not None, f"nothing is heard at {second} s"
                assert int(start_s) <= found <= int(end_s), f"second {found} at {second} s"
            elif silent:
                assert found is None, f"second {found} at {second} s"


@pytest.mark.parametrize("seed", range(30))
def test_random_files_are_decoded_as_they_were_written(tmp_path: Path, seed: int) -> None:
    check_seed(seed, tmp_path)


@pytest.mark.acceptance
@pytest.mark.parametrize("first", range(1000, 3000, 250))
def test_two_thousand_random_files_are_decoded_as_they_were_written(
    first: int, tmp_path: Path
) -> None:
    failed = []
    for seed in range(first, first + 250):
        try:
            check_seed(seed, tmp_path)
        except AssertionError as error:
            failed.append(str(error))
    assert not failed, "\n".join([f"{len(failed)} failed", *failed])
