"""Decodes one file into segments: sampled frames and 16 kHz mono sound.

Runs in a child process only (`decode_worker`): what it reads may be hostile. A first pass
reads packet timestamps, so nothing depends on what a header claims; the second decodes,
converts only the wanted frames, and hands each segment over as soon as it is complete.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..schemas.embedding import ByteArray, FloatArray
from ..schemas.errors import MediaError
from ..schemas.modality import FrameSampling
from ..schemas.video import SEGMENT_SECONDS, Segment, cut_segments
from .decode_audio import AudioReader
from .decode_video import Scan, Skipped, scan, video_frames
from .picture import Picture
from .sampling import NearestReader, sample_times

MAX_PIXELS = 8192 * 4320
MAX_DURATION_S = 12 * 3600.0

_MISSING_SHARE = 0.05
"""A video that ends this share of a segment early is sampled anew, up to its real end."""

_SNIFFED_BYTES = 1 << 18


@dataclass(frozen=True)
class DecodeRequest:
    """What is wanted of one file.

    Attributes:
        path: The file.
        frames: Samplings by a name of the caller's choice; empty where no picture is wanted.
        audio: Whether the sound is wanted.
        segment_seconds: Length of a segment of a long video, in seconds.
        max_pixels: Larger pictures (width times height) are refused.
        max_duration_s: Longer files are refused, in seconds.
        threads: Threads of the video decoder.
        nvdec: Whether an NVIDIA GPU may decode large pictures; where it cannot, the CPU does.
    """

    path: str
    frames: Mapping[str, FrameSampling]
    audio: bool
    segment_seconds: float = SEGMENT_SECONDS
    max_pixels: int = MAX_PIXELS
    max_duration_s: float = MAX_DURATION_S
    threads: int = 1
    nvdec: bool = False


@dataclass(frozen=True)
class Opened:
    """A file has been understood; comes before its segments.

    Attributes:
        duration_s: Seconds, by the packets' timestamps.
        segments: Segments it is cut into; fewer follow where it is damaged or where a
            stretch holds nothing that was asked for.
        has_video: Whether a picture could be decoded, or is there but was not asked for.
        has_audio: The same for sound.
    """

    duration_s: float
    segments: int
    has_video: bool
    has_audio: bool


@dataclass(frozen=True)
class SegmentMedia:
    """What was decoded of one segment.

    Attributes:
        segment: The stretch, in seconds from the first frame (or sample, without video).
        frames: (count, size, size, 3) uint8 RGB by the request's names; empty where the
            segment lies beyond the last frame, or no picture was asked for.
        audio: (n,) float32 mono at 16 kHz, None where there is no sound.
    """

    segment: Segment
    frames: dict[str, ByteArray] = field(default_factory=dict)
    audio: FloatArray | None = None


def decode(
    request: DecodeRequest, on_progress: Callable[[], None] = lambda: None
) -> Iterator[Opened | SegmentMedia]:
    """Decodes a file once, segment by segment.

    Args:
        request: What is wanted.
        on_progress: Called for every packet that was read, so a caller can tell slow from
            stuck.

    Yields:
        One `Opened`, then the segments in order.

    Raises:
        MediaError: One sentence on why nothing, or nothing more, can be decoded.
    """
    path = os.path.abspath(request.path)
    _check_file(path)
    skipped = Skipped()
    found = scan(path, request.max_pixels, on_progress)
    if not found.packets:
        raise MediaError(_nothing(path, "it holds no frame and no sound (empty, or cut short)"))
    origin = float(found.video_s[0]) if len(found.video_s) else None
    video_end = found.video_end_s - origin if origin is not None else 0.0
    audio_end = 0.0
    if found.audio is not None:
        audio_end = found.audio_end_s - (found.audio_start_s if origin is None else origin)
    duration = max(video_end, audio_end, 0.0)
    if not duration <= request.max_duration_s:
        raise MediaError(
            f"too long: {duration / 3600:.1f} hours by its timestamps, "
            f"over the limit of {request.max_duration_s / 3600:g}"
        )

    def open_frames() -> NearestReader[Picture]:
        return NearestReader(
            video_frames(
                path,
                found,
                request.max_pixels,
                request.threads,
                skipped,
                on_progress,
                request.nvdec,
            )
        )

    frames: NearestReader[Picture] | None = None
    if len(found.video_s) and request.frames:
        frames = open_frames()
        frames = frames if frames.prime() else None
    sound: AudioReader | None = None
    if found.audio is not None and request.audio:
        sound = AudioReader(path, found.audio, origin, skipped, on_progress)
        sound = sound if sound.prime() else None
    has_video = frames is not None or bool(len(found.video_s) and not request.frames)
    has_audio = sound is not None or (found.audio is not None and not request.audio)
    if not has_video and not has_audio:
        raise MediaError(
            _nothing(path, f"damaged: none of its {found.packets} packets could be decoded")
        )
    segments = cut_segments(duration, request.segment_seconds)
    yield Opened(duration, len(segments), has_video, has_audio)

    done, replanned = 0, False
    while done < len(segments):
        segment = segments[done]
        audio = sound.take(segment.start_s, segment.end_s) if sound else None
        pictures: dict[str, ByteArray] = {}
        # Without a frame of its own a segment shows the one before: worth a row only
        # where something is heard meanwhile.
        wanted = audio is not None or _shown(found, origin, segment)
        if frames is not None and wanted and (segment.start_s < video_end or done == 0):
            visible = Segment(segment.index, segment.start_s, min(segment.end_s, video_end))
            pictures = _pictures(frames, request.frames, visible)
            real_end = _real_end(frames, found, video_end, request.segment_seconds)
            if real_end is not None and not replanned and real_end < visible.end_s:
                # The video ends early. Only damaged files are decoded a second time.
                replanned, video_end = True, real_end
                segments = cut_segments(max(real_end, audio_end), request.segment_seconds)
                frames = open_frames()
                continue
        done += 1
        if pictures or audio is not None:
            yield SegmentMedia(segment, pictures, audio)


def _check_file(path: str) -> None:
    try:
        if not os.path.isfile(path):
            raise MediaError("not a file" if os.path.exists(path) else "the file is not there")
        if os.path.getsize(path) == 0:
            raise MediaError("empty file")
    except OSError as error:
        raise MediaError(f"the file cannot be read ({error.strerror})") from None


def _nothing(path: str, reason: str) -> str:
    """`reason`, unless the file's boxes say that its content is encrypted."""
    with open(path, "rb") as file:
        head = file.read(_SNIFFED_BYTES)
        file.seek(max(0, os.path.getsize(path) - _SNIFFED_BYTES))
        tail = file.read(_SNIFFED_BYTES)
    if any(box in part for box in (b"encv", b"enca", b"tenc") for part in (head, tail)):
        return "encrypted: its key is not in the file"
    return reason


def _shown(found: Scan, origin: float | None, segment: Segment) -> bool:
    """Whether a frame of the scan appears within the segment."""
    times = found.video_s - (origin or 0.0)
    first = int(np.searchsorted(times, segment.start_s - 1e-6))
    return first < len(times) and bool(times[first] < segment.end_s or first == 0)


def _pictures(
    frames: NearestReader[Picture], samplings: Mapping[str, FrameSampling], visible: Segment
) -> dict[str, ByteArray]:
    """The frames of a segment by name, each (count, size, size, 3) uint8 RGB."""
    pictures = {
        name: np.empty((s.count, s.size, s.size, 3), np.uint8) for name, s in samplings.items()
    }
    wanted = sorted(
        (time, name, row)
        for name, sampling in samplings.items()
        for row, time in enumerate(sample_times(sampling, visible))
    )
    for time, name, row in wanted:
        pictures[name][row] = frames.at(time).fitted(samplings[name])
    return pictures


def _real_end(
    frames: NearestReader[Picture], found: Scan, video_end: float, segment_seconds: float
) -> float | None:
    """When the picture ended, where that is much earlier than its timestamps promised."""
    if not frames.exhausted or frames.last_s is None:
        return None
    end = frames.last_s + found.period_s
    tolerance = max(2 * found.period_s, _MISSING_SHARE * min(video_end, segment_seconds))
    return end if video_end - end > tolerance else None
