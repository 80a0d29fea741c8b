"""Open a file safely with PyAV, and read its packets."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Discard, Stream

from ...schemas.errors import MediaError

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

_OF_THE_DISK = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ENODEV, errno.ENXIO}
)
"""Errors of the disk or network, which tell nothing about the file's content."""


@dataclass
class Skipped:
    """Counts of what did not decode in a file.

    Attributes:
        packets: Video and audio packets.
        sound_s: Seconds of audio.
    """

    packets: int = 0
    sound_s: float = 0.0


def open_local(path: str, on: HWAccel | None = None) -> InputContainer:
    """Open a local file in one of the supported container formats.

    Args:
        path: The file.
        on: The hardware that decodes its video; None for the CPU.

    Raises:
        MediaError: It cannot be read, or has another format.
    """
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _CONTAINERS,
        "resync_size": str(_RESYNC_BYTES),  # for MPEG-TS; other demuxers ignore it
    }
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
    """Yield the packets of one stream (None: of all) up to the end or the first unreadable one.

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
    except IndexError:
        pass  # PyAV raises it at the end of a file in which streams began that it does not know
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise MediaError(f"it could not be read to its end ({error.strerror})") from None
        skipped.packets += 1
        if stream is not None:
            yield None


def too_large(width: int, height: int) -> str:
    """Return the error message for a picture that is too large."""
    return f"its picture is too large: {width}x{height} pixels"
