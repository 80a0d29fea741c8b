"""First pass over a file: choose the streams to decode, and time their packets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, cast

import av
import numpy as np
import numpy.typing as npt
from av.buffer import Buffer
from av.container import InputContainer
from av.format import Flags
from av.stream import Disposition, Stream
from av.video.codeccontext import VideoCodecContext

from ...schemas.errors import MediaError
from .codecs import decoded, refusal
from .container import Skipped, open_local, packets, too_large
from .missing import Bytes, missing
from .programmes import programmes
from .stamps import Stamps
from .structure import Structure
from .structures import Structures
from .timeline import Track, count_frames, straighten

_NO_VIDEO = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
"""Covers, previews and stills, which a file holds beside its video."""


_BESIDE = (
    Disposition.comment
    | Disposition.descriptions
    | Disposition.hearing_impaired
    | Disposition.visual_impaired
)
"""Audio tracks that accompany the main one, or replace it."""


@dataclass(frozen=True)
class Scan:
    """What the packets of a file tell about it, on the clock of the file (`timeline`).

    Attributes:
        video: Index of the video stream, None without one.
        audio: Index of the audio stream, None without one.
        picture: Times of the video stream's packets, None without one.
        sound: Times of the audio stream's packets, None without one.
        by_dts: Whether decoding timestamps stand in for missing presentation timestamps of the
            video.
        packets: Number of packets of both streams.
        breaks_off: Whether the file ends in unreadable data.
        missing: What is known to be missing from the file, as text.
        keys: (n,) whether decoding may begin with a packet of the video, in file order.
        structure: How the pictures of the video depend on each other; None if that was not asked
            for, or is not known for certain.
        pixels: Pixels of a picture, as the file says; 0 without. In proportion less where its
            packets are more bytes than the file, and lie in the same ones.
        unheard: Why its sound is left out; "" where it is not.
    """

    video: int | None
    audio: int | None
    picture: Track | None
    sound: Track | None
    by_dts: bool
    packets: int
    breaks_off: bool
    missing: str
    keys: npt.NDArray[np.bool_]
    structure: Structure | None = None
    pixels: float = 0.0
    unheard: str = ""

    def megapixels(self, more: int) -> float:
        """Return the million pixels of all pictures, and of `more` of them."""
        pictures = 0 if self.picture is None else len(self.picture.packets_s) + more
        return pictures * self.pixels / 1e6

    @property
    def video_s(self) -> npt.NDArray[np.float64]:
        """Return the presentation times of the video, (n,) float64, ascending."""
        return self.picture.shown_s if self.picture is not None else np.zeros(0)

    @property
    def duration_s(self) -> float:
        """Return when the last of video and audio ends, in seconds."""
        tracks = [track for track in (self.picture, self.sound) if track is not None]
        return max((track.end_s for track in tracks), default=0.0)


def scan(
    path: str,
    max_pixels: int,
    on_progress: Callable[[], None],
    audio_track: int | None = None,
    with_structure: bool = False,
) -> Scan:
    """Read the timestamps of all packets without decoding, and put them onto one clock.

    Args:
        path: The file.
        max_pixels: Most pixels per frame.
        on_progress: Called per packet.
        audio_track: Number of the audio track, from 1; None for the one that goes with the video.
        with_structure: Whether the packets of the video are read for `Scan.structure`.

    Raises:
        MediaError: It is not a video, is encrypted, or has more than `max_pixels` per frame.
    """
    with open_local(path) as container:
        pictures, sounds = usable(container, "video"), usable(container, "audio")
        read = {stream.index: _Packets() for stream in (*pictures, *sounds)}
        with_structure &= container.format.name != "avi"  # whose stamps tell no order
        structures = {s.index: Structures(s) for s in pictures if with_structure}
        # Before packets are read: PyAV fails here once streams begin that it does not know.
        best = {stream.index: _best_sound(container, stream) for stream in pictures}
        best[-1] = _best_sound(container, None)
        beside = Bytes()  # packets of all other streams
        unread = Skipped()
        for place, packet in enumerate(packets(container, None, unread)):
            on_progress()
            if packet is not None and packet.size:
                if packet.stream_index in read:
                    read[packet.stream_index].add(place, packet)
                    if packet.stream_index in structures:
                        structures[packet.stream_index].add(packet)
                else:
                    _note(beside, packet)
        video = _moving(decoded(pictures), read)
        if video is None and pictures:
            raise MediaError(refusal(pictures[0]))
        preferred = best[-1 if video is None else video.index]
        heard = _of_programme(container, sounds, video)
        audio = _heard(decoded(heard) or heard, preferred, read)
        if audio_track is not None and audio_track <= len(sounds):  # else keep the default
            audio = sorted(sounds, key=lambda stream: stream.index)[audio_track - 1]
        unheard = "" if audio is None else refusal(audio)
        if unheard:
            if video is None:
                raise MediaError(unheard)
            audio = None
        if video is not None and container.format.name == "avi":
            # AVI has no presentation timestamps: those libav gives for some codecs are decoding
            # timestamps.
            read[video.index].pts = [None] * len(read[video.index].pts)
        chosen = [stream for stream in (video, audio) if stream is not None]
        count = sum(len(read[stream.index].pts) for stream in chosen)
        if sum(read[stream.index].locked for stream in chosen) * 2 > count:
            raise MediaError("encrypted: its key is not in the file")
        pixels = 0.0
        if video is not None:
            context = cast(VideoCodecContext, video.codec_context)
            pixels = context.width * context.height
            if pixels > max_pixels:
                raise MediaError(too_large(context.width, context.height))
            pixels *= min(1.0, container.size / max(1, sum(read[video.index].bytes.size)))
        stamps = [read[stream.index].stamps(stream) for stream in chosen]
        clock_jumps = bool(Flags(container.format.flags) & Flags.ts_discont)
        tracks = dict(
            zip(
                (s.index for s in chosen), straighten(stamps, clock_jumps, on_progress), strict=True
            )
        )
        for stream in chosen:
            read[stream.index].bytes.indexed = len(stream.index_entries)
        gone = missing(
            path,
            container.size,
            container.format.name,
            (container.duration or 0) / av.time_base,
            [(tracks[stream.index], read[stream.index].bytes) for stream in chosen],
            [beside, *(of.bytes for index, of in read.items() if index not in tracks)],
        )
        picture = tracks[video.index] if video is not None else None
        by_dts = video is not None and None in read[video.index].pts
        if (
            video is not None
            and picture is not None
            and by_dts
            and len(picture.shown_s) < len(picture.packets_s) // 2
        ):
            # A raw stream without timestamps: frames are counted, at its stated frame rate.
            picture = count_frames(len(picture.packets_s), float(video.average_rate or 25))
        return Scan(
            None if video is None else video.index,
            None if audio is None else audio.index,
            picture,
            None if audio is None else tracks[audio.index],
            by_dts,
            count,
            bool(unread.packets),
            gone,
            np.array([] if video is None else read[video.index].keys, np.bool_),
            structures[video.index].found() if video is not None and with_structure else None,
            pixels,
            f"its sound was left out ({unheard})" if unheard else "",
        )


class _Packets:
    """The packets of one stream in file order, in ticks of its time base."""

    def __init__(self) -> None:
        self.place: list[int] = []
        self.pts: list[int | None] = []
        self.dts: list[int | None] = []
        self.duration: list[int] = []
        self.counts: list[bool] = []
        self.keys: list[bool] = []
        self.locked = 0
        self.padding = 0
        self.bytes = Bytes()

    def add(self, place: int, packet: av.Packet[Stream]) -> None:
        if not self.pts and packet.has_sidedata("skip_samples"):
            data = bytes(cast(Buffer, packet.get_sidedata("skip_samples")))
            self.padding = int.from_bytes(data[:4], "little")
        _note(self.bytes, packet)
        self.place.append(place)
        self.pts.append(packet.pts)
        self.dts.append(packet.dts)
        self.duration.append(packet.duration or 0)
        self.counts.append(not packet.is_discard)
        self.keys.append(packet.is_keyframe)
        self.locked += packet.has_sidedata("encryption_info")

    def stamps(self, stream: Stream) -> Stamps:
        base = stream.time_base or Fraction(1)
        rate = getattr(stream.codec_context, "sample_rate", 0)
        # Priming within packets that are not presented is not dropped from those that are.
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


def _note(of: Bytes, packet: av.Packet[Stream]) -> None:
    """Record a packet's position, timestamp and stated end."""
    of.pos.append(-1 if packet.pos is None else packet.pos)
    of.size.append(packet.size)
    stamp_s = np.nan
    if packet.pts is not None and packet.time_base:
        stamp_s = float(packet.pts * packet.time_base)
        of.end_s = max(of.end_s, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    of.stamp_s.append(stamp_s)


def _to_seconds(ticks: Sequence[int | None], base: Fraction) -> npt.NDArray[np.float64]:
    """Convert ticks to seconds, rounded once; None becomes NaN."""
    return np.array(ticks, np.float64) * base.numerator / base.denominator


def usable(container: InputContainer, kind: Literal["video", "audio"]) -> list[Stream]:
    """Return the streams of a kind, libav's choice first, without covers and previews."""
    best = container.streams.best(kind)
    found = [
        stream
        for stream in container.streams
        if stream.type == kind and stream.codec_context is not None
    ]
    real = [stream for stream in found if not stream.disposition & _NO_VIDEO]
    return sorted(real, key=lambda stream: stream is not best)


def _moving(pictures: Sequence[Stream], read: Mapping[int, _Packets]) -> Stream | None:
    """Return the first video stream of several frames, else the first of one, else the first."""
    shown = [stream for stream in pictures if read[stream.index].pts]
    moving = [stream for stream in shown if len(read[stream.index].pts) > 1]
    return next(iter([*moving, *shown, *pictures]), None)


def _best_sound(container: InputContainer, video: Stream | None) -> int | None:
    """Return the index of the audio stream that libav chooses for a video stream, if any."""
    best = container.streams.best("audio", related=video)
    return None if best is None else best.index


def _heard(
    sounds: Sequence[Stream], preferred: int | None, read: Mapping[int, _Packets]
) -> Stream | None:
    """Return the audio stream to use: libav's choice, unless it is empty or commentary."""
    # libav does not tell commentary from the main audio if no track is the default.
    beside = [
        stream
        for stream in sounds
        if stream.disposition & _BESIDE and not stream.disposition & Disposition.default
    ]
    having = sorted(
        (stream for stream in sounds if read[stream.index].pts),
        key=lambda stream: (stream in beside, stream.index != preferred),
    )
    return next(iter([*having, *sounds]), None)


def _of_programme(
    container: InputContainer, sounds: Sequence[Stream], video: Stream | None
) -> Sequence[Stream]:
    """Return the audio streams without those of other programmes than the video's."""
    if container.format.name != "mpegts" or video is None:
        return sounds
    found = programmes(container.name.removeprefix("file:"))
    own = {pid for pids in found if video.id in pids for pid in pids}
    others = {pid for pids in found for pid in pids} - own
    return [stream for stream in sounds if stream.id not in others] if own else sounds
