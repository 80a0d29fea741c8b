"""Open a file safely with PyAV, and read its packets."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Discard, Stream

from ...schemas.errors import MediaError
from .codecs import decoders
from .complaints import complaints
from .media_file import media_file, media_size, open_media

# Self-contained formats. Playlists (hls, dash, concat), image sequences and devices are left
# out: they make libav open any file or address that they name.
_CONTAINERS = (
    "3g2,3gp,aac,ac3,aiff,amr,apng,asf,au,avi,caf,dv,eac3,flac,flv,gif,h263,h264,hevc,ivf,m4v,"
    "matroska,mjpeg,mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,vc1,w64,wav,webm,wv,"
    "yuv4mpegpipe"
)

_RESYNC_BYTES = 1 << 28
"""Bytes without a packet after which demuxing a transport stream fails. libav's default of 64 KiB
is less than a second of a hole in a large stream; to read this many takes some two seconds."""

_END_BYTES = 1 << 24

_MOST_STREAMS = 1000
"""libav's default, and more than all the programmes of a satellite's transponder have."""

_OF_THE_DISK = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ENODEV, errno.ENXIO}
)
"""Errors of the disk or network, which tell nothing about the file's content."""


class UnreachableError(MediaError):
    """A file could not be read; its content is not the cause."""


@dataclass
class Skipped:
    """Counts of what did not decode in a file.

    Attributes:
        packets: Video and audio packets.
        sound_s: Seconds of audio.
    """

    packets: int = 0
    sound_s: float = 0.0


def check_file(path: str) -> None:
    """Raise MediaError where a file is empty, UnreachableError where it cannot be read."""
    try:
        if media_file(path) is None and not os.path.isfile(path):
            there = os.path.exists(path)
            raise UnreachableError("not a file" if there else "the file is not there")
        if media_size(path) == 0:
            raise MediaError("empty file")
    except FileNotFoundError:
        raise UnreachableError("the file is not there") from None
    except OSError as error:
        raise _unreachable(error) from None


def open_local(path: str, on: HWAccel | None = None, still: str = "") -> InputContainer:
    """Open a local file in one of the supported container formats.

    Args:
        path: The file.
        on: The hardware that decodes its video; None for the CPU.
        still: The demuxer that reads it as a still picture; "" for a video or sound.

    Raises:
        MediaError: It has another format.
        UnreachableError: It cannot be read.
    """
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": still or _CONTAINERS,
        "codec_whitelist": decoders(),
        "max_streams": str(_MOST_STREAMS),
        "resync_size": str(_RESYNC_BYTES),  # for MPEG-TS; other demuxers ignore it
    }
    for first in (True, False):
        try:
            source = media_file(path) or f"file:{path}"
            return av.open(source, "r", format=still or None, options=options, hwaccel=on)
        except MemoryError:
            with complaints() as said, suppress(MemoryError):  # libav calls both the same
                av.open(media_file(path) or f"file:{path}", "r", options=options).close()
            if any("max_streams" in complaint for complaint in said):
                raise MediaError(f"it has more than {_MOST_STREAMS:,} streams") from None
            raise
        except OSError:  # some demuxers say so of wrong content, of a cut Matroska file for one
            if first:
                _check_readable(path)
        except (av.FFmpegError, ValueError):
            break
    kind = "picture" if still else "video"
    raise MediaError(f"not a {kind}: it is in no format that vidsim reads")


def _check_readable(path: str) -> None:
    """Read the ends of a file, as those who open a container do.

    Raises:
        UnreachableError: It cannot be read.
    """
    try:
        with open_media(path) as file:
            file.read(_END_BYTES)
            file.seek(max(0, media_size(path) - _END_BYTES))
            file.read(_END_BYTES)
    except OSError as error:
        raise _unreachable(error) from None


def _unreachable(error: OSError) -> UnreachableError:
    """Return what an error of the disk is told as."""
    if isinstance(error, FileNotFoundError):
        return UnreachableError("the file is not there any more")
    if isinstance(error, PermissionError):
        return UnreachableError("the file may not be read (permission denied)")
    return UnreachableError(f"the file cannot be read ({error.strerror})")


def packets(
    container: InputContainer, stream: int | None, skipped: Skipped
) -> Iterator[av.Packet[Stream] | None]:
    """Yield the packets of one stream (None: of all) up to the end or the first unreadable one.

    The last of a stream is empty, or None after an unreadable one: it flushes the decoder.

    Raises:
        UnreachableError: The disk or network failed, not the file.
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
    except IndexError:
        pass  # PyAV raises it at the end of a file in which streams began that it does not know
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            reason = f"it could not be read to its end ({error.strerror})"
            raise UnreachableError(reason) from None
        skipped.packets += 1
        if stream is not None:
            yield None


def too_large(width: int, height: int) -> str:
    """Return the error message for a picture that is too large."""
    return f"its picture is too large: {width}x{height} pixels"
