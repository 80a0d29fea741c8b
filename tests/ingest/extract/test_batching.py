"""Assembly: segments of many videos in batches, several batches under way, whole videos out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from vidsim.ingest.decode.events import Event, Failed, Finished, Opened, SegmentMedia
from vidsim.ingest.extract.batching import Assembly, FailedVideo
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.embedding import Damage, EmbeddedVideo, Rows, SegmentEmbedding
from vidsim.schemas.errors import WorkerError
from vidsim.schemas.video import Segment, Video

BATCH = 2
ROW = Rows(np.zeros((1, 512), np.float32), np.zeros(1, np.float32), np.ones(1, np.float32))


class Batches:
    """Stands in for `Extraction`: says which batches were begun, and which were waited for."""

    batch_size = BATCH

    def __init__(self) -> None:
        self.begun: list[list[float]] = []
        self.taken: list[list[float]] = []
        self.broken = False

    def submit(self, media: Sequence[SegmentMedia]) -> Any:
        starts = [m.segment.start_s for m in media]
        self.begun.append(starts)
        batches = self

        class Extracting:
            def result(self) -> list[SegmentEmbedding]:
                if batches.broken:
                    raise WorkerError("The audio process failed.")
                batches.taken.append(starts)
                return [SegmentEmbedding({"labhist": ROW}) for _ in starts]

        return Extracting()


@pytest.fixture
def batches() -> Batches:
    return Batches()


@pytest.fixture
def assembly(batches: Batches) -> Assembly:
    videos = [Video(f"lib/{i}.mp4", "lib", f"/lib/{i}.mp4", "", "f0", 1, 1) for i in range(9)]
    return Assembly(videos, [BACKBONES["labhist"]], 10.0, batches)  # type: ignore[arg-type]


def segments(number: int, count: int) -> list[tuple[int, Event]]:
    """What a decoder says of a video; the start of a segment tells whose and which it is."""
    opened = Opened(10.0 * count, count, has_video=True, has_audio=False)
    parts = [
        SegmentMedia(Segment(i, 100.0 * number + 10 * i, 100.0 * number + 10 * i + 10))
        for i in range(count)
    ]
    return [(number, opened), *((number, part) for part in parts)]


def whole(number: int, count: int = 1) -> list[tuple[int, Event]]:
    return [*segments(number, count), (number, Finished(count))]


def run(assembly: Assembly, events: Sequence[tuple[int, Event]]) -> list[str]:
    """Ids of the videos that `events` decide; those that failed with the reason."""
    return [say(found) for number, event in events for found in assembly.take(number, event)]


def say(found: EmbeddedVideo | FailedVideo) -> str:
    if isinstance(found, FailedVideo):
        return f"{found.video.video_id}: {found.reason}"
    return found.video.video_id


def test_batches_begin_before_earlier_ones_are_taken(assembly, batches):
    decided = run(assembly, [event for i in range(5) for event in whole(i)])
    assert batches.begun == [[0, 100], [200, 300]]
    assert batches.taken == []
    assert decided == []
    # The third waits for the first: pictures that wait for a network take memory.
    decided = run(assembly, whole(5))
    assert batches.begun == [[0, 100], [200, 300], [400, 500]]
    assert batches.taken == [[0, 100]]
    assert decided == ["lib/0.mp4", "lib/1.mp4"]
    assert [say(found) for found in assembly.flush()] == [f"lib/{i}.mp4" for i in (2, 3, 4, 5)]


def test_a_video_is_whole_when_all_of_its_batches_are_taken(assembly, batches):
    decided = run(assembly, [*whole(0, count=5), *whole(1, count=2)])
    assert batches.begun == [[0, 10], [20, 30], [40, 100]]
    assert decided == []
    found = list(assembly.flush())
    assert [say(video) for video in found] == ["lib/0.mp4", "lib/1.mp4"]
    assert isinstance(found[0], EmbeddedVideo)
    assert [segment.start_s for segment in found[0].segments] == [0, 10, 20, 30, 40]


def test_a_video_that_fails_while_its_batch_is_under_way_takes_no_other_with_it(assembly, batches):
    decided = run(assembly, [*segments(0, 3), *segments(1, 1)])
    assert batches.begun == [[0, 10], [20, 100]]
    decided = run(assembly, [(0, Failed("It is damaged")), (1, Finished(1))])
    assert decided == ["lib/0.mp4: It is damaged."]
    assert [say(found) for found in assembly.flush()] == ["lib/1.mp4"]
    assert batches.taken == [[0, 10], [20, 100]]


def test_segments_of_a_video_that_failed_are_not_begun(assembly, batches):
    run(assembly, [*segments(0, 1), (0, Failed("It is damaged")), *whole(1), *whole(2)])
    assert batches.begun == [[100, 200]]


def test_what_stops_a_batch_stops_the_ingest(assembly, batches):
    run(assembly, [*whole(0), *whole(1)])
    batches.broken = True
    with pytest.raises(WorkerError):
        list(assembly.flush())


def test_sound_that_was_left_out_is_not_taken_for_computed(batches: Batches) -> None:
    video = Video("lib/0.mp4", "lib", "/lib/0.mp4", "", "f0", 1, 1)
    backbones = [BACKBONES["labhist"], BACKBONES["yamnet"]]
    assembly = Assembly([video], backbones, 10.0, batches)  # type: ignore[arg-type]
    lost = Damage(sound="its sound")
    events = [*segments(0, 2)[:-1], (0, Finished(2, damage=lost, without_sound=True))]
    found = [v for number, event in events for v in assembly.take(number, event)]
    (stored,) = [*found, *assembly.flush()]
    assert isinstance(stored, EmbeddedVideo)
    assert stored.backbones == {"labhist"}
    assert stored.damage == lost
