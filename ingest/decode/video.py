"""Decode the video stream of a file, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags as CodecFlags
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter

from ...schemas.errors import MediaError
from ...schemas.part import Region
from .container import Skipped, open_local, packets, too_large
from .picture import Picture
from .pixel_aspect import PixelAspect
from .scan import Scan

_NVDEC_PIXELS = 1920 * 1080
"""Pixels per picture from which a GPU decodes, where it may. It is slower for smaller pictures:
torchcodec measured 100 frames of 480x270 at 300 ms on a GPU and 53 on a CPU, of 1920x1080 at 12
and 17 (github.com/meta-pytorch/torchcodec, pull requests 344 and 242)."""


def video_frames(
    path: str,
    found: Scan,
    max_pixels: int,
    threads: int,
    skipped: Skipped,
    on_progress: Callable[[], None],
    nvdec: bool = False,
    first: int = 0,
    region: Region | None = None,
) -> Iterator[tuple[float, Picture]]:
    """Decode the video stream once, in presentation order.

    Args:
        path: The file.
        found: Its scan.
        max_pixels: Most pixels per frame.
        threads: Threads of a CPU decoder.
        skipped: Counts packets that do not decode.
        on_progress: Called per packet.
        nvdec: Whether an NVIDIA GPU may decode large pictures.
        first: Number of the first packet that is decoded, a key one, in file order.
        region: The part of each picture that counts; None for all of it.

    Yields:
        (seconds on the clock of the file, frame) pairs.

    Raises:
        MediaError: A frame has more than `max_pixels`.
    """
    picture = found.picture
    if found.video is None or picture is None:
        return
    clock_s = -picture.period_s
    ahead_s: float | None = None
    reformatter = VideoReformatter()
    with open_to_decode(path, found.video, nvdec) as container:
        stream = container.streams[found.video]
        aspect = PixelAspect(stream)
        context = prepared(stream, threads, max_pixels)
        number = -1
        for packet in packets(container, found.video, skipped):
            on_progress()
            if packet is not None and packet.size:
                number += 1
                if number < first and not packet.has_sidedata("new_extradata"):
                    continue
                packet.opaque = (number,)  # a new object, as PyAV keys it by its address
            try:
                frames = context.decode(packet)
            except MemoryError:
                raise
            except (av.FFmpegError, ValueError):
                skipped.packets += 1
                continue
            for frame in frames:
                if frame.width * frame.height > max_pixels:
                    raise MediaError(too_large(frame.width, frame.height))
                time_s = None
                if not found.by_dts:
                    time_s = _at(picture.packets_s, *cast(tuple[int, ...], frame.opaque or ()))
                elif packet is not None and packet.size:
                    # Decoding timestamps differ from presentation by a constant, which the
                    # first frame tells.
                    time_s = _at(picture.clock_s, number)
                    if time_s is not None:
                        ahead_s = time_s - picture.start_s if ahead_s is None else ahead_s
                        time_s -= ahead_s
                clock_s = clock_s + picture.period_s if time_s is None else time_s
                yield clock_s, Picture(frame, aspect.now(), reformatter, region)


def _at(times_s: npt.NDArray[np.float64], number: int = -1) -> float | None:
    """Return the time of a packet; None if unknown."""
    if not 0 <= number < len(times_s):
        return None
    time_s = float(times_s[number])
    return None if np.isnan(time_s) else time_s


def prepared(stream: Stream, threads: int, max_pixels: int, **options: str) -> VideoCodecContext:
    """Return a video stream's decoder, set up so that a frame tells which packet it came from."""
    context = cast(VideoCodecContext, stream.codec_context)
    context.thread_count = threads
    context.thread_type = "AUTO" if threads > 1 else "NONE"
    context.options = {"max_pixels": str(max_pixels), **options}
    context.flags |= CodecFlags.copy_opaque
    return context


def open_to_decode(path: str, video: int, nvdec: bool) -> InputContainer:
    """Open a file for decoding, on a GPU if that is allowed, available and worth it."""
    container = open_local(path)
    context = cast(VideoCodecContext, container.streams[video].codec_context)
    if not nvdec or context.width * context.height < _NVDEC_PIXELS:
        return container
    with suppress(MediaError):  # no driver, no GPU, or none of its decoders is free
        on_gpu = open_local(path, HWAccel("cuda", allow_software_fallback=True))
        container.close()
        return on_gpu
    return container
