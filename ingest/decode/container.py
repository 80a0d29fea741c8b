"""Opening a file safely with PyAV, and its packets."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from dataclasses import dataclass

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.stream import Discard, Stream

from ...schemas.errors import MediaError

# Formats that hold their own content. Playlists (hls, dash, concat), image sequences and
# devices are left out: they make libav open whatever other file or address they name.
_CONTAINERS = (
    "3g2,3gp,aac,ac3,aiff,amr,apng,asf,au,avi,caf,dv,eac3,flac,flv,gif,h263,h264,hevc,ivf,m4v,"
    "matroska,mjpeg,mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,vc1,w64,wav,webm,wv,"
    "yuv4mpegpipe"
)

_RESYNC_BYTES = 1 << 28
"""How much of a transport stream may be no packets before it is given up, where libav takes
64 KiB: less than a second of a hole in a large one. Some two seconds are read meanwhile."""

_OF_THE_DISK = frozenset(
    {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN, errno.ENODEV, errno.ENXIO}
)
"""What says that a file could not be read, and nothing of what is in it."""


@dataclass
class Skipped:
    """What did not decode, over a file.

    Attributes:
        packets: Packets, of picture and sound.
        sound_s: Seconds of sound.
    """

    packets: int = 0
    sound_s: float = 0.0


def open_local(path: str, on: HWAccel | None = None) -> InputContainer:
    """Opens a local file in one of the known container formats.

    Args:
        path: The file.
        on: What decodes its pictures; None for the CPU.

    Raises:
        MediaError: It cannot be read, or is in none of them.
    """
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": _CONTAINERS,
        "resync_size": str(_RESYNC_BYTES),  # of MPEG-TS; others take no notice
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
    except IndexError:
        pass  # PyAV, at the end of a file in which streams began that it does not know
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise MediaError(f"it could not be read to its end ({error.strerror})") from None
        skipped.packets += 1
        if stream is not None:
            yield None


def too_large(width: int, height: int) -> str:
    """Says that a picture is too large."""
    return f"its picture is too large: {width}x{height} pixels"
