"""Clips whose every frame and tone is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

MakeClip = Callable[..., Path]
"""The fixture `make_clip`: takes a name, and what `write_clip` takes."""


def write_clip(
    path: Path,
    *,
    times: Sequence[float] = (),
    images: Sequence[np.ndarray] = (),
    size: tuple[int, int] = (64, 48),
    codec: str = "ffv1",
    pix_fmt: str = "yuv420p",
    tone: tuple[float, float, int, int] | None = None,
    audio_codec: str = "pcm_s16le",
    audio_from_s: float = 0.0,
    rotation: int = 0,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """The n-th frame is grey level n, or an image; lossless unless told otherwise.

    `times` in seconds; `tone` is (hertz, seconds, rate, channels), amplitude 0.5.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        video = sound = None
        if times:
            video = cast(VideoStream, container.add_stream(codec, rate=25))
            video.width, video.height = images[0].shape[1::-1] if len(images) else size
            video.pix_fmt = pix_fmt
            video.time_base = video.codec_context.time_base = Fraction(1, 1000)
            if aspect:
                video.codec_context.sample_aspect_ratio = aspect
            if rotation:
                video.set_display_rotation(rotation)
        if tone:
            sound = cast(AudioStream, container.add_stream(audio_codec, rate=tone[2]))
            sound.layout = "mono" if tone[3] == 1 else "stereo"
        if sound and tone:
            for chunk in _tone(*tone, from_s=audio_from_s):
                container.mux(sound.encode(chunk))
            container.mux(sound.encode(None))
        if video:
            for number, time in enumerate(times):
                if len(images):
                    frame = av.VideoFrame.from_ndarray(images[number % len(images)], "rgb24")
                    frame = frame.reformat(format=pix_fmt)
                else:
                    frame = _grey(number % 220, size, pix_fmt)
                frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
                container.mux(video.encode(frame))
            container.mux(video.encode(None))
    return path


def write_shades(folder: Path, shades: dict[str, int]) -> Path:
    """Writes clips of a second, each of one colour; gives the folder."""
    for name, shade in shades.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture = np.full((48, 64, 3), (shade, shade, 40), np.uint8)
        write_clip(folder / name, times=[i / 25 for i in range(25)], images=[picture])
    return folder


def _grey(number: int, size: tuple[int, int], pix_fmt: str) -> av.VideoFrame:
    """A flat grey frame whose luma is 16 + number, so that decoding tells the number."""
    frame = av.VideoFrame(*size, pix_fmt)
    deep = pix_fmt.endswith("10le")
    for plane, level in zip(frame.planes, (16 + number, 128, 128), strict=True):
        if deep:
            plane.update(np.full(plane.buffer_size // 2, level * 4, "<u2").tobytes())
        else:
            plane.update(bytes([level]) * plane.buffer_size)
    return frame


def _tone(
    hertz: float, seconds: float, rate: int, channels: int, from_s: float
) -> Iterator[av.AudioFrame]:
    """A sine of amplitude 0.5 in frames of about 1,024 samples."""
    at = np.arange(round(seconds * rate))
    wave = 0.5 * np.sin(2 * np.pi * hertz * at / rate)
    done = round(from_s * rate)
    for chunk in np.array_split(wave, max(1, len(wave) // 1024)):
        packed = np.repeat((chunk * 32767).astype(np.int16), channels)[None]
        frame = av.AudioFrame.from_ndarray(packed, "s16", "mono" if channels == 1 else "stereo")
        frame.sample_rate, frame.pts, frame.time_base = rate, done, Fraction(1, rate)
        done += len(chunk)
        yield frame
