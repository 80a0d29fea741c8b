"""Media of every container and codec at hand, through the real pool, the viewer and the looks that
the parent itself takes at a file."""

from __future__ import annotations

import math
import os
import queue
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vidsim.ingest.decode.events import Failed, Finished, Opened, SegmentMedia
from vidsim.ingest.decode.pool import DecodeLimits, decode_all
from vidsim.ingest.decode.segments import DecodeRequest
from vidsim.ingest.decode.viewer import Viewer
from vidsim.ingest.discover.media_types import is_media, is_text
from vidsim.ingest.discover.stills import still_format
from vidsim.schemas.modality import FrameSampling

from ..structured_clips import texture
from .mutations import mutated
from .targets import Feed, Outcome

_LIMITS = DecodeLimits(stall_s=10.0, base_s=20.0, memory_mb=2048)

_SAMPLINGS = {
    "a": FrameSampling(3, 32, "stretch"),
    "b": FrameSampling(2, 24, "crop", resize=28),
    "c": FrameSampling(4, 16, "crop", fps=8.0, resize=(20, 20)),
}

_LARGEST_SEED = 150_000
"""Bytes of a real file that is a seed: of a larger one few bytes tell anything."""

_CRASHED = ("crashed", "ended with code", "unreadable", "without progress", "decoding took more")
"""How it is told that a decoder was lost, or that its sound was."""


@dataclass(frozen=True)
class _Kind:
    """A container with its codecs, "" for none."""

    suffix: str
    picture: str = ""
    sound: str = ""
    pix_fmt: str = "yuv420p"
    muxer: str = ""


_KINDS = (
    *(_Kind("mp4", "libx264", "aac"), _Kind("mp4", "libx265", "libopus"), _Kind("mp4", "mpeg4")),
    *(_Kind("mp4", "libsvtav1", "ac3"), _Kind("mov", "prores_ks", "alac", "yuv422p10le")),
    *(_Kind("mov", "mjpeg", "pcm_s16be", "yuvj420p"), _Kind("mov", "qtrle", "", "rgb24")),
    *(_Kind("mov", "png", "adpcm_ima_qt", "rgb24"), _Kind("3gp", "h263", "libopencore_amrnb")),
    *(
        _Kind("mkv", "ffv1", "flac"),
        _Kind("mkv", "libx264", "wavpack"),
        _Kind("mkv", "mjpeg", "", "yuvj420p"),
    ),
    *(_Kind("mkv", "mpeg2video", "eac3"), _Kind("avi", "huffyuv", "", "yuv422p")),
    *(_Kind("webm", "libvpx", "libopus"), _Kind("webm", "libvpx-vp9", "libopus")),
    *(_Kind("avi", "mpeg4", "libmp3lame"), _Kind("avi", "mjpeg", "pcm_u8", "yuvj420p")),
    *(_Kind("avi", "msmpeg4", "adpcm_ms"), _Kind("avi", "rawvideo", "pcm_s16le", "bgr24")),
    *(_Kind("avi", "utvideo", "adpcm_ima_wav"), _Kind("flv", "flv", "libmp3lame")),
    *(_Kind("flv", "libx264", "aac"), _Kind("asf", "wmv2", "wmav2"), _Kind("asf", "wmv1")),
    *(_Kind("ts", "libx264", "aac"), _Kind("ts", "mpeg2video", "mp2"), _Kind("ts", "libx265")),
    *(_Kind("mpg", "mpeg1video", "mp2"), _Kind("vob", "mpeg2video", "ac3")),
    *(_Kind("mxf", "mpeg2video", "pcm_s16le"), _Kind("nut", "ffv1", "pcm_s16le")),
    *(_Kind("ogg", "", "libopus"), _Kind("oga", "", "flac")),
    *(_Kind("wav", "", "pcm_s16le"), _Kind("wav", "", "pcm_f32le"), _Kind("flac", "", "flac")),
    *(_Kind("mp3", "", "libmp3lame"), _Kind("m4a", "", "alac"), _Kind("aac", "", "aac")),
    *(_Kind("aiff", "", "pcm_s16be"), _Kind("caf", "", "pcm_s16be"), _Kind("au", "", "pcm_s16be")),
    *(
        _Kind("w64", "", "pcm_s16le"),
        _Kind("amr", "", "libopencore_amrnb"),
        _Kind("mp2", "", "mp2"),
    ),
    *(_Kind("wv", "", "wavpack"), _Kind("rm", "rv10", "ac3"), _Kind("gif", "gif", "", "rgb8")),
    *(_Kind("h264", "libx264"), _Kind("hevc", "libx265"), _Kind("y4m", "wrapped_avframe")),
    *(_Kind("apng", "apng", "", "rgb24"), _Kind("webp", "libwebp_anim")),
)

_STILLS = {
    "jpg": ("mjpeg", "yuvj420p"),
    "png": ("png", "rgb24"),
    "webp": ("libwebp", "yuv420p"),
    "bmp": ("bmp", "bgr24"),
    "tiff": ("tiff", "rgb24"),
}


_AT_48_KHZ = ("webm", "ogg", "mxf", "mp4")


@contextmanager
def started(folder: Path) -> Iterator[Feed]:
    """Feeds spoiled files, generated ones and small real ones where there are any."""
    seeds = [*_generated(folder), *_real()]
    of_suffix: dict[str, list[bytes]] = {}
    for suffix, data in seeds:
        of_suffix.setdefault(suffix, []).append(data)
    everything = [data for _, data in seeds]
    requests: queue.Queue[tuple[int, DecodeRequest] | None] = queue.Queue()
    events = decode_all(iter(requests.get, None), 1, _LIMITS)
    path = folder / "spoiled"

    def feed(chance: random.Random) -> Outcome:
        suffix, data = chance.choice(seeds)
        others = of_suffix[suffix] if chance.random() < 0.7 else everything
        if chance.random() < 0.02:
            suffix = chance.choice([*of_suffix])
        file = path.with_suffix(f".{suffix}")
        file.write_bytes(mutated(chance, data, others))
        try:
            head = file.read_bytes()[:4096]
            is_media(head), is_text(head)
            still = still_format(file)
            if chance.random() < 0.2:
                return _viewed(viewer, chance, str(file))
            request = DecodeRequest(
                str(file),
                {n: s for n, s in _SAMPLINGS.items() if chance.random() < 0.7},
                audio=chance.random() < 0.8,
                segment_seconds=chance.choice((10.0, 1.0)),
                still=still,
                every_picture=chance.random() < 0.3,
            )
            requests.put((0, request))
            return _taken(events)
        finally:
            file.unlink()

    with closing(Viewer()) as viewer:
        try:
            yield feed
        finally:
            requests.put(None)
            events.close()


def _taken(events: Iterator[tuple[int, object]]) -> Outcome:
    """Takes the events of one file."""
    died = False
    for _, event in events:
        if isinstance(event, Failed):
            assert event.reason
            died = any(words in event.reason for words in _CRASHED)
            return Outcome.CHILD_DIED if died else Outcome.REFUSED
        if isinstance(event, Finished):
            return Outcome.CHILD_DIED if event.without_sound else Outcome.ACCEPTED
        if isinstance(event, Opened):
            assert 0 <= event.duration_s < math.inf
        if isinstance(event, SegmentMedia):
            assert 0 <= event.segment.start_s <= event.segment.end_s < math.inf
            assert event.audio is None or np.isfinite(event.audio).all()
    raise AssertionError("the pool ended")


def _viewed(viewer: Viewer, chance: random.Random, path: str) -> Outcome:
    match chance.randrange(3):
        case 0:
            viewer.describe(path)
        case 1:
            viewer.look(path, [0.0, 0.5, 7.0])
        case _:
            sound = viewer.hear(path, 0.0, 1.0)
            assert sound is None or np.isfinite(sound).all()
    return Outcome.ACCEPTED


def _real() -> Iterator[tuple[str, bytes]]:
    """Small real files, where VIDSIM_TEST_DATA names any."""
    if data := os.environ.get("VIDSIM_TEST_DATA"):
        for folder in (Path(data) / "robustness", Path(data).parent / "cases"):
            for path in sorted(folder.rglob("*.*")):
                if path.suffix in (".md", ".txt") or not path.is_file():
                    continue
                if path.stat().st_size <= _LARGEST_SEED:
                    yield path.suffix[1:].lower(), path.read_bytes()


def _generated(folder: Path) -> Iterator[tuple[str, bytes]]:
    """A file of each kind that can be written here."""
    for number, kind in enumerate(_KINDS):
        path = folder / f"{number}.{kind.suffix}"
        with suppress(av.FFmpegError, ValueError):
            _write(path, kind)
            yield kind.suffix, path.read_bytes()
    for suffix, (codec, pix_fmt) in _STILLS.items():
        encoder = av.CodecContext.create(codec, "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = 96, 64, pix_fmt
        encoder.time_base = Fraction(1, 25)
        packets = [*encoder.encode(_picture(0, pix_fmt)), *encoder.encode(None)]
        yield suffix, b"".join(map(bytes, packets))


def _write(path: Path, kind: _Kind) -> None:
    """Writes a second of a texture that moves, and of a tone."""
    formats = {"asf": "asf", "ts": "mpegts", "aac": "adts", "m4a": "ipod", "ogv": "ogg"}
    with av.open(
        str(path), "w", format=formats.get(kind.suffix), options={"fflags": "+bitexact"}
    ) as output:
        pictures = output.add_stream(kind.picture, rate=25) if kind.picture else None
        rate = 8000 if "amr" in kind.sound else 48_000 if kind.suffix in _AT_48_KHZ else 44_100
        sound = output.add_stream(kind.sound, rate=rate) if kind.sound else None
        if pictures is not None:
            assert isinstance(pictures, av.VideoStream)
            small = kind.picture in ("h263", "rv10")
            pictures.width, pictures.height = (128, 96) if small else (96, 64)
            pictures.pix_fmt = kind.pix_fmt
            pictures.codec_context.thread_count = 1
            pictures.codec_context.gop_size = 6
            if kind.picture == "libx265":
                pictures.codec_context.options = {"x265-params": "log-level=none:pools=none"}
        if sound is not None:
            assert isinstance(sound, av.AudioStream)
            sound.layout = "mono"
            if kind.sound == "wmav2":
                sound.bit_rate = 64_000
        if pictures is not None:
            for number in range(15):
                frame = _picture(number, kind.pix_fmt, pictures.width, pictures.height)
                output.mux(pictures.encode(frame))
            output.mux(pictures.encode(None))
        if sound is not None:
            _write_tone(output, sound, rate)


def _picture(number: int, pix_fmt: str, width: int = 96, height: int = 64) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(texture(number, width, height), "gray")
    frame = frame.reformat(format=pix_fmt)
    frame.pts, frame.time_base = number, Fraction(1, 25)
    return frame


def _write_tone(output: av.container.OutputContainer, sound: av.AudioStream, rate: int) -> None:
    wave = (8000 * np.sin(np.arange(rate * 6 // 10) / 20)).astype(np.int16)[None]
    frame = av.AudioFrame.from_ndarray(wave, "s16", "mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    resampler = av.AudioResampler(sound.format, sound.layout, rate, sound.frame_size or 1024)
    for piece in (*resampler.resample(frame), *resampler.resample(None)):
        output.mux(sound.encode(piece))
    output.mux(sound.encode(None))
