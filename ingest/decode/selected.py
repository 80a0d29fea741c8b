"""Decode those packets of a video alone without which its wanted pictures could not be decoded.

What comes out is what the decoder of all packets gives, with the pictures that nobody looks at
left undecoded. Whatever is not as planned ends it: then the whole video must be decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.stream import Stream
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from ...schemas.embedding import ByteArray
from ...schemas.modality import FrameSampling
from ...schemas.part import Region
from .complaints import complaints
from .container import Skipped, packets
from .picture import Picture
from .pixel_aspect import PixelAspect
from .scan import Scan
from .selection import Selection
from .video import open_to_decode, prepared


class UnplannedError(Exception):
    """Something came that was not planned for, or a picture is looked at that was not decoded."""


class _Undecoded(Picture):
    """Stands for a picture that nobody looks at."""

    def __init__(self) -> None:
        pass

    def fitted(self, sampling: FrameSampling) -> ByteArray:  # noqa: ARG002 (as in Picture)
        raise UnplannedError


def selected_frames(
    path: str,
    found: Scan,
    selection: Selection,
    max_pixels: int,
    threads: int,
    on_progress: Callable[[], None],
    region: Region | None = None,
) -> Iterator[tuple[float, Picture]]:
    """Decode the selected packets of a video once, in the order in which they are shown.

    Args:
        path: The file.
        found: Its scan.
        selection: What to decode of it.
        max_pixels: Most pixels per frame.
        threads: Threads of the decoder.
        on_progress: Called per packet.
        region: The part of each picture that counts; None for all of it.

    Yields:
        (seconds on the clock of the file, frame) for every packet, selected or not.

    Raises:
        UnplannedError: Anything was not as the scan says, or did not decode.
    """
    if found.video is None:
        return
    times = selection.times_s
    rank = np.empty(len(selection.order), np.int64)
    rank[selection.order] = np.arange(len(rank))
    # Places of the selected pictures, and the end; nothing is known of one until it is decoded.
    coming = iter([*np.flatnonzero(selection.chosen[selection.order]).tolist(), len(rank)])
    undecoded = _Undecoded()
    reformatter = VideoReformatter()
    following = next(coming)
    if following:
        raise UnplannedError  # whether anything decodes must be seen by the first picture
    with open_to_decode(path, found.video, False) as container:
        stream = container.streams[found.video]
        aspect = PixelAspect(stream)
        # With this, a decoder tells of damage instead of hiding it.
        context = prepared(stream, threads, max_pixels, err_detect="explode")
        for frames in _decoded(container, found.video, context, selection, on_progress):
            for frame in frames:
                place = _place(frame, rank)
                if place != following:
                    raise UnplannedError
                yield float(times[place]), Picture(frame, aspect.now(), reformatter, region)
                following = next(coming)
                for skipped in range(place + 1, following):
                    yield float(times[skipped]), undecoded
        if following != len(rank):
            raise UnplannedError


def _decoded(
    container: InputContainer,
    video: int,
    context: VideoCodecContext,
    selection: Selection,
    on_progress: Callable[[], None],
) -> Iterator[Iterable[VideoFrame]]:
    """Yield the pictures that come out as each selected packet goes in."""
    skipped = Skipped()
    number = -1
    count = len(selection.sizes)
    for packet in packets(container, video, skipped):
        on_progress()
        if packet is None:
            raise UnplannedError
        if packet.size:
            number += 1
            if number >= count or packet.size != selection.sizes[number]:
                raise UnplannedError  # the file has changed
            if not selection.chosen[number]:
                continue
            packet.opaque = (number,)
        elif number + 1 != count:
            raise UnplannedError
        yield _given(context, packet)


def _given(context: VideoCodecContext, packet: av.Packet[Stream]) -> list[VideoFrame]:
    """Return the pictures that come out as a packet goes in."""
    try:
        with complaints() as heard:
            frames = list(context.decode(packet))
    except (av.FFmpegError, ValueError):
        raise UnplannedError from None
    if heard:
        raise UnplannedError
    return frames


def _place(frame: VideoFrame, rank: npt.NDArray[np.int64]) -> int:
    """Return the place of a picture among all that are shown."""
    told = frame.opaque
    if frame.is_corrupt or not isinstance(told, tuple) or len(told) != 1:
        raise UnplannedError
    return int(rank[told[0]])
