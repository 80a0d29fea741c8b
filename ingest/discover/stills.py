"""Detection of still pictures by their content: a query may be one, a library holds none."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from .media_types import SUFFIXES

_PNG = b"\x89PNG\r\n\x1a\n"
_HEAD_BYTES = 64


def still_format(path: Path) -> str:
    """Return the libav demuxer for a file that holds one still picture; "" for any other file.

    Animations, which are videos, are none: a PNG with an ``acTL`` chunk (W3C, PNG 3rd edition,
    11.3.3), a GIF of several pictures, AVIF sequences. A file of JPEG pictures whose name says
    that it is a video (``.mjpeg``) is one.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return still_format_of(file, path.suffix)


def still_format_of(file: BinaryIO, suffix: str) -> str:
    """Return the same of an open file, the end of whose name is `suffix`.

    Raises:
        OSError: It cannot be read.
    """
    head = file.read(_HEAD_BYTES)
    if head[:3] == b"\xff\xd8\xff":
        return "" if suffix.lower() in SUFFIXES else "jpeg_pipe"
    if head.startswith(_PNG):
        return "" if _is_animated_png(file) else "png_pipe"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp_pipe"
    if head[:2] == b"BM" and head[6:10] == bytes(4):  # the reserved fields of its header
        return "bmp_pipe"
    if head[:4] in (b"II*\0", b"MM\0*"):
        return "tiff_pipe"
    if head[4:12] == b"ftypavif":
        return "mov"
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif" if _has_one_picture(file) else ""
    return ""


def _is_animated_png(file: BinaryIO) -> bool:
    """Return whether ``acTL`` comes before the first data, as it must."""
    file.seek(len(_PNG))
    while len(chunk := file.read(8)) == 8 and chunk[4:] not in (b"IDAT", b"IEND"):
        if chunk[4:] == b"acTL":
            return True
        file.seek(int.from_bytes(chunk[:4]) + 4, 1)  # a checksum follows the content
    return False


def _has_one_picture(file: BinaryIO) -> bool:
    """Return whether a GIF has no second picture (GIF89a specification, 18 to 26)."""
    file.seek(10)
    flags = file.read(3)[:1]
    _skip_colors(file, flags)
    pictures = 0
    while (kind := file.read(1)) in (b"\x2c", b"\x21"):  # a picture, an extension
        if kind == b"\x2c":
            pictures += 1
            if pictures > 1:
                return False
            _skip_colors(file, file.read(9)[8:])
        file.read(1)  # the size of a code, or the extension's label
        while (size := file.read(1)) not in (b"", b"\0"):
            file.seek(size[0], 1)
    return pictures == 1


def _skip_colors(file: BinaryIO, flags: bytes) -> None:
    """Skip the table of colours, if the flags of a screen or picture say that there is one."""
    if flags and flags[0] & 0x80:
        file.seek(3 * 2 ** ((flags[0] & 7) + 1), 1)
