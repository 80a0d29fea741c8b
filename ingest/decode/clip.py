"""Encode a stretch of a file for a browser: H.264 and AAC in MP4, upright, on one clock.

Runs in a child process only (`viewer_worker`), as the file may be hostile. Frames and sound come
from where ingest has them (`video_frames`, `AudioReader`), so what is played is what was embedded.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.container import OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from ...schemas.errors import MediaError
from ...schemas.part import Part
from .audio import AudioReader, Stereo
from .container import Skipped, check_file
from .part import first_picture, first_sound, within
from .picture import Picture
from .rgb import resize
from .scan import Scan, scan
from .segments import MAX_PIXELS
from .video import video_frames

MOST_S = 60.0
"""Seconds of a clip (a choice: a result is a stretch of seconds)."""

MOST_HIGH, MOST_WIDE = 480, 1280
"""Pixels of a clip's picture, at most."""

_LEAST_S = 1 / 30.5
"""Seconds from one frame to the next, at least; of 50 or 60 per second every second one is kept.
With leeway for stamps in milliseconds."""

_REPEATED_S = 1.0
"""After these seconds a picture that stays is there again, as players seek to frames."""

_KEY_FRAMES = 30
"""Frames from one that decodes alone to the next: a second's."""

_TICKS = 90_000
"""Ticks per second of the clip's pictures, as MPEG has them."""

_RATE = 48_000
_BITS = 128_000
"""Samples and bits per second of the clip's sound (choices)."""

_SOUND_S = 0.25
"""Seconds of sound that are encoded at a time, beside the pictures of that time."""

_X264 = {"preset": "superfast", "crf": "27", "bf": "0"}
"""Of x264. Without B-frames the stamps are the order of the frames, whatever plays it."""

_BT709 = 1
_LIMITED = 1


@dataclass(frozen=True)
class Encoded:
    """What a clip has become.

    Attributes:
        start_s: Where it begins in its file.
        end_s: Where it ends, not after the file does.
        picture: Whether it has a picture.
        sound: Whether it has a sound.
    """

    start_s: float
    end_s: float
    picture: bool
    sound: bool


def encode_clip(
    path: str,
    start_s: float,
    end_s: float,
    target: str,
    on_progress: Callable[[], None] = lambda: None,
) -> Encoded:
    """Encode what is shown and heard from `start_s` to `end_s` as MP4 that plays while it loads.

    Args:
        path: The file.
        start_s: Seconds from its start.
        end_s: Where the clip ends, at most `MOST_S` later.
        target: The file to write, or the name of an open one in ``/proc/self/fd``.
        on_progress: Called per packet that is read.

    Raises:
        MediaError: Nothing of that stretch decodes, or it begins after the end.
        OSError: `target` cannot be written, as where it would exceed the process's limit.
    """
    path = os.path.abspath(path)
    check_file(path)
    whole = scan(path, MAX_PIXELS, on_progress)
    if not whole.packets:
        raise MediaError("it holds no frame and no sound (empty, or cut short)")
    part = Part(start_s, min(end_s, start_s + MOST_S))
    found = within(whole, part)
    end_s = min(part.end_s or end_s, found.duration_s)
    frames = _shown(_frames(path, whole, start_s, on_progress), start_s, end_s)
    sound = _sound(path, found, on_progress, start_s)
    first = next(frames, None)
    if first is None and sound is None:
        raise MediaError(f"nothing of it decodes from {start_s:.1f} to {end_s:.1f} s")
    with av.open(target, "w", format="mp4", options={"movflags": "faststart"}) as output:
        video = None if first is None else _Video(output, first[1])
        audio = None if sound is None else _Sound(output, sound, start_s, end_s)
        for time_s, picture in chain([] if first is None else [first], frames):
            if video is not None:
                video.add(time_s - start_s, picture)
            if audio is not None:
                audio.add_until(time_s)
        if video is not None:
            video.end(end_s - start_s)
        if audio is not None:
            audio.end()
    return Encoded(start_s, end_s, picture=video is not None, sound=audio is not None)


def _frames(
    path: str, whole: Scan, start_s: float, on_progress: Callable[[], None]
) -> Iterator[tuple[float, Picture]]:
    """Yield the frames from the key one before `start_s` on, so that what ended before stays."""
    first = first_picture(whole, start_s)
    return video_frames(path, whole, MAX_PIXELS, 1, Skipped(), on_progress, first=first)


def _sound(
    path: str, found: Scan, on_progress: Callable[[], None], start_s: float
) -> AudioReader | None:
    """Return a reader of a part's sound; None where it has none."""
    if found.audio is None or found.sound is None or not len(found.sound.shown_s):
        return None
    first = first_sound(found.sound, start_s)
    reader = AudioReader(
        path, found.audio, found.sound, Skipped(), on_progress, first, _RATE, Stereo
    )
    return reader if reader.prime() else None


def _shown(
    frames: Iterable[tuple[float, Picture]], start_s: float, end_s: float
) -> Iterator[tuple[float, Picture]]:
    """Yield what is on the screen from `start_s` to `end_s`, not too often and not too seldom.

    The frame before `start_s` begins with it, and so does the first one where all begin later.
    """
    shown: tuple[float, Picture] | None = None
    soon: Picture | None = None  # after it, and left out unless it stays
    began_s = 0.0
    for time_s, picture in frames:
        if shown is None or time_s <= start_s:
            shown, began_s = (start_s, picture), time_s
            continue
        if time_s >= end_s:
            break
        if time_s - began_s < _LEAST_S:
            soon = picture
            continue
        if soon is not None and time_s - began_s >= 2 * _LEAST_S:
            yield shown
            shown = max(start_s, began_s) + _LEAST_S, soon
        yield from _repeated(shown, time_s)
        shown, soon, began_s = (time_s, picture), None, time_s
    if shown is not None:
        yield from _repeated(shown, end_s)


def _repeated(shown: tuple[float, Picture], until_s: float) -> Iterator[tuple[float, Picture]]:
    time_s, picture = shown
    yield shown
    for number in range(1, math.ceil((until_s - time_s) / _REPEATED_S)):
        yield time_s + number * _REPEATED_S, picture


class _Video:
    """The picture of a clip."""

    def __init__(self, output: OutputContainer, first: Picture) -> None:
        """Add it to `output`, in the shape of the `first` frame."""
        width, height = first.upright_size()
        scale = min(1.0, MOST_HIGH / height, MOST_WIDE / width)
        self._width, self._height = (
            max(2, round(side * scale / 2) * 2) for side in (width, height)
        )
        self._stream = output.add_stream("libx264", rate=30, options=_X264)
        context = self._stream.codec_context
        context.width, context.height, context.pix_fmt = self._width, self._height, "yuv420p"
        context.time_base = self._stream.time_base = Fraction(1, _TICKS)
        context.gop_size = _KEY_FRAMES
        context.thread_count = 1
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        self._output = output
        self._reformatter = VideoReformatter()
        self._waiting: VideoFrame | None = None
        self._lasts: deque[int] = deque()

    def add(self, time_s: float, picture: Picture) -> None:
        """Show a frame from a time of the clip on, later than that of the last one."""
        rgb = picture.upright(max(self._width, self._height))
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(resize(rgb, self._height, self._width), "rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        frame.pts, frame.time_base = round(time_s * _TICKS), Fraction(1, _TICKS)
        frame.colorspace = _BT709
        self._encode(frame.pts)
        self._waiting = frame

    def end(self, time_s: float) -> None:
        """Show the last frame until a time of the clip, and write what is left."""
        self._encode(round(time_s * _TICKS))
        self._write(self._stream.encode(None))

    def _encode(self, until: int) -> None:
        if self._waiting is not None and self._waiting.pts is not None:
            self._lasts.append(max(1, until - self._waiting.pts))
            self._write(self._stream.encode(self._waiting))

    def _write(self, packets: Iterable[Packet[VideoStream]]) -> None:
        for packet in packets:
            packet.duration = self._lasts.popleft()  # which x264 does not tell
            self._output.mux(packet)


class _Sound:
    """The sound of a clip, as long as the clip."""

    def __init__(
        self, output: OutputContainer, reader: AudioReader, start_s: float, end_s: float
    ) -> None:
        """Add what `reader` has from `start_s` to `end_s` to `output`."""
        self._stream = output.add_stream(
            "aac", rate=_RATE, layout="stereo", options={"aac_coder": "fast"}
        )
        self._stream.codec_context.bit_rate = _BITS
        self._output = output
        self._reader = reader
        self._start_s, self._done_s, self._end_s = start_s, start_s, end_s

    def add_until(self, time_s: float) -> None:
        """Write what is heard until about a time of the file."""
        while self._done_s + _SOUND_S <= min(time_s, self._end_s):
            self._add(self._done_s + _SOUND_S)

    def end(self) -> None:
        """Write the rest."""
        self.add_until(self._end_s)
        self._add(self._end_s)
        self._output.mux(self._stream.encode(None))

    def _add(self, until_s: float) -> None:
        first, end = (round(at_s * _RATE) for at_s in (self._done_s, until_s))
        if end <= first:
            return
        samples = np.zeros((2, end - first), np.float32)
        heard = self._reader.take(self._done_s, until_s)
        if heard is not None:
            samples[:, : heard.shape[1]] = heard
        frame = AudioFrame.from_ndarray(samples, "fltp", "stereo")
        frame.sample_rate, frame.time_base = _RATE, Fraction(1, _RATE)
        frame.pts = first - round(self._start_s * _RATE)
        self._output.mux(self._stream.encode(frame))
        self._done_s = until_s
