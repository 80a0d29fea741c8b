"""What a file is, and whether browsers play it: by what it holds, not by its name."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from vidsim.ingest.decode.description import describe
from vidsim.schemas.errors import MediaError

from ...helpers.clips import MakeClip

TIMES = [n / 25 for n in range(25)]
TONE = (440, 1, 48_000, 2)
H264: dict[str, Any] = {"times": TIMES, "codec": "libx264"}
AAC: dict[str, Any] = {"tone": TONE, "audio_codec": "aac"}


@pytest.mark.parametrize(
    ("name", "content", "container", "codec", "kind", "plays"),
    [
        ("a.mp4", H264 | AAC, "mp4", "h264", "video", True),
        ("a.mov", H264 | AAC, "mov", "h264", "video", True),
        ("a.mp4", H264, "mp4", "h264", "video", True),
        ("a.mp4", H264 | {"tone": TONE, "audio_codec": "ac3"}, "mp4", "h264", "video", False),
        ("a.mp4", H264 | {"pix_fmt": "yuv444p"}, "mp4", "h264", "video", False),
        ("a.mp4", {"times": TIMES, "codec": "mpeg4"}, "mp4", "mpeg4", "video", False),
        ("a.mkv", H264 | AAC, "matroska", "h264", "video", False),
        ("a.webm", {"times": TIMES, "codec": "libvpx"}, "webm", "vp8", "video", True),
        ("a.webm", {"times": TIMES, "codec": "libvpx-vp9"}, "webm", "vp9", "video", True),
        ("a.ts", H264 | AAC, "mpegts", "h264", "video", False),
        ("a.m4a", AAC, "mp4", "aac", "sound", True),
        ("a.mp3", {"tone": TONE, "audio_codec": "libmp3lame"}, "mp3", "mp3", "sound", True),
        ("a.wav", {"tone": TONE}, "wav", "pcm_s16le", "sound", True),
        ("a.ogg", {"tone": TONE, "audio_codec": "libopus"}, "ogg", "opus", "sound", True),
        ("a.flac", {"tone": TONE, "audio_codec": "flac"}, "flac", "flac", "sound", True),
    ],
)
def test_containers_and_codecs(
    make_clip: MakeClip,
    name: str,
    content: dict[str, Any],
    container: str,
    codec: str,
    kind: str,
    plays: bool,
) -> None:
    found = describe(str(make_clip(name, **content)))
    assert (found.container, found.kind, found.plays) == (container, kind, plays)
    assert found.codec == codec
    assert found.sound == ("tone" in content)
    assert (found.width, found.height) == ((64, 48) if "times" in content else (None, None))
    assert found.duration_s == pytest.approx(
        1 if len(content.get("times", TIMES)) > 3 else 0.1, abs=0.1
    )


def test_a_name_does_not_count(make_clip: MakeClip, tmp_path: Path) -> None:
    clip = make_clip("a.mp4", **H264)
    assert describe(str(clip.rename(tmp_path / "page.html"))).container == "mp4"


def test_a_shape_is_upright_with_square_pixels(make_clip: MakeClip) -> None:
    turned = describe(str(make_clip("turned.mp4", rotation=90, **H264)))
    assert (turned.width, turned.height) == (48, 64)
    wide = describe(str(make_clip("wide.mp4", aspect=Fraction(2), **H264)))
    assert (wide.width, wide.height) == (128, 48)


def test_players_count_the_seconds_of_a_file_that_begins_late_from_elsewhere(
    make_clip: MakeClip,
) -> None:
    late = make_clip("late.webm", times=[5 + time for time in TIMES], codec="libvpx")
    assert describe(str(late)).container == "webm"
    assert not describe(str(late)).plays


@pytest.mark.parametrize(
    ("name", "plays"), [("x.jpg", True), ("x.png", True), ("x.webp", True), ("x.bmp", False)]
)
def test_still_pictures(tmp_path: Path, name: str, plays: bool) -> None:
    Image.new("RGB", (64, 48), (200, 30, 30)).save(tmp_path / name)
    found = describe(str(tmp_path / name))
    assert (found.kind, found.plays, found.sound) == ("picture", plays, False)
    assert (found.width, found.height, found.duration_s) == (64, 48, None)


def test_what_is_no_media_or_does_not_decode_is_told(tmp_path: Path, make_clip: MakeClip) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(MediaError, match="not a video"):
        describe(str(tmp_path / "text.mp4"))
    with pytest.raises(MediaError, match="nothing of it decodes"):
        describe(str(emptied(make_clip("a.mp4", **H264))))


def test_of_a_video_whose_picture_is_lost_the_sound_is_left(make_clip: MakeClip) -> None:
    clip = make_clip("a.mkv", times=TIMES, codec="mpeg4", tone=TONE)
    content = clip.read_bytes()
    clip.write_bytes(content.replace(b"\0\0\1\xb6", b"\0\0\0\0"))  # starts of its frames
    found = describe(str(clip))
    assert (found.kind, found.codec, found.sound, found.plays) == (
        "sound",
        "pcm_s16le",
        True,
        False,
    )


def emptied(clip: Path) -> Path:
    """A clip without what its frames are made of."""
    content = bytearray(clip.read_bytes())
    at, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    content[at:end] = bytes(end - at)
    clip.write_bytes(content)
    return clip
