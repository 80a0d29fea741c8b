"""A long file is decoded by all decoders that have nothing else to do, as if by one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import av
import numpy as np
import pytest

from vidsim.ingest.decode.events import Event, Failed, Finished, Opened, SegmentMedia
from vidsim.ingest.decode.lost import Lost, together
from vidsim.ingest.decode.pool import DecodeLimits, decode_all
from vidsim.ingest.decode.segments import DecodeRequest, decode
from vidsim.ingest.decode.shares import LEAST, Decoded, Share, Shares
from vidsim.ingest.system.stages import Spent
from vidsim.schemas.modality import FrameSampling
from vidsim.schemas.video import Segment

from ...helpers.structured_clips import KINDS, write

FRAMES = {"x": FrameSampling(4, 32, "stretch")}

DECODER = """
import os
from vidsim.ingest.decode import worker as decode_worker
from vidsim.schemas.errors import MediaError

def main(channel):
    real = decode_worker.decode

    def decode(request, on_progress, until):
        if request.first_segment and (request.audio or not os.environ["ONLY_SOUND"]):
            os._exit(3)
        yield from real(request, on_progress, until)

    decode_worker.decode = decode
    decode_worker.main(channel)
"""


@pytest.fixture
def long_clip(tmp_path: Path) -> Path:
    """40 s with noise for a sound; pictures stand alone every two seconds."""
    silent = write(tmp_path / "silent", KINDS["h264"], 40.0)
    path = tmp_path / "long.mp4"
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 40 * 16_000)).astype(np.float32)
    with av.open(str(silent)) as source, av.open(str(path), "w") as output:
        picture = output.add_stream_from_template(source.streams.video[0])
        sound = output.add_stream("aac", rate=16_000, layout="mono")
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = picture
                output.mux(packet)
        frame = av.AudioFrame.from_ndarray(noise, "fltp", "mono")
        frame.sample_rate = 16_000
        output.mux([*sound.encode(frame), *sound.encode(None)])
    return path


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once a decoder has taken a part of what another one does."""
    event = threading.Event()
    take = Shares._take

    def noting(self: Shares) -> Share | None:
        share = take(self)
        if share is not None:
            event.set()
        return share

    monkeypatch.setattr(Shares, "_take", noting)
    return event


def decoded(
    path: Path,
    workers: int,
    taken: threading.Event,
    limits: DecodeLimits | None = None,
    joining: int = 0,
) -> list[Event]:
    """What a pool gives of one file, taken from it once two decoders share it."""
    request = DecodeRequest(str(path), FRAMES, True, segment_seconds=1.0)
    events: list[Event] = []
    with closing(decode_all([(0, request)], workers, limits or DecodeLimits(), joining)) as found:
        for _, event in found:
            events.append(event)
            assert taken.wait(60) or not isinstance(event, Opened)
    return events


@pytest.mark.parametrize(("workers", "joining"), [(3, 0), (1, 1)])
def test_a_file_of_several_decoders_is_as_of_one(
    long_clip: Path, taken: threading.Event, workers: int, joining: int
) -> None:
    events = decoded(long_clip, workers, taken, joining=joining)
    request = DecodeRequest(str(long_clip), FRAMES, True, segment_seconds=1.0)
    alone = [event for event in decode(request) if isinstance(event, SegmentMedia)]
    segments = {e.segment.index: e for e in events if isinstance(e, SegmentMedia)}
    assert len(events) == len(segments) + 2
    assert isinstance(events[0], Opened)
    assert events[-1] == Finished(len(alone))
    assert sorted(segments) == [media.segment.index for media in alone]
    for media in alone:
        found = segments[media.segment.index]
        np.testing.assert_array_equal(found.frames["x"], media.frames["x"])
        assert media.audio is not None
        np.testing.assert_array_equal(found.audio, media.audio)


@pytest.mark.parametrize("only_sound", ["", "yes"])
def test_a_part_that_fails_is_told_of_the_file(
    long_clip: Path,
    taken: threading.Event,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    only_sound: str,
) -> None:
    (tmp_path / "failing_decoder.py").write_text(DECODER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("ONLY_SOUND", only_sound)
    limits = DecodeLimits(worker="failing_decoder:main", env={"ONLY_SOUND": only_sound})
    events = decoded(long_clip, 2, taken, limits)
    ends = [event for event in events if isinstance(event, Finished | Failed)]
    if only_sound:
        assert len([e for e in events if isinstance(e, SegmentMedia)]) == 40
        (end,) = ends
        assert isinstance(end, Finished)
        assert end.without_sound
        assert "its sound was left out" in end.damage.describe()
    else:
        assert ends == [Failed("the decoder ended with code 3")]
        assert events[-1] == ends[0]


def test_what_is_not_long_or_must_be_decoded_whole_is_not_divided() -> None:
    request = DecodeRequest("clip", FRAMES, True)
    for segments, divisible in ((LEAST - 1, True), (1000, False)):
        under_way = Shares()
        share = under_way.begin(0, request)
        under_way.is_new(share, Opened(1.0, segments, True, True, divisible))
        under_way.end()
        assert under_way.wait_to_take(lambda: pytest.fail("nothing to wait for")) is None


def test_the_later_half_of_the_longest_is_taken() -> None:
    under_way = Shares()
    for number, segments in enumerate((50, 200, 100)):
        share = under_way.begin(number, DecodeRequest(f"clip{number}", FRAMES, True))
        under_way.is_new(share, Opened(1.0, segments, True, True, divisible=True))
    parts = [under_way.wait_to_take(lambda: False) for _ in range(3)]
    found = [(p.file.number, p.request.first_segment, p.end) for p in parts if p is not None]
    assert found == [(1, 100, 150), (1, 50, 100), (1, 150, None)]


def test_who_has_nothing_to_do_waits_for_files_that_are_not_yet_known() -> None:
    under_way = Shares()
    share = under_way.begin(0, DecodeRequest("clip", FRAMES, True))

    def wait() -> bool:
        return under_way.is_new(share, Opened(1.0, 100, True, True, divisible=True))

    part = under_way.wait_to_take(wait)
    assert part is not None
    assert (part.request.first_segment, share.end) == (50, 50)


def test_what_was_lost_is_put_together() -> None:
    under_way = Shares()
    whole = under_way.begin(0, DecodeRequest("clip", FRAMES, True))
    assert under_way.is_new(whole, Opened(100.0, 100, True, True, divisible=True))
    part = under_way.wait_to_take(lambda: False)
    assert part is not None
    for share, index in ((whole, 0), (part, 50), (whole, 50)):
        new = under_way.is_new(share, SegmentMedia(Segment(index, index, index + 1)))
        assert new == ((share, index) != (whole, 50))
    first = Decoded(Lost(((1.0, 2.0),), 0.5), Spent(1.0))
    second = Decoded(
        Lost(((1.0, 3.0), (60.0, 61.0)), 2.0, missing="its end is missing"), Spent(2.0)
    )
    assert under_way.ended(part, second) is None
    end = under_way.ended(whole, first)
    assert isinstance(end, Finished)
    assert end.segments == 2
    assert end.spent == Spent(3.0)
    assert end.damage.picture == (
        "of 100.0 s, 3.0 s of the picture (1.0-3.0, 60.0-61.0) did not decode; its end is missing"
    )
    assert together([]) == Lost()


def test_who_only_joins_takes_no_file(long_clip: Path) -> None:
    requests = [(i, DecodeRequest(str(long_clip), FRAMES, False)) for i in range(4)]
    begun: list[int] = []

    def noted() -> Iterator[tuple[int, DecodeRequest]]:
        for request in requests:
            begun.append(threading.get_ident())
            yield request

    ends = [e for _, e in decode_all(noted(), 1, joining=2) if isinstance(e, Finished)]
    assert len(ends) == len(requests)
    assert len({*begun}) == 1
