"""Codecs: what is decoded by itself, and what only once a person allows it."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import av
import av.logging
import numpy as np
import pytest

from vidsim.ingest.decode import ffmpeg
from vidsim.ingest.decode.codecs import allowed_since, decoders
from vidsim.ingest.decode.container import open_local
from vidsim.ingest.decode.events import Event, Failed, Finished, Opened, SegmentMedia
from vidsim.ingest.decode.pictures import PictureReader
from vidsim.ingest.decode.pool import decode_all
from vidsim.ingest.decode.segments import DecodeRequest
from vidsim.ingest.decode.viewer import Viewer
from vidsim.schemas.errors import MediaError, SettingsError
from vidsim.schemas.modality import FrameSampling
from vidsim.schemas.settings import settings

MakeClip = Callable[..., Path]
FRAMES = {"x": FrameSampling(2, 16, "stretch")}
TIMES = [n / 25 for n in range(25)]
PICTURE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
TONE = (440.0, 1.0, 16000, 1)

TTA = (
    "its sound is coded in tta (TTA (True Audio)), which is rare and not decoded "
    "unless VIDSIM_CODECS=+tta allows it"
)
ZMBV = (
    "its picture is coded in zmbv (Zip Motion Blocks Video), which is rare and not decoded "
    "unless VIDSIM_CODECS=+zmbv allows it"
)


def events(path: Path, audio_track: int | None = None) -> list[Event]:
    request = DecodeRequest(str(path), FRAMES, True, audio_track=audio_track)
    return [event for _, event in decode_all([(0, request)], 1)]


@pytest.mark.parametrize(
    ("fourcc", "name"), [(b"CSCD", "cscd"), (b"FLIC", "flic"), (b"tscc", "tscc")]
)
def test_a_rare_codec_in_a_common_container_is_refused_and_not_even_probed(
    make_clip: MakeClip, fourcc: bytes, name: str
) -> None:
    path = make_clip("clip.avi", times=TIMES, codec="mjpeg", pix_fmt="yuvj420p", tone=TONE)
    path.write_bytes(path.read_bytes().replace(b"MJPG", fourcc))
    (end,) = events(path)
    assert isinstance(end, Failed)
    assert end.lasting
    assert end.reason.startswith(f"its picture is coded in {name} (")
    assert end.reason.endswith(f"unless VIDSIM_CODECS=+{name} allows it")
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as said, open_local(str(path)):
            pass
    finally:
        av.logging.set_level(level)
    assert any("not on whitelist" in message for _, _, message in said)


def test_a_person_may_allow_a_codec(make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip("clip.avi", times=TIMES, images=[PICTURE], codec="zmbv", pix_fmt="bgr0")
    assert events(path) == [Failed(ZMBV, lasting=True)]
    with closing(Viewer()) as viewer, pytest.raises(MediaError, match="zmbv"):
        viewer.describe(str(path))
    with PictureReader() as reader:
        assert reader.look(str(path), [0.0]).reason == ZMBV
    for asked in ("+zmbv", "-vp9, +zmbv"):
        monkeypatch.setenv("VIDSIM_CODECS", asked)
        assert events(path)[-1] == Finished(1)
    with PictureReader() as reader:
        assert reader.look(str(path), [0.0]).pictures[0] is not None


def test_a_person_may_forbid_one(make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip("clip.mkv", times=TIMES)
    assert events(path)[-1] == Finished(1)
    monkeypatch.setenv("VIDSIM_CODECS", "-ffv1")
    (end,) = events(path)
    assert isinstance(end, Failed)
    assert "VIDSIM_CODECS=+ffv1" in end.reason


def test_sound_of_a_rare_codec_does_not_lose_the_picture(
    make_clip: MakeClip, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_clip("clip.mkv", times=TIMES, tone=TONE, audio_codec="tta")
    opened, media, end = events(path)
    assert isinstance(opened, Opened)
    assert isinstance(media, SegmentMedia)
    assert isinstance(end, Finished)
    assert (opened.has_video, opened.has_audio, media.audio) == (True, False, None)
    assert end.damage.sound == f"its sound was left out ({TTA})"
    assert end.damage.picture == ""
    assert not end.without_sound, "it is not tried again"
    assert not allowed_since(end.damage.sound)
    monkeypatch.setenv("VIDSIM_CODECS", "+tta")
    assert allowed_since(end.damage.sound), "until it is allowed"
    _, media, end = events(path)
    assert isinstance(media, SegmentMedia)
    assert media.audio is not None
    assert end == Finished(1)


def test_sound_alone_of_a_rare_codec_is_refused(make_clip: MakeClip) -> None:
    path = make_clip("clip.mkv", tone=TONE, audio_codec="tta")
    assert events(path) == [Failed(TTA, lasting=True)]


def test_sound_of_hardly_any_samples_is_none(make_clip: MakeClip, tmp_path: Path) -> None:
    path = tmp_path / "slow.wav"
    data = os.urandom(80_000)
    head = b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0\1\0\1\0"
    head += (1).to_bytes(4, "little") + (2).to_bytes(4, "little") + b"\2\0\x10\0data"
    path.write_bytes(head + len(data).to_bytes(4, "little") + data)
    reason = "its sound has 1 samples per second, too few to hear"
    assert events(path) == [Failed(reason, lasting=True)]


@pytest.mark.parametrize("asked", ["flic", "+flic;+x", "+", "+a b"])
def test_the_setting_says_what_is_wrong_with_it(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDSIM_CODECS", asked)
    with pytest.raises(SettingsError, match="is no '\\+' or '-' with the name of a codec"):
        settings()


def test_what_is_decoded_by_itself_is_what_people_have() -> None:
    names = set(decoders().split(","))
    assert {"h264", "hevc", "libdav1d", "vp9", "mpeg4", "mjpeg", "prores", "dnxhd"} <= names
    assert {"aac", "mp3float", "opus", "flac", "pcm_s16le", "ac3", "dca", "amrnb"} <= names
    assert not {"flic", "camstudio", "magicyuv", "tscc2", "smackvid", "ansi", "exr"} & names


def test_the_ffmpeg_that_is_there_has_no_hole_that_is_known() -> None:
    assert ffmpeg.is_older(ffmpeg.ffmpeg_version()) is False
    assert [ffmpeg.is_older(v) for v in ("8.1.1", "7.1.4", "8.0", "6.1.2")] == [True] * 4
    assert [ffmpeg.is_older(v) for v in ("8.1.2", "n8.1.3", "8.2", "9.0", "7.1.5", "8.0.3")] == [
        False
    ] * 6
    assert ffmpeg.is_older("git-2026-01-01-abcdef") is None
