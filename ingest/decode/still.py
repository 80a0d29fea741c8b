"""Decode a still picture: one frame, upright, that stands for all that a segment samples.

Runs in child processes only (`worker`, `picture_worker`), as the file may be hostile.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from ...schemas.errors import MediaError
from ...schemas.part import Region
from ...schemas.video import Segment
from .codecs import refusal
from .container import Skipped, check_file, open_local, packets, too_large
from .events import Opened, SegmentMedia
from .lost import Lost
from .picture import Picture
from .segments import DecodeRequest

MAX_STILL_PIXELS = 1 << 28
"""Most pixels of a still picture, above the 200 million of the largest cameras of telephones."""


def decode_still(
    request: DecodeRequest, on_progress: Callable[[], None] = lambda: None
) -> Iterator[Opened | SegmentMedia | Lost]:
    """Decode a still picture into one segment without length, as `segments.decode` does a video.

    Samplings at a rate, which show motion, get nothing.

    Raises:
        MediaError: One sentence on why it cannot be decoded.
    """
    path = os.path.abspath(request.path)
    check_file(path)
    picture, damaged = read_still(path, request.still, on_progress, request.part.region)
    yield Opened(0.0, 1, has_video=True, has_audio=False)
    frames = {
        name: np.repeat(picture.fitted(sampling)[None], sampling.count, axis=0)
        for name, sampling in request.frames.items()
        if sampling.fps is None
    }
    yield SegmentMedia(Segment(0, 0.0, 0.0), frames)
    yield Lost(breaks_off=damaged)


def read_still(
    path: str, demuxer: str, on_progress: Callable[[], None], region: Region | None = None
) -> tuple[Picture, bool]:
    """Return a still picture, and whether a part of it did not decode.

    Args:
        path: The file.
        demuxer: What reads it, as `stills.still_format` says.
        on_progress: Called per packet.
        region: The part of the picture that counts; None for all of it.

    Raises:
        MediaError: It does not decode, or is too large.
    """
    # Of the formats only JPEG gives a picture where the file breaks off, with grey for the rest.
    checked = demuxer == "jpeg_pipe"
    frame = _decoded(path, demuxer, on_progress, strict=checked)
    damaged = checked and frame is None
    if damaged:
        frame = _decoded(path, demuxer, on_progress, strict=False)
    if frame is None:
        moving = ", or an animated WebP" if demuxer == "webp_pipe" else ""
        raise MediaError(f"damaged{moving}: no picture could be decoded")
    return Picture(frame, 1.0, VideoReformatter(), region), damaged


def _decoded(
    path: str, demuxer: str, on_progress: Callable[[], None], strict: bool
) -> VideoFrame | None:
    """Return the first frame, None without one; `strict` refuses what decodes in part."""
    with open_local(path, still=demuxer) as container:
        for stream in container.streams.video[:1]:
            if why := refusal(stream):
                raise MediaError(why)
            context = stream.codec_context
            if context.width * context.height > MAX_STILL_PIXELS:
                raise MediaError(too_large(context.width, context.height))
            context.options = {
                "max_pixels": str(MAX_STILL_PIXELS),
                **({"err_detect": "explode"} if strict else {}),
            }
            for packet in packets(container, stream.index, Skipped()):
                on_progress()
                try:
                    frames = context.decode(packet)
                except MemoryError:
                    raise
                except (av.FFmpegError, ValueError):
                    continue
                for frame in frames:
                    return frame
    return None
