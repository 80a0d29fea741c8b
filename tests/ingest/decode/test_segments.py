"""Decoding one file: which frames and samples come out, and what is refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.codec.hwaccel import HWAccel
from av.container import InputContainer

from vidsim.ingest.decode import video as decode_video
from vidsim.ingest.decode.events import Opened, SegmentMedia
from vidsim.ingest.decode.lost import Lost
from vidsim.ingest.decode.sampling import sample_times
from vidsim.ingest.decode.segments import DecodeRequest, decode
from vidsim.schemas.errors import MediaError
from vidsim.schemas.modality import SAMPLE_RATE, FrameSampling

MakeClip = Callable[..., Path]
TEN = FrameSampling(10, 32, "stretch")
CROP = FrameSampling(1, 224, "crop")


def run(path: Path | str, **wanted: object) -> tuple[Opened, list[SegmentMedia]]:
    """Decodes all of `path`, by default ten stretched frames a segment and the sound."""
    request = DecodeRequest(str(path), **{"frames": {"x": TEN}, "audio": True, **wanted})  # type: ignore[arg-type]
    opened, *between, lost = decode(request)
    assert isinstance(opened, Opened)
    assert isinstance(lost, Lost)
    segments = [event for event in between if isinstance(event, SegmentMedia)]
    assert len(segments) == len(between)
    return opened, segments


def numbers(frames: np.ndarray) -> list[int]:
    """The frame numbers that `make_clip` wrote as grey levels."""
    assert frames.dtype == np.uint8
    assert frames.ndim == 4
    assert frames.shape[3] == 3
    assert np.ptp(frames.reshape(len(frames), -1), axis=1).max() <= 4
    # 219 steps of luma are 255 of RGB.
    return [round(level * 219 / 255) for level in frames.mean(axis=(1, 2, 3))]


def on_screen(times: list[float], wanted: np.ndarray) -> list[int]:
    """Which of the frames that begin at `times` is on the screen: the last that began."""
    return [int(np.searchsorted(times, t + 5e-4, side="right")) - 1 for t in wanted]


def test_sampled_frames_are_exactly_those_on_the_screen(make_clip: MakeClip) -> None:
    times = [i / 25 for i in range(100)]
    opened, (media,) = run(make_clip(times=times))
    assert opened == Opened(opened.duration_s, 1, has_video=True, has_audio=False)
    assert opened.duration_s == pytest.approx(4.0, abs=0.002)
    assert media.audio is None
    assert media.frames["x"].shape == (10, 32, 32, 3)
    assert numbers(media.frames["x"]) == on_screen(times, sample_times(TEN, media.segment))


def test_variable_frame_rate_is_sampled_by_time(make_clip: MakeClip) -> None:
    times = [i / 50 for i in range(100)] + [2.0 + i / 2 for i in range(12)]
    _, (media,) = run(make_clip(times=times))
    assert numbers(media.frames["x"]) == on_screen(times, sample_times(TEN, media.segment))


def test_fps_sampling_takes_the_middle(make_clip: MakeClip) -> None:
    motion = FrameSampling(8, 16, "stretch", fps=25.0)
    times = [i / 25 for i in range(200)]
    _, (media,) = run(make_clip(times=times), frames={"m": motion})
    found = numbers(media.frames["m"])
    assert found == list(range(found[0], found[0] + 8))
    assert found[0] in (95, 96)


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("b.avi", "mpeg4", "yuv420p"),
        ("b.mp4", "libx264", "yuv420p"),
        ("ten_bit.mp4", "libx264", "yuv420p10le"),
        ("raw.h264", "libx264", "yuv420p"),
        ("stream.ts", "libx264", "yuv420p"),
    ],
)
def test_containers_and_codecs_agree(
    make_clip: MakeClip, name: str, codec: str, pix_fmt: str
) -> None:
    times = [i / 25 for i in range(100)]
    options = {"g": "12"}
    path = make_clip(name, times=times, codec=codec, pix_fmt=pix_fmt, options=options)
    opened, (media,) = run(path)
    assert opened.duration_s == pytest.approx(4.0, abs=0.1)
    expected = on_screen(times, sample_times(TEN, media.segment))
    assert np.abs(np.subtract(numbers(media.frames["x"]), expected)).max() <= 2


@pytest.mark.parametrize(("size", "large"), [((640, 360), False), ((1920, 1080), True)])
def test_large_pictures_are_a_gpus_where_there_is_one(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], large: bool
) -> None:
    path = make_clip("b.mp4", times=[i / 25 for i in range(30)], codec="libx264", size=size)
    tried = []
    open_local = decode_video.open_local

    def watched(path: str, on: HWAccel | None = None) -> InputContainer:
        tried.append(on is not None)
        return open_local(path, on)

    monkeypatch.setattr(decode_video, "open_local", watched)
    _, (on_cpu,) = run(path)
    assert not any(tried)
    _, (media,) = run(path, nvdec=True)
    assert any(tried) == large
    off = np.abs(np.subtract(media.frames["x"], on_cpu.frames["x"], dtype=np.int16))
    assert off.max() <= 2


def test_a_long_video_comes_segment_by_segment(make_clip: MakeClip) -> None:
    times = [i / 25 for i in range(625)]
    path = make_clip(times=times, tone=(440.0, 25.0, 16000, 1))
    events = decode(DecodeRequest(str(path), {"x": TEN}, True))
    opened = next(events)
    assert isinstance(opened, Opened)
    assert opened == Opened(opened.duration_s, 2, has_video=True, has_audio=True)
    assert opened.duration_s == pytest.approx(25.0, abs=0.01)
    media = [event for event in events if isinstance(event, SegmentMedia)]
    bounds = [(m.segment.index, m.segment.start_s, round(m.segment.end_s, 2)) for m in media]
    assert bounds == [(0, 0.0, 10.0), (1, 10.0, 25.0)]
    for m in media:
        expected = on_screen(times, sample_times(TEN, m.segment))
        assert numbers(m.frames["x"]) == [number % 220 for number in expected]
    assert [len(m.audio) for m in media if m.audio is not None] == [160_000, 240_000]


def test_segments_are_handed_over_before_the_file_is_read_to_its_end(make_clip: MakeClip) -> None:
    path = make_clip(times=[i / 8 for i in range(200)])
    packets = 0

    def count() -> None:
        nonlocal packets
        packets += 1

    events = decode(DecodeRequest(str(path), {"x": TEN}, False, segment_seconds=5.0), count)
    next(events)
    scanned = packets
    next(events)
    assert packets - scanned < 60


@pytest.mark.parametrize("count", [1, 3])
def test_fewer_frames_than_asked_are_repeated(make_clip: MakeClip, count: int) -> None:
    _, (media,) = run(make_clip(times=[i / 25 for i in range(count)]))
    found = numbers(media.frames["x"])
    assert len(found) == 10
    assert sorted(set(found)) == list(range(count))
    assert found == sorted(found)


def test_sound_keeps_its_length_pitch_and_loudness(make_clip: MakeClip) -> None:
    path = make_clip(times=[i / 25 for i in range(75)], tone=(440.0, 3.0, 44100, 2))
    opened, (media,) = run(path)
    assert opened.has_audio
    assert media.audio is not None
    assert media.audio.dtype == np.float32
    assert media.audio.shape == (3 * SAMPLE_RATE,)
    spectrum = np.abs(np.fft.rfft(media.audio))
    assert spectrum.argmax() / 3 == pytest.approx(440, abs=0.4)
    middle = media.audio[8000:40000]
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


def test_sound_that_starts_late_is_in_its_place(make_clip: MakeClip) -> None:
    path = make_clip(
        times=[i / 25 for i in range(100)], tone=(440.0, 2.0, 16000, 1), audio_from_s=1.0
    )
    _, (media,) = run(path)
    assert media.audio is not None
    assert len(media.audio) == 3 * SAMPLE_RATE
    assert not media.audio[:15_900].any()
    assert np.abs(media.audio[16_100:17_000]).max() > 0.4


def test_sound_longer_than_the_picture_is_kept(make_clip: MakeClip) -> None:
    times = [i / 25 for i in range(100)]
    opened, media = run(make_clip(times=times, tone=(440.0, 25.0, 8000, 1)))
    assert opened.segments == 2
    assert [bool(m.frames) for m in media] == [True, False]
    # What is left of the picture is sampled, not its last frame again and again.
    assert numbers(media[0].frames["x"])[::9] == pytest.approx([4, 94], abs=2)
    assert media[1].audio is not None
    assert len(media[1].audio) == 15 * SAMPLE_RATE


def test_audio_only(make_clip: MakeClip) -> None:
    opened, (media,) = run(make_clip("tone.wav", tone=(1000.0, 2.5, 48000, 1)))
    assert opened == Opened(opened.duration_s, 1, has_video=False, has_audio=True)
    assert opened.duration_s == pytest.approx(2.5)
    assert media.frames == {}
    assert media.audio is not None
    assert len(media.audio) == 40_000


def test_a_gap_without_frames_gives_no_segment(make_clip: MakeClip) -> None:
    times = [i / 5 for i in range(20)] + [45.0 + i / 5 for i in range(50)]
    _, media = run(make_clip(times=times))
    assert [m.segment.index for m in media] == [0, 4]


def test_what_was_not_asked_for_is_not_decoded(make_clip: MakeClip) -> None:
    path = make_clip(times=[0.0, 0.04], tone=(440.0, 1.0, 16000, 1))
    opened, (media,) = run(path, audio=False)
    assert opened.has_audio
    assert media.audio is None
    assert media.frames
    opened, (media,) = run(path, frames={})
    assert opened.has_video
    assert media.audio is not None
    assert not media.frames
    silent = make_clip("silent.mkv", times=[0.0, 0.04])
    opened, media_list = run(silent, frames={})
    assert opened.has_video
    assert not opened.has_audio
    assert media_list == []


def halves(width: int, height: int) -> np.ndarray:
    """Left half red, right half blue; the top quarter white."""
    image = np.zeros((height, width, 3), np.uint8)
    image[:, : width // 2] = (255, 0, 0)
    image[:, width // 2 :] = (0, 0, 255)
    image[: height // 4] = 255
    return image


@pytest.mark.parametrize("size", [(64, 48), (640, 480)])
def test_greys_keep_their_level(make_clip: MakeClip, size: tuple[int, int]) -> None:
    times = [i / 25 for i in range(220)]
    samplings = {"stretched": TEN, "cropped": FrameSampling(10, 224, "crop")}
    _, (media,) = run(make_clip(times=times, size=size), frames=samplings)
    shown = on_screen(times, sample_times(TEN, media.segment))
    for frames in media.frames.values():
        levels = frames.mean(axis=(1, 2, 3))
        np.testing.assert_allclose(levels, np.array(shown) * 255 / 219, atol=1)


def test_colours_and_crop(make_clip: MakeClip) -> None:
    path = make_clip(times=[0.0], images=[halves(640, 360)], pix_fmt="yuv444p")
    _, (media,) = run(path, frames={"crop": CROP, "all": FrameSampling(1, 200, "stretch")})
    crop, whole = media.frames["crop"][0], media.frames["all"][0]
    assert crop.shape == (224, 224, 3)
    assert whole.shape == (200, 200, 3)
    for picture in (crop, whole):
        np.testing.assert_allclose(picture[-20, 20], (255, 0, 0), atol=4)
        np.testing.assert_allclose(picture[-20, -20], (0, 0, 255), atol=4)
        np.testing.assert_allclose(picture[20, 20], (255, 255, 255), atol=4)
    # The crop cuts (256 - 224) / 2 of 256 rows, so less of the white quarter is left.
    assert (whole[:, 50].min(axis=1) > 128).sum() == pytest.approx(50, abs=1)
    assert (crop[:, 50].min(axis=1) > 128).sum() == pytest.approx(64 - 16, abs=1)


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotation_is_honoured(make_clip: MakeClip, rotation: int) -> None:
    image = halves(320, 240)
    path = make_clip("turned.mp4", times=[0.0], images=[image], codec="libx264", rotation=rotation)
    _, (media,) = run(path, frames={"x": FrameSampling(1, 64, "stretch")})
    reader = cv2.VideoCapture(str(path))
    _, expected = reader.read()  # OpenCV turns frames upright by itself.
    reader.release()
    assert expected.shape[:2] == ((240, 320) if rotation == 180 else (320, 240))
    expected = cv2.resize(expected[..., ::-1], (64, 64), interpolation=cv2.INTER_AREA)
    off = np.abs(media.frames["x"][0].astype(int) - expected)
    assert off.mean() < 6


def test_pixels_that_are_not_square_are_stretched(make_clip: MakeClip) -> None:
    disc = np.zeros((240, 160, 3), np.uint8)
    cv2.ellipse(disc, (80, 120), (30, 60), 0, 0, 360, (255, 255, 255), -1)
    path = make_clip("sar.mp4", times=[0.0], images=[disc], aspect=Fraction(2, 1), codec="libx264")
    _, (media,) = run(path, frames={"x": CROP})
    white = media.frames["x"][0, ..., 0] > 128
    assert np.ptp(np.flatnonzero(white.any(0))) == pytest.approx(
        np.ptp(np.flatnonzero(white.any(1))), abs=4
    )


@pytest.mark.parametrize("size", [(1, 1), (15, 7), (2000, 20), (20, 2000), (225, 223), (300, 301)])
def test_odd_sizes(make_clip: MakeClip, size: tuple[int, int]) -> None:
    path = make_clip(times=[0.0, 0.04], size=size, pix_fmt="yuv444p")
    _, (media,) = run(path, frames={"crop": CROP, "x": TEN})
    assert numbers(media.frames["crop"]) in ([0], [1])
    assert sorted(set(numbers(media.frames["x"]))) == [0, 1]


def test_gif(make_clip: MakeClip) -> None:
    images = [np.full((40, 60, 3), level, np.uint8) for level in (0, 85, 170, 255, 255)]
    path = make_clip("a.gif", times=[0, 0.5, 1, 1.5, 2], images=images, codec="gif", pix_fmt="rgb8")
    opened, (media,) = run(path)
    assert 2 < opened.duration_s <= 2.5
    levels = media.frames["x"].mean(axis=(1, 2, 3))
    assert levels[0] < 5
    assert levels[-1] > 250
    assert (np.diff(levels) >= 0).all()


def test_a_cut_off_file_is_sampled_up_to_its_real_end(make_clip: MakeClip) -> None:
    times = [i / 25 for i in range(200)]
    whole = make_clip("whole.mkv", times=times, size=(256, 256))
    data = whole.read_bytes()
    cut = whole.with_name("cut.mkv")
    cut.write_bytes(data[: len(data) // 2])
    opened, (media,) = run(cut)
    assert opened.duration_s == pytest.approx(4.0, abs=0.5)
    assert numbers(media.frames["x"])[-1] == pytest.approx(95, abs=8)


def overwrite(path: Path, kind: str, packets: slice, byte: bytes = b"\xff") -> None:
    """Fills some packets of an mp4 with bytes that no decoder takes."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        places = [(p.pos, p.size) for p in container.demux(stream) if p.pos is not None and p.size]
    with path.open("r+b") as file:
        for pos, size in places[packets]:
            file.seek(pos)
            file.write(byte * size)


def test_a_damaged_end_is_found_and_the_samples_spread_over_what_exists(
    make_clip: MakeClip,
) -> None:
    path = make_clip("damaged.mp4", times=[i / 25 for i in range(200)], codec="mpeg4", tone=None)
    overwrite(path, "video", slice(100, None))
    _, (media,) = run(path)
    found = numbers(media.frames["x"])
    assert media.segment.end_s == pytest.approx(4.0, abs=0.3)
    assert found[0] < 8
    assert found[-1] > 90
    assert len(set(found)) == 10


def test_damaged_packets_in_the_middle_cost_little(make_clip: MakeClip) -> None:
    path = make_clip(
        "bits.mp4", times=[i / 25 for i in range(200)], codec="mjpeg", pix_fmt="yuvj420p"
    )
    overwrite(path, "video", slice(40, 60), b"\0")
    opened, (media,) = run(path)
    assert opened.duration_s == pytest.approx(8.0, abs=0.05)
    assert media.segment.end_s == pytest.approx(8.0, abs=0.05)


def test_broken_sound_does_not_cost_the_picture(make_clip: MakeClip) -> None:
    path = make_clip(
        "sound.mp4",
        times=[i / 25 for i in range(50)],
        codec="mpeg4",
        tone=(440.0, 2.0, 16000, 1),
        audio_codec="aac",
    )
    overwrite(path, "audio", slice(None))
    opened, (media,) = run(path)
    assert opened.has_video
    assert len(set(numbers(media.frames["x"]))) == 10


def test_broken_picture_does_not_cost_the_sound(make_clip: MakeClip) -> None:
    path = make_clip(
        "picture.mp4", times=[0.0, 0.04], codec="mjpeg", pix_fmt="yuvj420p",
        tone=(440.0, 2.0, 16000, 1), audio_codec="aac",
    )  # fmt: skip
    overwrite(path, "video", slice(None))
    opened, (media,) = run(path)
    assert not opened.has_video
    assert opened.has_audio
    assert media.audio is not None
    assert not media.frames


@pytest.mark.parametrize("name", ["with space.mkv", "-dash.mkv", "ünï 名前.mkv", "a%20b#c?.mkv"])
def test_names(make_clip: MakeClip, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip(times=[0.0, 0.04])
    shutil.move(path, path.with_name(name))
    monkeypatch.chdir(path.parent)
    assert run(name)[0].has_video  # relative, as a person types it


def test_a_name_that_is_not_utf8(make_clip: MakeClip) -> None:
    path = make_clip(times=[0.0, 0.04])
    odd = os.fsdecode(bytes(path.parent) + b"/\xff\xfe.mkv")
    shutil.move(path, odd)
    assert run(odd)[0].has_video


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("text.mp4", "This is no video.\n" * 100, "not a video"),
        ("list.mp4", PLAYLIST, "not a video"),
        ("list.m3u8", PLAYLIST, "not a video"),
        ("concat.mp4", "ffconcat version 1.0\nfile '{}'\n", "not a video"),
        ("session.mp4", "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n", "not a video"),
        ("empty.mp4", "", "empty file"),
    ],
)
def test_what_is_no_video_is_refused(
    make_clip: MakeClip, tmp_path: Path, name: str, content: str, reason: str
) -> None:
    target = make_clip("target.ts", times=[0.0, 0.04], codec="libx264")
    path = tmp_path / name
    path.write_text(content.format(target))
    with pytest.raises(MediaError, match=reason):
        run(path)


def test_encrypted(make_clip: MakeClip) -> None:
    key = {"encryption_key": "76a6c65c5ea762046bd749a2e632ccbb"}
    options = {"encryption_scheme": "cenc-aes-ctr", "encryption_kid": "0" * 32, **key}
    path = make_clip(
        "locked.mp4", times=[i / 25 for i in range(50)], codec="libx264", options=options
    )
    with pytest.raises(MediaError, match="encrypted"):
        run(path)


def test_limits(make_clip: MakeClip) -> None:
    path = make_clip(times=[i / 25 for i in range(50)])
    with pytest.raises(MediaError, match=r"too large: 64x48"):
        run(path, max_pixels=64 * 48 - 1)
    with pytest.raises(MediaError, match="too long"):
        run(path, max_duration_s=1.0)
    assert run(path, max_pixels=64 * 48, max_duration_s=3.0)


@pytest.mark.parametrize("path", ["missing.mp4", "."])
def test_missing_files_and_folders(path: str) -> None:
    with pytest.raises(MediaError):
        run(path)
