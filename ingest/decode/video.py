"""One file through PyAV: opening it safely, its timestamps and its frames."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, cast

import av
import numpy as np
import numpy.typing as npt
from av.buffer import Buffer
from av.codec.context import Flags as CodecFlags
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.format import Flags
from av.stream import Discard, Disposition, Stream
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter

from ...schemas.errors import MediaError
from .picture import Picture
from .pixel_aspect import PixelAspect
from .timeline import Stamps, Track, count_frames, straighten

# Formats that hold their own content. Playlists (hls, dash, concat), image sequences and
# devices are left out: they make libav open whatever other file or address they name.
_CONTAINERS = (
    "3g2,3gp,aac,ac3,aiff,amr,apng,asf,au,avi,caf,dv,eac3,flac,flv,gif,h263,h264,hevc,ivf,m4v,"
    "matroska,mjpeg,mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,vc1,w64,wav,webm,wv,"
    "yuv4mpegpipe"
)

_NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
"""Covers, previews and stills that a file shows beside its video."""

_OF_THE_DISK = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ENODEV, errno.ENXIO}
)
"""What says that a file could not be read, and nothing of what is in it."""

_NVDEC_PIXELS = 1920 * 1080
"""From this size on a GPU decodes, where it may. Smaller pictures keep it from getting up to
speed: torchcodec measured 100 frames of 480x270 at 300 ms on a GPU and 53 on a CPU, of 1920x1080
at 12 and 17 (github.com/meta-pytorch/torchcodec, pull requests 344 and 242)."""


@dataclass
class Skipped:
    """What did not decode, over a file.

    Attributes:
        packets: Packets, of picture and sound.
        sound_s: Seconds of sound.
    """

    packets: int = 0
    sound_s: float = 0.0


@dataclass(frozen=True)
class Scan:
    """What the packets of a file say about it, on the file's own clock (`timeline`).

    Attributes:
        video: Index of the video stream, None without one.
        audio: Index of the audio stream, None without one.
        picture: When its packets are presented; None without a video stream.
        sound: The same of the audio stream.
        by_dts: Whether presentation times of the picture were missing, and decoding times stand in.
        packets: Packets of both streams.
        breaks_off: Whether the file ends in something unreadable.
    """

    video: int | None
    audio: int | None
    picture: Track | None
    sound: Track | None
    by_dts: bool
    packets: int
    breaks_off: bool

    @property
    def video_s(self) -> npt.NDArray[np.float64]:
        """(n,) float64 ascending presentation times of the picture."""
        return self.picture.shown_s if self.picture is not None else np.zeros(0)

    @property
    def duration_s(self) -> float:
        """When the last of picture and sound ends."""
        tracks = [track for track in (self.picture, self.sound) if track is not None]
        return max((track.end_s for track in tracks), default=0.0)


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

    Raises:
        MediaError: The disk or network failed, not the file.
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
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise MediaError(f"it could not be read to its end ({error.strerror})") from None
        skipped.packets += 1
        if stream is not None:
            yield None


def scan(
    path: str, max_pixels: int, on_progress: Callable[[], None], audio_track: int | None = None
) -> Scan:
    """Reads every packet's timestamps without decoding anything, and puts them onto one clock.

    Args:
        path: The file.
        max_pixels: Larger pictures are refused.
        on_progress: Called for every packet.
        audio_track: Which track of sound, from 1; None for the one that goes with the picture.

    Raises:
        MediaError: Not a video, encrypted, or larger than `max_pixels` a frame.
    """
    with open_local(path) as container:
        pictures, sounds = _usable(container, "video"), _usable(container, "audio")
        read = {stream.index: _Packets() for stream in (*pictures, *sounds)}
        unread = Skipped()
        for place, packet in enumerate(packets(container, None, unread)):
            on_progress()
            if packet is not None and packet.size and packet.stream_index in read:
                read[packet.stream_index].add(place, packet)
        video = _moving(pictures, read)
        audio = _heard(container, sounds, video, read, audio_track)
        if video is not None and container.format.name == "avi":
            # AVI has no presentation times: what libav gives for some codecs are decoding times.
            read[video.index].pts = [None] * len(read[video.index].pts)
        chosen = [stream for stream in (video, audio) if stream is not None]
        count = sum(len(read[stream.index].pts) for stream in chosen)
        if sum(read[stream.index].locked for stream in chosen) * 2 > count:
            raise MediaError("encrypted: its key is not in the file")
        if video is not None:
            context = cast(VideoCodecContext, video.codec_context)
            if context.width * context.height > max_pixels:
                raise MediaError(_too_large(context.width, context.height))
        stamps = [read[stream.index].stamps(stream) for stream in chosen]
        clock_jumps = bool(Flags(container.format.flags) & Flags.ts_discont)
        tracks = dict(
            zip(
                (s.index for s in chosen), straighten(stamps, clock_jumps, on_progress), strict=True
            )
        )
        picture = tracks[video.index] if video is not None else None
        by_dts = video is not None and None in read[video.index].pts
        if (
            video is not None
            and picture is not None
            and by_dts
            and len(picture.shown_s) < len(picture.packets_s) // 2
        ):
            # A raw stream without any timestamp: frames are counted, at the rate it names.
            picture = count_frames(len(picture.packets_s), float(video.average_rate or 25))
        return Scan(
            None if video is None else video.index,
            None if audio is None else audio.index,
            picture,
            None if audio is None else tracks[audio.index],
            by_dts,
            count,
            bool(unread.packets),
        )


class _Packets:
    """What the packets of one stream say, in the file's order; ticks of its clock."""

    def __init__(self) -> None:
        self.place: list[int] = []
        self.pts: list[int | None] = []
        self.dts: list[int | None] = []
        self.duration: list[int] = []
        self.counts: list[bool] = []
        self.locked = 0
        self.padding = 0

    def add(self, place: int, packet: av.Packet[Stream]) -> None:
        if not self.pts and packet.has_sidedata("skip_samples"):
            data = bytes(cast(Buffer, packet.get_sidedata("skip_samples")))
            self.padding = int.from_bytes(data[:4], "little")
        self.place.append(place)
        self.pts.append(packet.pts)
        self.dts.append(packet.dts)
        self.duration.append(packet.duration or 0)
        self.counts.append(not packet.is_discard)
        self.locked += packet.has_sidedata("encryption_info")

    def stamps(self, stream: Stream) -> Stamps:
        base = stream.time_base or Fraction(1)
        rate = getattr(stream.codec_context, "sample_rate", 0)
        # What is dropped of packets that are not presented at all is none of those that are.
        left_out = self.counts.index(True) if True in self.counts else 0
        dropped_s = float(sum(self.duration[:left_out]) * base)
        return Stamps(
            place=np.array(self.place, np.int64),
            decoded_s=_to_seconds(self.dts, base),
            shown_s=_to_seconds(self.pts, base),
            duration_s=_to_seconds(self.duration, base),
            counts=np.array(self.counts, bool),
            is_picture=stream.type == "video",
            padding_s=max(0.0, self.padding / rate - dropped_s) if rate else 0.0,
        )


def _to_seconds(ticks: Sequence[int | None], base: Fraction) -> npt.NDArray[np.float64]:
    """Ticks of a clock as seconds, rounded once; NaN for None."""
    return np.array(ticks, np.float64) * base.numerator / base.denominator


def _usable(container: InputContainer, kind: Literal["video", "audio"]) -> list[Stream]:
    """Streams that may be used, libav's choice first; covers and previews are no video."""
    best = container.streams.best(kind)
    found = [
        stream
        for stream in container.streams
        if stream.type == kind and stream.codec_context is not None
    ]
    real = [stream for stream in found if not stream.disposition & _NO_VIDEO]
    return sorted(real, key=lambda stream: stream is not best)


def _moving(pictures: Sequence[Stream], read: Mapping[int, _Packets]) -> Stream | None:
    """The first video stream of more than one picture, else the first of one."""
    shown = [stream for stream in pictures if read[stream.index].pts]
    moving = [stream for stream in shown if len(read[stream.index].pts) > 1]
    return next(iter([*moving, *shown, *pictures]), None)


def _heard(
    container: InputContainer,
    sounds: Sequence[Stream],
    video: Stream | None,
    read: Mapping[int, _Packets],
    track: int | None,
) -> Stream | None:
    """The track of sound that was asked for, or the one of the picture's programme.

    A track that there is not is no reason to hear none.
    """
    if track is not None:
        tracks = sorted(sounds, key=lambda stream: stream.index)
        if track <= len(tracks):
            return tracks[track - 1]
    best = container.streams.best("audio", related=video)
    first = [stream for stream in sounds if stream is best or stream == best]
    having = [stream for stream in (*first, *sounds) if read[stream.index].pts]
    return next(iter([*having, *sounds]), None)


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
                    raise MediaError(_too_large(frame.width, frame.height))
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
