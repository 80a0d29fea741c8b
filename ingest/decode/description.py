"""Describe a file: its container and codecs, its shape and length, and whether browsers play it.

Runs in a child process only (`viewer_worker`), as the file may be hostile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.container import InputContainer
from av.format import Flags
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext

from ...schemas.errors import MediaError
from .codecs import decoded, refusal
from .container import Skipped, check_file, open_local, packets
from .media_file import open_media
from .picture_worker import Screen, checked_still_format
from .scan import scan, usable
from .segments import MAX_PIXELS
from .still import read_still

Kind = Literal["video", "sound", "picture"]

_STILLS = {"jpeg_pipe": "jpeg", "png_pipe": "png", "webp_pipe": "webp", "bmp_pipe": "bmp"}
_STILLS |= {"tiff_pipe": "tiff", "mov": "avif", "gif": "gif"}
"""Names of still pictures' formats, by libav's demuxer."""

_STILLS_PLAYED = frozenset({"jpeg", "png", "webp", "gif"})

_PCM = frozenset({"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le"})
_MP4 = frozenset({"h264"}), frozenset({"aac", "mp3"})
_NONE: frozenset[str] = frozenset()
_PLAYED: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "mp4": _MP4,
    "mov": _MP4,
    "webm": (frozenset({"vp8", "vp9", "av1"}), frozenset({"vorbis", "opus"})),
    "ogg": (_NONE, frozenset({"vorbis", "opus", "flac"})),
    "mp3": (_NONE, frozenset({"mp3"})),
    "wav": (_NONE, _PCM),
    "flac": (_NONE, frozenset({"flac"})),
}
"""Codecs of picture and sound that Chromium, Firefox and Safari play, by container
(developer.mozilla.org/docs/Web/Media/Guides/Formats). Theora is none: browsers dropped it."""

_PLAYED_PIXELS = frozenset({"yuv420p", "yuvj420p"})

_PLAYED_AAC = frozenset({"LC", "HE-AAC", "HE-AACv2"})

_PLAYED_START_S = 0.1
"""Of a file that begins later on its own clock, players count seconds from elsewhere."""

_MEASURED = frozenset({"mp4", "mov", "webm", "matroska", "avi", "ogg", "wav", "flac"})
"""Containers that state their length. Of the others libav guesses it, from the bits per second."""

_HEAD_BYTES = 64


@dataclass(frozen=True)
class Description:
    """What a file is.

    Attributes:
        kind: video, sound or picture.
        container: Its format: mp4, mov, webm, matroska, avi, ogg, ...; of a picture jpeg, png, ...
        codec: Codec of the video, or of the sound where it has none.
        width: Pixels of the picture, upright and square; None without one.
        height: The same.
        duration_s: Seconds; None of a picture.
        sound: Whether it has a sound track.
        plays: Whether common browsers play it as it is.
    """

    kind: Kind
    container: str
    codec: str
    width: int | None
    height: int | None
    duration_s: float | None
    sound: bool
    plays: bool


def describe(path: str, on_progress: Callable[[], None] = lambda: None) -> Description:
    """Describe a file, after decoding a first picture of it.

    Raises:
        MediaError: It is no video, sound or picture, or nothing of it decodes.
    """
    path = os.path.abspath(path)
    check_file(path)
    if demuxer := checked_still_format(path):
        return _described_still(path, demuxer, on_progress)
    with open_local(path) as container:
        name = _container_name(path, container)
        streams = usable(container, "video")
        videos, sounds = decoded(streams), decoded(usable(container, "audio"))
        if streams and not videos:
            raise MediaError(refusal(streams[0]))
        shape = _shape(container, videos[0], on_progress) if videos else None
        if shape is None and not (sounds and _is_heard(path, sounds[0].index, on_progress)):
            nothing = "it has no picture and no sound"
            raise MediaError("nothing of it decodes" if videos or sounds else nothing)
        shown = videos if shape is not None else []
        width, height = shape or (None, None)
        duration_s = _stated_duration_s(container, name)
        if duration_s is None:
            duration_s = scan(path, MAX_PIXELS, on_progress).duration_s
        return Description(
            kind="video" if shown else "sound",
            container=name,
            codec=_codec((shown or sounds)[0]),
            width=width,
            height=height,
            duration_s=duration_s,
            sound=bool(sounds),
            plays=shown == videos
            and _plays(name, shown, sounds, (container.start_time or 0) / av.time_base),
        )


def _described_still(path: str, demuxer: str, on_progress: Callable[[], None]) -> Description:
    width, height = read_still(path, demuxer, on_progress)[0].upright_size()
    name = _STILLS[demuxer]
    return Description(
        kind="picture",
        container=name,
        codec=name,
        width=round(width),
        height=round(height),
        duration_s=None,
        sound=False,
        plays=name in _STILLS_PLAYED,
    )


def _container_name(path: str, container: InputContainer) -> str:
    """Return one name for a format; libav has one demuxer for MP4 and QuickTime, say."""
    name = container.format.name
    if "mp4" in name.split(","):
        return "mov" if container.metadata.get("major_brand", "qt").startswith("qt") else "mp4"
    if name.startswith("matroska"):
        with open_media(path) as file:
            return "webm" if b"webm" in file.read(_HEAD_BYTES) else "matroska"
    return name.partition(",")[0]


def _shape(
    container: InputContainer, video: Stream, on_progress: Callable[[], None]
) -> tuple[int, int] | None:
    """Return the width and height of the picture; None where none decodes."""
    start_s = (container.start_time or 0) / av.time_base
    picture = Screen(container, video, on_progress).at(start_s)
    if picture is None:
        return None
    width, height = picture.upright_size()
    return round(width), round(height)


def _is_heard(path: str, sound: int, on_progress: Callable[[], None]) -> bool:
    """Return whether a first piece of a sound track decodes."""
    with open_local(path) as container:
        context = cast(AudioCodecContext, container.streams[sound].codec_context)
        for packet in packets(container, sound, Skipped()):
            on_progress()
            with suppress(av.FFmpegError, ValueError):
                if context.decode(packet):
                    return True
    return False


def _stated_duration_s(container: InputContainer, name: str) -> float | None:
    """Return the length that a container states; None where that is no more than a guess."""
    known = name in _MEASURED and not Flags(container.format.flags) & Flags.ts_discont
    return container.duration / av.time_base if known and container.duration else None


def _codec(stream: Stream) -> str:
    """Return what a stream is coded in, whichever decoder is used for it."""
    return stream.codec_context.codec.canonical_name


def _plays(name: str, videos: list[Stream], sounds: list[Stream], start_s: float) -> bool:
    if name not in _PLAYED or start_s > _PLAYED_START_S:
        return False
    shown, heard = _PLAYED[name]
    profiles = {sound.codec_context.profile for sound in sounds if _codec(sound) == "aac"}
    pixels = {cast(VideoCodecContext, video.codec_context).pix_fmt for video in videos}
    return (
        {_codec(video) for video in videos} <= shown
        and pixels <= _PLAYED_PIXELS
        and {_codec(sound) for sound in sounds} <= heard
        and profiles <= _PLAYED_AAC
    )
