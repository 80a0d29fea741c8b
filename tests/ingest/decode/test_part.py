"""A part of a clip: what is seen and heard is that stretch and region, on the clip's own clock."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from vidsim.ingest.decode import video as video_module
from vidsim.ingest.decode.events import Failed, SegmentMedia
from vidsim.ingest.decode.picture import crop
from vidsim.ingest.decode.pool import decode_all
from vidsim.ingest.decode.segments import DecodeRequest
from vidsim.schemas.errors import MediaError
from vidsim.schemas.modality import FrameSampling
from vidsim.schemas.part import Part

from ...helpers.clips import MakeClip
from ...helpers.decoded import heard, moments, run
from ...helpers.media_cases import Piece, second_of, write

CASES = {
    "mp4": {"codec": "libx264", "audio_codec": "aac", "reordered": True},
    "mkv": {"codec": "libx264", "audio_codec": "mp2", "reordered": True},
    "ts": {"codec": "libx264", "audio_codec": "mp2", "reordered": True},
    "avi": {},
    "flv": {"codec": "flv", "audio_codec": "aac"},
}
FOUR = FrameSampling(4, 64, "stretch")


@pytest.mark.parametrize("suffix", CASES)
def test_a_stretch_shows_what_the_whole_shows_there(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"x.{suffix}", [Piece(12)], **CASES[suffix])
    opened, media, lost = run(path, part=Part(5.0, 8.0))
    (only,) = media
    assert opened.duration_s == pytest.approx(12, abs=0.2)
    assert (only.segment.start_s, only.segment.end_s) == (5.0, 8.0)
    for time_s, number in moments(media, 8.0):
        assert abs(number - time_s * 25) <= 3, (time_s, number)
    assert heard(media) == [5, 6, 7]
    assert not lost.picture_s
    assert not lost.sound_s


def test_a_stretch_is_cut_into_segments_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "x.mkv", [Piece(12)])
    _, media, _ = run(path, part=Part(3.0), segment_seconds=4.0)
    stretches = [(m.segment.index, m.segment.start_s, m.segment.end_s) for m in media]
    assert stretches[0] == (0, 3.0, 7.0)
    assert stretches[1] == (1, 7.0, pytest.approx(12, abs=0.1))


def test_decoding_begins_at_the_last_key_frame_before(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip(
        times=[n / 25 for n in range(250)], codec="libx264", options={}, name="long.mkv"
    )
    with av.open(str(path)) as container:
        keys = [float(p.pts * p.time_base) for p in container.demux() if p.size and p.is_keyframe]
    decoded: list[float] = []
    real = video_module.Picture

    def picture(frame: av.VideoFrame, *more: object) -> object:
        decoded.append(frame.time)
        return real(frame, *more)

    monkeypatch.setattr(video_module, "Picture", picture)
    run(path, part=Part(7.0, 8.0), audio=False)
    assert decoded[0] == pytest.approx(max(key for key in keys if key <= 7.0))
    assert decoded[-1] < 8.5


def test_what_was_on_the_screen_when_the_stretch_begins_counts(make_clip: MakeClip) -> None:
    slides = make_clip(times=[0, 10, 20, 20.04])
    _, media, lost = run(slides, part=Part(3.0, 5.0), audio=False)
    (only,) = media
    assert np.ptp(only.frames["x"].astype(int)) == 0
    assert not lost.picture_s
    _, (later,), _ = run(slides, part=Part(12.0, 14.0), audio=False)
    assert later.frames["x"].mean() > only.frames["x"].mean()


def test_where_only_one_stream_lasts_the_other_is_missing(make_clip: MakeClip) -> None:
    path = make_clip(times=[0, 0.5, 1.0], tone=(440, 6, 16_000, 1))
    _, (only,), _ = run(path, part=Part(3.0, 5.0))
    assert not only.frames
    assert only.audio is not None
    assert len(only.audio) == 2 * 16_000


def test_a_stretch_after_the_end_is_told(make_clip: MakeClip) -> None:
    path = make_clip(times=[n / 25 for n in range(50)])
    with pytest.raises(MediaError, match=r"it lasts 0:02, and the part begins at 1:10$"):
        run(path, part=Part(70.0))
    _, (only,), _ = run(path, part=Part(1.0, 70.0))
    assert only.segment.end_s == pytest.approx(2.0)


def quarters() -> np.ndarray:
    """Red, green, blue and white quarters, (48, 64, 3)."""
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[:24, :32, 0] = picture[:24, 32:, 1] = picture[24:, :32, 2] = 200
    picture[24:, 32:] = 200
    return picture


@pytest.mark.parametrize(
    "region", [(0.5, 0.0, 0.5, 0.5), (32, 0, 32, 24), (40, 4, 999, 16), (0.5, 0, 0.25, 0.25)]
)
def test_only_the_region_is_seen(make_clip: MakeClip, region: tuple[float, ...]) -> None:
    path = make_clip(times=[0, 0.2, 0.4], images=[quarters()], pix_fmt="bgr0")
    _, (only,), _ = run(path, part=Part(region=region), frames={"x": FOUR}, audio=False)
    assert only.frames["x"].shape == (4, 64, 64, 3)
    assert np.abs(only.frames["x"].astype(int) - (0, 200, 0)).max() <= 3


def test_a_region_is_of_the_picture_as_it_is_shown(make_clip: MakeClip) -> None:
    """Turned by a quarter, and with pixels that are twice as wide as high."""
    path = make_clip("turned.mp4", times=[0, 0.2], images=[quarters()], codec="libx264",
                     pix_fmt="yuv420p", rotation=90)  # fmt: skip
    whole = run(path, frames={"x": FOUR}, audio=False)[1][0].frames["x"][0].astype(int)
    region = (0.0, 0.0, 0.5, 0.5)
    part = run(path, part=Part(region=region), frames={"x": FOUR}, audio=False)[1][0]
    corner = whole[8:24, 8:24].mean(axis=(0, 1))
    assert np.abs(part.frames["x"][0][16:48, 16:48].mean(axis=(0, 1)) - corner).max() < 8
    wide = make_clip("wide.mp4", times=[0, 0.2], images=[quarters()], codec="libx264",
                     pix_fmt="yuv444p", aspect=Fraction(2, 1))  # fmt: skip
    pixels = Part(region=(64, 0, 64, 24))  # of 128 x 48
    seen = run(wide, part=pixels, frames={"x": FOUR}, audio=False)[1][0].frames["x"][0]
    assert np.abs(seen[8:-8, 8:-8].astype(int) - (0, 200, 0)).max() <= 12


@pytest.mark.parametrize("region", [(64, 0, 10, 10), (1, 0, 0.5, 0.5), (0.001, 0.001, 0.001, 0.5)])
def test_a_region_outside_of_the_picture_is_told(region: tuple[float, float, float, float]) -> None:
    with pytest.raises(MediaError, match="covers nothing of its 64x48 pixels"):
        crop(quarters(), region)


def test_a_part_goes_through_the_decoders_channel(tmp_path: Path) -> None:
    path = str(write(tmp_path / "x.mkv", [Piece(6)]))
    parts = [Part(2.0, 3.0, (0.0, 0.0, 0.5, 1.0)), Part(region=(500, 0, 5, 5)), Part(9.0)]
    requests = [(n, DecodeRequest(path, {"x": FOUR}, True, part=p)) for n, p in enumerate(parts)]
    events = list(decode_all(requests, 1))
    (media,) = [e for n, e in events if n == 0 and isinstance(e, SegmentMedia)]
    assert media.audio is not None
    assert (second_of(media.audio), media.segment.start_s) == (2, 2.0)
    failed = {n: e.reason for n, e in events if isinstance(e, Failed)}
    assert failed == {
        1: "the region 500,0,5,5 covers nothing of its 96x32 pixels",
        2: "it lasts 0:06, and the part begins at 0:09",
    }
