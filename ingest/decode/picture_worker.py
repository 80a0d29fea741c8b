"""The child process that looks into files: frames at given times, for people to see.

It seeks to each time and decodes from the key frame before it. Times count from the earliest
stream's start as the container states it: of a file whose clock jumps (`timeline`) a frame may be
that of another moment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import cast

import av
import av.logging
import cv2
from av.container import InputContainer
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import VideoReformatter

from ...schemas.embedding import ByteArray
from ...schemas.errors import MediaError
from ..discover.stills import still_format_of
from ..system.channel import Channel
from .codecs import decoded, refusal
from .container import (
    Skipped,
    UnreachableError,
    check_file,
    open_local,
    packets,
    too_large,
)
from .media_file import given, open_media
from .picture import Picture
from .pixel_aspect import PixelAspect
from .scan import usable
from .segments import MAX_PIXELS
from .still import read_still

_EARLIER_S = (0.0, 2.0, 20.0)
"""How long before the wanted time to seek to, where the frame found there begins later: transport
streams are found to about a second (a choice)."""

_GO_ON_S = 4.0
"""A time so little after the last one is reached by decoding on, not by seeking (a choice)."""

_SAME_S = 1e-3
"""A frame that begins this little after the wanted time is on the screen then."""


def main(channel: Channel) -> None:
    """Answer each ``look`` with a ``picture`` per time that shows one, then ``done``."""
    av.logging.set_level(av.logging.PANIC)
    cv2.setNumThreads(1)
    while True:
        message = channel.receive()
        fields = message.fields
        try:
            with given(message):
                found = look(fields["path"], fields["times_s"], fields["size"], channel.heartbeat())
                for number, rgb in found:
                    channel.send("picture", {"number": number}, {"rgb": rgb})
            channel.send("done")
        except MediaError as error:
            channel.send("failed", {"reason": str(error)})
        except MemoryError:
            reason = "decoding it takes more memory than is allowed"
            channel.send("failed", {"reason": reason})


def look(
    path: str,
    times_s: Sequence[float],
    size: int,
    on_progress: Callable[[], None] = lambda: None,
    roughly: bool = False,
) -> Iterator[tuple[int, ByteArray]]:
    """Yield the frames on the screen at given times.

    Args:
        path: The file: a video, or a still picture, which is on the screen at all times.
        times_s: Seconds from its start.
        size: Pixels of a picture's longer side.
        on_progress: Called per packet.
        roughly: Whether a key frame near each time will do, which costs one frame's decoding.

    Yields:
        The number of the time, and (h, w, 3) uint8 RGB, upright; none where nothing decodes.

    Raises:
        MediaError: It is no video or picture, or its frames are too large.
    """
    path = os.path.abspath(path)
    check_file(path)
    if demuxer := checked_still_format(path):
        rgb = read_still(path, demuxer, on_progress)[0].upright(size)
        yield from ((number, rgb) for number in range(len(times_s)))
        return
    with open_local(path) as container:
        streams = usable(container, "video")
        videos = decoded(streams)
        if not videos:
            raise MediaError(refusal(streams[0]) if streams else "it has no picture")
        screen = Screen(container, videos[0], on_progress)
        start_s = (container.start_time or 0) / av.time_base
        for number, time_s in enumerate(times_s):
            at_s = start_s + time_s
            picture = screen.near(at_s) if roughly else screen.at(at_s)
            if picture is not None:
                yield number, picture.upright(size)


def checked_still_format(path: str) -> str:
    """Return `still_format`.

    Raises:
        UnreachableError: The file cannot be read.
    """
    try:
        with open_media(path) as file:
            return still_format_of(file, Path(path).suffix)
    except OSError as error:
        raise UnreachableError(f"the file cannot be read ({error.strerror})") from None


class Screen:
    """What is on the screen at given times, of one video stream."""

    def __init__(
        self, container: InputContainer, stream: Stream, on_progress: Callable[[], None]
    ) -> None:
        """Prepare to decode `stream`.

        Raises:
            MediaError: Its frames are too large.
        """
        context = cast(VideoCodecContext, stream.codec_context)
        if context.width * context.height > MAX_PIXELS:
            raise MediaError(too_large(context.width, context.height))
        context.thread_count = 1
        context.thread_type = "NONE"
        context.options = {"max_pixels": str(MAX_PIXELS)}
        self._container = container
        self._stream = stream
        self._on_progress = on_progress
        self._frames: Iterator[tuple[float, Picture]] = iter(())
        self._shown: tuple[float, Picture] | None = None
        self._next: tuple[float, Picture] | None = None

    def at(self, at_s: float) -> Picture | None:
        """Return the frame at a time of the container, or the nearest; None where none decodes."""
        if self._shown is not None and 0 <= at_s - self._shown[0] < _GO_ON_S:
            return self._until(at_s)
        later: Picture | None = None
        for earlier_s in _EARLIER_S:
            self._seek(at_s - earlier_s)
            if (shown := self._until(at_s)) is not None:
                return shown
            if later is None and self._next is not None:
                later = self._next[1]
        return later

    def near(self, at_s: float) -> Picture | None:
        """Return the key frame before a time, or the first that decodes; None without one."""
        self._seek(at_s)
        self._next = next(self._frames, None)
        return None if self._next is None else self._next[1]

    def _seek(self, to_s: float) -> None:
        with suppress(av.FFmpegError, OSError):  # a raw stream is read from where it is
            self._container.seek(max(0, round(to_s * av.time_base)))
        self._frames = _frames(self._container, self._stream, self._on_progress)
        self._shown = self._next = None

    def _until(self, at_s: float) -> Picture | None:
        while True:
            self._next = self._next or next(self._frames, None)
            if self._next is None or self._next[0] > at_s + _SAME_S:
                return None if self._shown is None else self._shown[1]
            self._shown, self._next = self._next, None


def _frames(
    container: InputContainer, stream: Stream, on_progress: Callable[[], None]
) -> Iterator[tuple[float, Picture]]:
    """Yield (seconds on the container's clock, frame) pairs from where it stands."""
    reformatter, aspect = VideoReformatter(), PixelAspect(stream)
    context = cast(VideoCodecContext, stream.codec_context)
    period_s = 1 / float(getattr(stream, "average_rate", None) or 25)
    time_s = -period_s
    for packet in packets(container, stream.index, Skipped()):
        on_progress()
        try:
            frames = context.decode(packet)
        except (av.FFmpegError, ValueError):
            continue
        for frame in frames:
            if frame.width * frame.height > MAX_PIXELS:
                raise MediaError(too_large(frame.width, frame.height))
            time_s = time_s + period_s if frame.time is None else frame.time
            yield time_s, Picture(frame, aspect.now(), reformatter)
