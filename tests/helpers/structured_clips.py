"""Clips in which pictures depend on each other in every way that codecs know.

Every picture is a texture that moves, so that one that is decoded from others than it should be
differs from what it should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT = 160, 96
RATE = 25


@dataclass(frozen=True)
class Kind:
    """How a clip is written.

    Attributes:
        suffix: Its container.
        codec: The encoder.
        options: What the encoder is told.
        gop: Pictures from one that stands alone to the next.
        pix_fmt: Its pixels.
        size: Width and height.
        muxer: What the container is told.
        flags: Flags of the encoder, as FFmpeg names them.
        is_selective: Whether not all of its pictures need to be decoded.
    """

    suffix: str
    codec: str
    options: Mapping[str, str] = field(default_factory=dict)
    gop: int = 50
    pix_fmt: str = "yuv420p"
    size: tuple[int, int] = (WIDTH, HEIGHT)
    muxer: Mapping[str, str] = field(default_factory=dict)
    is_selective: bool = True


def _x264(**options: object) -> dict[str, str]:
    params = ":".join(f"{name.replace('_', '-')}={value}" for name, value in options.items())
    return {"preset": "veryfast", "x264-params": params}


KINDS = {
    "h264": Kind("mp4", "libx264", _x264(bframes=3, b_pyramid="normal")),
    "h264-one-group": Kind("mkv", "libx264", _x264(bframes=2), gop=10_000),
    "h264-stream": Kind("ts", "libx264", _x264(bframes=3)),
    "h264-no-reordering": Kind("mp4", "libx264", _x264(bframes=0)),
    "h264-slices": Kind("mkv", "libx264", _x264(bframes=2, slices=4)),
    "h264-lossless": Kind("mkv", "libx264", {"preset": "veryfast", "qp": "0"}),
    "h264-444": Kind("mkv", "libx264", _x264(bframes=3), pix_fmt="yuv444p"),
    "h264-references": Kind("mp4", "libx264", _x264(bframes=5, ref=8, b_adapt=0, weightp=2)),
    "h264-all-alone": Kind("mp4", "libx264", _x264(), gop=1),
    "h264-short-groups": Kind("mp4", "libx264", _x264(bframes=2, scenecut=0), gop=6),
    "h264-open": Kind("mkv", "libx264", _x264(bframes=3, open_gop=1)),
    "h264-refresh": Kind("mkv", "libx264", _x264(intra_refresh=1)),
    "h264-fields": Kind("mp4", "libx264", _x264(tff=1), is_selective=False),
    "h264-timing": Kind("ts", "libx264", _x264(pic_struct=1), is_selective=False),
    "h264-avi": Kind("avi", "libx264", _x264(bframes=2), is_selective=False),
    "hevc": Kind("mp4", "libx265", {"x265-params": "log-level=none"}, is_selective=False),
    "mpeg1": Kind("mpg", "mpeg1video", {"bf": "2", "qscale": "3"}, gop=15),
    "mpeg2": Kind("mpg", "mpeg2video", {"bf": "2", "qscale": "3"}, gop=15),
    "mpeg2-stream": Kind("ts", "mpeg2video", {"bf": "2", "qscale": "3"}, gop=12),
    "mpeg2-closed": Kind("mp4", "mpeg2video", {"bf": "2", "flags": "+cgop", "sc_threshold": "1e9"}),
    "mpeg2-no-reordering": Kind("mkv", "mpeg2video", {"qscale": "3"}, gop=12),
    "mpeg2-interlaced": Kind("mkv", "mpeg2video", {"flags": "+ilme+ildct", "bf": "2"}, gop=12),
    "mpeg4": Kind("mp4", "mpeg4", {"bf": "2", "qscale": "3"}, is_selective=False),
    "mjpeg": Kind("mov", "mjpeg", {"qscale": "3"}, pix_fmt="yuvj420p"),
    "mjpeg-tables": Kind("mkv", "mjpeg", {"huffman": "default"}, pix_fmt="yuvj422p"),
    "prores": Kind("mov", "prores_ks", pix_fmt="yuv422p10le"),
    "dnxhr": Kind("mov", "dnxhd", {"profile": "dnxhr_lb"}, pix_fmt="yuv422p", size=(256, 128)),
}


def write(
    path: Path, kind: Kind, seconds: float = 16.0, dark_s: tuple[float, float] = (0.0, 0.0)
) -> Path:
    """Write a clip without sound, black for a while; `path` gets the kind's suffix."""
    path = path.with_suffix(f".{kind.suffix}")
    with av.open(str(path), "w", options=dict(kind.muxer)) as output:
        video = output.add_stream(kind.codec, rate=RATE, options=dict(kind.options))
        video.width, video.height = kind.size
        video.pix_fmt = kind.pix_fmt
        video.codec_context.gop_size = kind.gop
        video.codec_context.thread_count = 1
        for number in range(round(seconds * RATE)):
            pixels = texture(number, *kind.size)
            if dark_s[0] <= number / RATE < dark_s[1]:
                pixels = np.full_like(pixels, 16)
            frame = av.VideoFrame.from_ndarray(pixels, "gray").reformat(format=kind.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
    return path


def texture(number: int, width: int, height: int) -> np.ndarray:
    """(height, width) uint8: one of several scenes, further on by a pixel or two a picture."""
    scene, at = divmod(number, 90)
    rows, columns = at % 64, 2 * at % 128
    return np.ascontiguousarray(_scene(scene)[rows : rows + height, columns : columns + width])


@cache
def _scene(number: int) -> np.ndarray:
    """(512, 512) uint8, smooth enough for a codec to find its parts again."""
    noise = np.random.default_rng(number).normal(size=(512, 512))
    for axis in (0, 1):
        for _ in range(3):
            noise = noise + np.roll(noise, 1, axis) + np.roll(noise, 2, axis)
    spread = (noise - noise.min()) / (noise.max() - noise.min())
    return (16 + 219 * spread).astype(np.uint8)
