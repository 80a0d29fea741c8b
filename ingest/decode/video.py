"""The pictures of a file, decoded once."""

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
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter

from ...schemas.errors import MediaError
from .container import Skipped, open_local, packets, too_large
from .picture import Picture
from .pixel_aspect import PixelAspect
from .scan import Scan

_NVDEC_PIXELS = 1920 * 1080
"""From this size on a GPU decodes, where it may. Smaller pictures keep it from getting up to
speed: torchcodec measured 100 frames of 480x270 at 300 ms on a GPU and 53 on a CPU, of 1920x1080
at 12 and 17 (github.com/meta-pytorch/torchcodec, pull requests 344 and 242)."""


def video_frames(
    path: str,
    found: Scan,
    max_pixels: int,
    threads: int,
    skipped: Skipped,
    on_progress: Callable[[], None],
    nvdec: bool = False,
) -> Iterator[tuple[float, Picture]]:
    """Decodes the video stream once, in presentation order.

    Args:
        path: The file.
        found: Its scan.
        max_pixels: Larger pictures are refused.
        threads: Of a decoder on the CPU.
        skipped: Counts packets that do not decode.
        on_progress: Called for every packet.
        nvdec: Whether an NVIDIA GPU may decode large pictures.

    Yields:
        Seconds on the clock of the file, and the frame.

    Raises:
        MediaError: A frame larger than `max_pixels`.
    """
    picture = found.picture
    if found.video is None or picture is None:
        return
    clock_s = -picture.period_s
    ahead_s: float | None = None
    reformatter = VideoReformatter()
    with _open_to_decode(path, found.video, nvdec) as container:
        stream = container.streams[found.video]
        aspect = PixelAspect(stream)
        context = stream.codec_context
        context.thread_count = threads
        context.thread_type = "AUTO" if threads > 1 else "NONE"
        context.options = {"max_pixels": str(max_pixels)}
        context.flags |= CodecFlags.copy_opaque  # a frame says which packet it came in
        number = -1
        for packet in packets(container, found.video, skipped):
            on_progress()
            if packet is not None and packet.size:
                number += 1
                packet.opaque = (number,)  # an object of its own, by whose address PyAV keeps it
            try:
                frames = context.decode(packet)  # type: ignore[attr-defined]
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
                    time_s = _at(picture.packets_s, *(frame.opaque or ()))
                elif packet is not None and packet.size:
                    # Decoding times run ahead of the screen by a constant: frame 1 is the first.
                    time_s = _at(picture.clock_s, number)
                    if time_s is not None:
                        ahead_s = time_s - picture.start_s if ahead_s is None else ahead_s
                        time_s -= ahead_s
                clock_s = clock_s + picture.period_s if time_s is None else time_s
                yield clock_s, Picture(frame, aspect.now(), reformatter)


def _at(times_s: npt.NDArray[np.float64], number: int = -1) -> float | None:
    """The time of a packet; None where it is unknown."""
    if not 0 <= number < len(times_s):
        return None
    time_s = float(times_s[number])
    return None if np.isnan(time_s) else time_s


def _open_to_decode(path: str, video: int, nvdec: bool) -> InputContainer:
    """Opens a file, for a GPU to decode if it may, if the picture is large, and if there is one."""
    container = open_local(path)
    context = cast(VideoCodecContext, container.streams[video].codec_context)
    if not nvdec or context.width * context.height < _NVDEC_PIXELS:
        return container
    with suppress(MediaError):  # no driver, no GPU, or none of its decoders is free
        on_gpu = open_local(path, HWAccel("cuda", allow_software_fallback=True))
        container.close()
        return on_gpu
    return container
