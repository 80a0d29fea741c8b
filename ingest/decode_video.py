"""One file through PyAV: opening it safely, its timestamps and its frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Discard, Disposition, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter

from ..schemas.errors import MediaError
from .picture import Picture
from .pixel_aspect import PixelAspect

# Formats that hold their own content. Playlists (hls, dash, concat), image sequences and
# devices are left out: they make libav open whatever other file or address they name.
_CONTAINERS = (
    "3g2,3gp,aac,ac3,aiff,amr,apng,asf,au,avi,caf,dv,eac3,flac,flv,gif,h263,h264,hevc,ivf,m4v,"
    "matroska,mjpeg,mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,vc1,w64,wav,webm,wv,"
    "yuv4mpegpipe"
)

_NVDEC_PIXELS = 1920 * 1080
"""From this size on a GPU decodes, where it may. Smaller pictures keep it from getting up to
speed: torchcodec measured 100 frames of 480x270 at 300 ms on a GPU and 53 on a CPU, of 1920x1080
at 12 and 17 (github.com/meta-pytorch/torchcodec, pull requests 344 and 242)."""


@dataclass
class Skipped:
    """Packets that did not decode, counted over a file."""

    packets: int = 0


@dataclass(frozen=True)
class Scan:
    """What the packets of a file say about it, in seconds on the file's own clock.

    Attributes:
        video: Index of the video stream, None without one.
        audio: Index of the audio stream, None without one.
        video_s: (n,) float64 presentation times of the video packets, ascending.
        video_end_s: When the last frame leaves the screen.
        audio_start_s: When the sound starts.
        audio_end_s: When it ends.
        by_dts: Whether presentation times were missing, and decoding times stand in.
        packets: Packets of both streams.
    """

    video: int | None
    audio: int | None
    video_s: npt.NDArray[np.float64]
    video_end_s: float
    audio_start_s: float
    audio_end_s: float
    by_dts: bool
    packets: int

    @property
    def period_s(self) -> float:
        """The usual time from one frame to the next."""
        if len(self.video_s) < 2:
            return 0.04
        return float(np.median(np.diff(self.video_s)))


def open_local(path: str, on: HWAccel | None = None) -> InputContainer:
    """Opens a local file in one of the known container formats.

    Args:
        path: The file.
        on: What decodes its pictures; None for the CPU.

    Raises:
        MediaError: It cannot be read, or is in none of them.
    """
    options = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
    try:
        return av.open(f"file:{path}", options=options, hwaccel=on)
    except FileNotFoundError:
        raise MediaError("the file is not there any more") from None
    except PermissionError:
        raise MediaError("the file may not be read (permission denied)") from None
    except MemoryError:
        raise
    except (av.FFmpegError, OSError, ValueError):
        raise MediaError("not a video: it is in no format that vidsim reads") from None


def packets(
    container: InputContainer, stream: int | None, skipped: Skipped
) -> Iterator[av.Packet[Stream] | None]:
    """The packets of one stream (None: of all) up to the end or the first unreadable one.

    The last of a stream is empty, or None after an unreadable one: it flushes the decoder.
    """
    if stream is not None:
        for other in container.streams:
            if other.index != stream:
                other.discard = Discard.all
    chosen = list(container.streams) if stream is None else [container.streams[stream]]
    try:
        yield from container.demux(chosen)
    except MemoryError:
        raise
    except (av.FFmpegError, OSError, ValueError):
        skipped.packets += 1
        if stream is not None:
            yield None


def scan(path: str, max_pixels: int, on_progress: Callable[[], None]) -> Scan:
    """Reads every packet's timestamps without decoding anything.

    Raises:
        MediaError: Not a video, encrypted, or larger than `max_pixels` a frame.
    """
    with open_local(path) as container:
        video, audio = _best(container, "video", max_pixels), _best(container, "audio")
        shown: list[float] = []
        heard: list[float] = []
        ends = {"video": 0.0, "audio": 0.0}
        by_dts, locked, count = False, 0, 0
        for packet in packets(container, None, Skipped()):
            on_progress()
            if packet is None or packet.size == 0 or packet.is_discard:
                continue
            if packet.stream_index not in (video, audio):
                continue
            count += 1
            locked += packet.has_sidedata("encryption_info")
            is_video = packet.stream_index == video
            by_dts |= is_video and packet.pts is None
            stamp = packet.dts if packet.pts is None else packet.pts
            base = packet.time_base
            if stamp is None or base is None:
                continue
            times = shown if is_video else heard
            times.append(_seconds(stamp, base))
            end = times[-1] + _seconds(packet.duration or 0, base)
            kind = "video" if is_video else "audio"
            ends[kind] = end if len(times) == 1 else max(ends[kind], end)
        if locked * 2 > count:
            raise MediaError("encrypted: its key is not in the file")
        rate = container.streams[video].average_rate if video is not None else None
    stamps = np.unique(np.asarray(shown, np.float64))
    if video is not None and by_dts and len(stamps) < count // 2:
        # A raw stream without any timestamp: frames are counted, at the rate it names.
        stamps = np.arange(count, dtype=np.float64) / float(rate or 25)
        ends["video"] = float(count / float(rate or 25))
    result = Scan(
        video,
        audio,
        stamps,
        ends["video"],
        min(heard, default=0.0),
        ends["audio"],
        by_dts,
        count,
    )
    if len(stamps) > 1 and result.video_end_s <= stamps[-1]:
        return replace(result, video_end_s=float(stamps[-1]) + result.period_s)
    return result


def _seconds(ticks: int, base: Fraction) -> float:
    """`ticks` of a clock as seconds, rounded once: a product of fractions takes far longer."""
    return ticks * base.numerator / base.denominator


def _best(container: InputContainer, kind: str, max_pixels: int = 0) -> int | None:
    """Index of the stream to use; cover art is no video.

    Raises:
        MediaError: The picture is larger than `max_pixels`, where that is not 0.
    """
    best = container.streams.best(kind)  # type: ignore[arg-type]
    usable = [
        stream
        for stream in (best, *container.streams)
        if stream is not None
        and stream.type == kind
        and stream.codec_context is not None
        and not stream.disposition & Disposition.attached_pic
    ]
    if not usable:
        return None
    context = usable[0].codec_context
    if max_pixels and context.width * context.height > max_pixels:
        raise MediaError(_too_large(context.width, context.height))
    return int(usable[0].index)


def _too_large(width: int, height: int) -> str:
    return f"its picture is too large: {width}x{height} pixels"


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
        Seconds from the first frame that the scan saw, and the frame.

    Raises:
        MediaError: A frame larger than `max_pixels`.
    """
    if found.video is None:
        return
    origin = None if found.by_dts else float(found.video_s[0]) if len(found.video_s) else 0.0
    clock = -found.period_s
    reformatter = VideoReformatter()
    with _open_to_decode(path, found.video, nvdec) as container:
        stream = container.streams[found.video]
        aspect = PixelAspect(stream)
        context = stream.codec_context
        context.thread_count = threads
        context.thread_type = "AUTO" if threads > 1 else "NONE"
        context.options = {"max_pixels": str(max_pixels)}
        for packet in packets(container, found.video, skipped):
            on_progress()
            try:
                frames = context.decode(packet)  # type: ignore[attr-defined]
            except MemoryError:
                raise
            except (av.FFmpegError, ValueError):
                skipped.packets += 1
                continue
            for frame in frames:
                if frame.width * frame.height > max_pixels:
                    raise MediaError(_too_large(frame.width, frame.height))
                stamp = frame.dts if found.by_dts else frame.pts
                if stamp is None:
                    clock += found.period_s
                else:
                    seconds = _seconds(stamp, frame.time_base)
                    # Decoding times run ahead of the screen by a constant: frame 1 is 0 s.
                    origin = seconds if origin is None else origin
                    clock = seconds - origin
                yield clock, Picture(frame, aspect.now(), reformatter)


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
