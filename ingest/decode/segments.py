"""Decode one file into segments: sampled frames and 16 kHz mono audio.

Runs in a child process only (`worker`), as the file may be hostile. The first pass reads packet
timestamps, so nothing depends on what a header claims; the second decodes, converts only the
sampled frames, and yields each segment as soon as it is complete.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...schemas.embedding import ByteArray
from ...schemas.errors import MediaError
from ...schemas.modality import FrameSampling
from ...schemas.part import WHOLE, Part
from ...schemas.video import SEGMENT_SECONDS, Segment, cut_segments
from .audio import AudioReader
from .container import Skipped, check_file
from .events import Opened, SegmentMedia
from .looks import frames_at, moments, pictures_of, visible_part, windows
from .lost import Lost
from .media_file import media_size, open_media
from .part import first_picture, first_sound, within
from .picture import Picture
from .sampling import ShownReader, sample_times, shown_at
from .scan import Scan, scan
from .selected import UnplannedError, selected_frames
from .selection import Selection, needed, select
from .stamps import Floats
from .timeline import Track
from .video import video_frames

MAX_PIXELS = 8192 * 4320
MAX_DURATION_S = 12 * 3600.0

_FRAMES_TO_SPARE = 2
"""Packets at the end that may yield no frame: decoders hold some back where a file was cut."""

_MISSING_S = 0.5
"""Video that ends this early is sampled again, up to its real end."""

_LONGEST_GROUP = 1 / 8
"""Part of a file's pictures in one group that a file to be divided has at most (a choice): so many
are decoded again where a part begins within it."""

_SNIFFED_BYTES = 1 << 18

_MOST_LATE = 32
"""Segments that wait for a second look, some 9 MB each with four modalities. Where all of a file
must be decoded for it, no more than these have one."""


@dataclass(frozen=True)
class DecodeRequest:
    """What to decode of one file.

    Attributes:
        path: The file.
        frames: Samplings by a name of the caller's choice; empty for no frames.
        audio: Whether to decode the audio.
        segment_seconds: Length of a segment of a long video, in seconds.
        max_pixels: Most pixels per frame (width times height); larger ones are refused.
        max_duration_s: Longest duration in seconds; longer files are refused.
        threads: Threads of the video decoder.
        nvdec: Whether an NVIDIA GPU may decode large pictures; where it cannot, the CPU does.
        audio_track: Number of the audio track, from 1; None for the one that goes with the video.
        part: The part of it that counts.
        still: The demuxer that reads it as a still picture; "" for a video or sound.
        first_segment: Number of the segment with which it begins; the rest is `Opened.divisible`.
        every_picture: Whether all pictures are decoded, also those at which nothing looks. What
            comes out is the same; tests compare the two.
    """

    path: str
    frames: Mapping[str, FrameSampling]
    audio: bool
    segment_seconds: float = SEGMENT_SECONDS
    max_pixels: int = MAX_PIXELS
    max_duration_s: float = MAX_DURATION_S
    threads: int = 1
    nvdec: bool = False
    audio_track: int | None = None
    part: Part = WHOLE
    still: str = ""
    first_segment: int = 0
    every_picture: bool = False


def decode(
    request: DecodeRequest,
    on_progress: Callable[[], None] = lambda: None,
    until: Callable[[], int | None] = lambda: None,
) -> Iterator[Opened | SegmentMedia | Lost]:
    """Decode a file once, segment by segment.

    Args:
        request: What to decode.
        on_progress: Called per packet read, so that a caller can tell slow from stuck.
        until: Asked before each segment for the number of the one before which to end.

    Yields:
        One `Opened`, then the segments in order, those whose windows show nothing (black, a fade)
        though other parts of them do later than others, then one `Lost`.

    Raises:
        MediaError: One sentence on why nothing, or nothing more, can be decoded; an
            `UnreachableError` where the content of the file is not the cause.
    """
    path = os.path.abspath(request.path)
    check_file(path)
    # A GPU's decoder is another one, and a part begins where its first picture is. What a
    # decoder complains of is heard in its own thread only.
    selective = not (request.every_picture or request.nvdec or request.part.start_s)
    selective = selective and bool(request.frames) and request.threads == 1
    whole = scan(path, request.max_pixels, on_progress, request.audio_track, selective)
    if not whole.packets:
        raise MediaError(_nothing(path, "it holds no frame and no sound (empty, or cut short)"))
    if not whole.duration_s <= request.max_duration_s:
        raise MediaError(
            f"too long: {whole.duration_s / 3600:.1f} hours by its timestamps, "
            f"over the limit of {request.max_duration_s / 3600:g}"
        )
    given: set[int | None] = set()
    try:
        for event in _decode(path, request, whole, on_progress, until):
            given.add(_about(event))
            yield event
        return
    except UnplannedError:
        pass  # and its decoder is freed before the next begins
    # Up to there all was as planned, so that what was given is what the whole gives.
    for event in _decode(path, request, replace(whole, structure=None), on_progress, until):
        if isinstance(event, Lost) or _about(event) not in given:
            yield event


def _about(event: Opened | SegmentMedia | Lost) -> int | None:
    """Return the number of a segment; None of all else."""
    return event.segment.index if isinstance(event, SegmentMedia) else None


def _decode(
    path: str,
    request: DecodeRequest,
    whole: Scan,
    on_progress: Callable[[], None],
    until: Callable[[], int | None],
) -> Iterator[Opened | SegmentMedia | Lost]:
    """Decode a file that was scanned, as `decode` does.

    Raises:
        UnplannedError: Not all pictures were decoded, and something is not as it must be for that.
    """
    skipped = Skipped()
    duration = whole.duration_s
    start_s = request.part.start_s
    found = within(whole, request.part)
    decoded = array("d")
    plan = _plan(whole)

    def open_frames(noted: array[float], wanted_s: Floats) -> ShownReader[Picture]:
        del noted[:]
        region, limit = request.part.region, request.max_pixels
        selection = _selection(whole, plan, wanted_s)
        if selection is not None:
            frames = selected_frames(
                path, whole, selection, limit, request.threads, on_progress, region
            )
        else:
            frames = video_frames(
                path,
                whole,
                limit,
                request.threads,
                skipped,
                on_progress,
                request.nvdec,
                first_picture(whole, start_s),
                region,
            )
        return ShownReader(_noting(frames, noted, start_s))

    segments = cut_segments(found.duration_s - start_s, request.segment_seconds)
    segments = [Segment(s.index, start_s + s.start_s, start_s + s.end_s) for s in segments]
    frames: ShownReader[Picture] | None = None
    picture = found.picture if found.picture is not None and len(found.video_s) else None
    if picture is not None and request.frames:
        asked = segments[request.first_segment :]
        frames = open_frames(decoded, moments(asked, request.frames, picture))
        frames = frames if frames.prime() else None
    sound: AudioReader | None = None
    if found.sound is not None and found.audio is not None and request.audio:
        first = first_sound(found.sound, start_s)
        sound = AudioReader(path, found.audio, found.sound, skipped, on_progress, first)
        sound = sound if sound.prime() else None
    has_video = frames is not None or bool(picture is not None and not request.frames)
    has_audio = sound is not None or (found.audio is not None and not request.audio)
    if not has_video and not has_audio:
        raise MediaError(
            _nothing(path, f"damaged: none of its {found.packets} packets could be decoded")
        )
    divisible = plan is not None and frames is not None and _in_short_groups(whole)
    megapixels = whole.megapixels(len(segments))
    yield Opened(duration, len(segments), has_video, has_audio, divisible, megapixels)

    picture_end = picture.end_s if picture is not None else 0.0
    done, replanned, seen = request.first_segment, False, np.zeros(0)
    if sound is not None:
        for before in segments[:done]:  # how it is mixed depends on what came before
            sound.take(before.start_s, before.end_s)
    late: list[tuple[SegmentMedia, Segment]] = []

    def late_ones() -> Iterator[SegmentMedia]:
        windowed = windows(request.frames)
        again = [sample_times(s, lit) for _, lit in late for s in windowed.values()]
        frames = open_frames(array("d"), np.concatenate(again))
        yield from _looked_at_again(frames, windowed, late)
        late.clear()

    while done < len(segments):
        end = until()
        if end is not None and done >= end:
            break
        segment = segments[done]
        audio = sound.take(segment.start_s, segment.end_s) if sound else None
        pictures: dict[str, ByteArray] = {}
        lit: Segment | None = None
        # A segment without a frame of its own shows the previous one, which is worth a row
        # only if there is audio meanwhile.
        if frames is not None and picture is not None:
            begins = _begins(picture, segment)
            visible = visible_part(picture, picture_end, segment)
            if visible is not None and (begins or audio is not None):
                pictures, lit = pictures_of(frames, request.frames, visible)
                real_end = _real_end(frames, picture)
                if real_end is not None and not replanned and real_end < visible.end_s:
                    # The video ends early. Only damaged files are decoded a second time.
                    replanned, picture_end = True, real_end
                    seen = np.array(decoded)
                    heard_s = found.sound.end_s if found.sound is not None and has_audio else 0.0
                    segments = [
                        *segments[:done],
                        *_cut_rest(segment, max(real_end, heard_s), request.segment_seconds),
                    ]
                    frames = open_frames(decoded, np.zeros(0))
                    continue
                if begins and not _any_within(decoded, segment, picture.period_s):
                    pictures = {}  # nothing that begins here could be decoded
        done += 1
        if pictures and lit is not None and len(late) < _MOST_LATE:
            late.append((SegmentMedia(segment, pictures, audio), lit))
            if len(late) == _MOST_LATE and plan is not None:  # the same, however many give them
                yield from late_ones()
        elif pictures or audio is not None:
            yield SegmentMedia(segment, pictures, audio)
    lost: list[tuple[float, float]] = []
    if frames is None and picture is not None and request.frames:
        lost = [(picture.start_s, picture.end_s)]
    if frames is not None and picture is not None and len(decoded):
        known_s = picture.end_s if frames.exhausted or replanned else decoded[-1]
        lost = picture.lost_s(np.union1d(seen, decoded), known_s)
    sound_s = skipped.sound_s
    if request.audio and found.sound is not None and sound is None and skipped.packets:
        sound_s = max(sound_s, found.sound.end_s - found.sound.start_s)
    if late:
        yield from late_ones()
    left_out = found.unheard if request.audio else ""
    yield Lost(tuple(lost), sound_s, found.breaks_off, found.missing, left_out)


def _any_within(decoded: array[float], segment: Segment, period_s: float) -> bool:
    """Return whether a decoded frame begins in the segment; `decoded` ascends."""
    for time_s in reversed(decoded):
        if time_s < segment.start_s - period_s:
            return False
        if time_s < segment.end_s:
            return True
    return False


def _noting(
    frames: Iterator[tuple[float, Picture]], decoded: array[float], start_s: float
) -> Iterator[tuple[float, Picture]]:
    for time_s, picture in frames:
        shown_s = max(time_s, start_s) if start_s else time_s
        decoded.append(shown_s)
        yield shown_s, picture


def _cut_rest(segment: Segment, end_s: float, segment_seconds: float) -> list[Segment]:
    """Cut the rest of a file, from the start of `segment` to `end_s`; empty if that is earlier."""
    if end_s <= segment.start_s:
        return []
    return [
        Segment(segment.index + s.index, segment.start_s + s.start_s, segment.start_s + s.end_s)
        for s in cut_segments(end_s - segment.start_s, segment_seconds)
    ]


def _nothing(path: str, reason: str) -> str:
    """Return `reason`, unless the file has MP4 boxes of encrypted content."""
    with open_media(path) as file:
        head = file.read(_SNIFFED_BYTES)
        file.seek(max(0, media_size(path) - _SNIFFED_BYTES))
        tail = file.read(_SNIFFED_BYTES)
    if any(box in part for box in (b"encv", b"enca", b"tenc") for part in (head, tail)):
        return "encrypted: its key is not in the file"
    return reason


def _begins(picture: Track, segment: Segment) -> bool:
    """Return whether a frame begins within the segment (or at its end, if it has no length)."""
    first = int(np.searchsorted(picture.shown_s, segment.start_s - 1e-6))
    if first == len(picture.shown_s):
        return False
    begins = float(picture.shown_s[first])
    return begins < segment.end_s or (first == 0 and begins <= segment.end_s)


def _looked_at_again(
    frames: ShownReader[Picture],
    windowed: Mapping[str, FrameSampling],
    late: Iterable[tuple[SegmentMedia, Segment]],
) -> Iterator[SegmentMedia]:
    """Yield segments with their windows moved to the middle of a part that shows something."""
    for media, lit in late:
        times = {name: sample_times(sampling, lit) for name, sampling in windowed.items()}
        yield replace(media, frames=media.frames | frames_at(frames, windowed, times))


def _plan(whole: Scan) -> Selection | None:
    """Return the plan by which pictures may be decoded in part; None where all must be."""
    picture, structure = whole.picture, whole.structure
    if structure is None or picture is None or whole.by_dts or whole.breaks_off:
        return None
    return select(structure, picture.packets_s, picture.shown_s)


def _in_short_groups(whole: Scan) -> bool:
    """Return whether decoding may begin at enough places for a part to cost little more."""
    if whole.structure is None:
        return False
    begins = np.append(np.flatnonzero(whole.structure.begins), len(whole.structure.begins))
    return bool(np.diff(begins).max() <= _LONGEST_GROUP * begins[-1])


def _selection(whole: Scan, plan: Selection | None, wanted_s: Floats) -> Selection | None:
    """Return what is decoded so as to look at pictures; None for everything.

    Args:
        whole: The scan of the file.
        plan: Its plan.
        wanted_s: When they are looked at.
    """
    if plan is None or whole.structure is None or whole.picture is None or not len(wanted_s):
        return None
    return needed(whole.structure, plan, shown_at(whole.picture.shown_s, wanted_s))


def _real_end(frames: ShownReader[Picture], picture: Track) -> float | None:
    """Return when the video ended, if packets timed much later did not decode; else None."""
    if not frames.exhausted or frames.last_s is None:
        return None
    later = picture.shown_s[picture.shown_s > frames.last_s + picture.period_s / 2]
    if len(later) <= _FRAMES_TO_SPARE or later[-1] - frames.last_s < _MISSING_S:
        return None
    return float(later[0])
