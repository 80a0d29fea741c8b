"""Files as answers: an open file in ranges, with what caches and players need to know."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from email.utils import formatdate
from pathlib import Path
from typing import BinaryIO

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.types import Receive, Scope, Send

from ....schemas.errors import LibraryError
from .refusals import refused

TYPES = {
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".mp4": "video/mp4",
    ".m4a": "audio/mp4",
}
"""Media types of what is made, by the suffix of its file."""

_MEDIA_TYPES = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "webm": "video/webm",
    "matroska": "video/x-matroska",
    "avi": "video/x-msvideo",
    "mpegts": "video/mp2t",
    "mpeg": "video/mpeg",
    "asf": "video/x-ms-asf",
    "flv": "video/x-flv",
    "ogg": "video/ogg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "apng": "image/apng",
    "webp": "image/webp",
    "gif": "image/gif",
    "bmp": "image/bmp",
    "avif": "image/avif",
    "tiff": "image/tiff",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "aac": "audio/aac",
    "aiff": "audio/aiff",
}
"""Media types of containers, as `Description` names them."""

_SOUND_TYPES = {
    "mp4": "audio/mp4",
    "webm": "audio/webm",
    "matroska": "audio/x-matroska",
    "ogg": "audio/ogg",
}
"""Of those that hold sound alone."""

_ANY_TYPE = "application/octet-stream"

_RANGES = re.compile(r"bytes\s*=\s*(\d{0,18}-\d{0,18}(?:\s*,\s*\d{0,18}-\d{0,18}){0,9})\s*")
"""A Range header of up to ten ranges; players ask for one."""

_KEPT = "private, max-age=300"
_ASKED = "private, no-cache"
"""What is made may be shown for five minutes before a browser asks again; the file itself is asked
for each time, which costs nothing where it has not changed."""


def media_type(kind: str, container: str) -> str:
    """Return the media type of a file by what it holds, whatever its name is."""
    found = _MEDIA_TYPES.get(container, _ANY_TYPE)
    return _SOUND_TYPES.get(container, found) if kind == "sound" else found


def send_made(request: Request, file: BinaryIO, suffix: str) -> Response:
    """Return the answer that sends what was made; it closes `file`."""
    return _sent(request, file, TYPES[suffix], _KEPT)


def send_media(request: Request, path: Path, name: str, type_: str) -> Response:
    """Return the answer that sends a file as it is.

    Args:
        request: What is answered.
        path: Its real path, without links.
        name: Its name for who saves it.
        type_: Its media type.

    Raises:
        LibraryError: It is gone, or a link is in its place or that of a folder.
    """
    return _sent(request, open_real(path), type_, _ASKED, name)


def open_real(path: Path) -> BinaryIO:
    """Open a file whose path has no links, and check that none has led elsewhere meanwhile.

    Raises:
        LibraryError: It is gone, or another file.
    """
    gone = f"{path.name} is gone; put it back, or ingest its folder again."
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise LibraryError(gone) from error
    file = open(handle, "rb")  # noqa: SIM115
    regular = stat.S_ISREG(os.fstat(handle).st_mode)
    if not regular or os.readlink(f"/proc/self/fd/{handle}") != str(path):
        file.close()
        raise LibraryError(gone)
    return file


def _sent(
    request: Request, file: BinaryIO, type_: str, caching: str, name: str | None = None
) -> Response:
    status = os.fstat(file.fileno())
    state = f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
    tag = f'"{hashlib.blake2b(state.encode(), digest_size=12).hexdigest()}"'
    headers = {
        "ETag": tag,
        "Last-Modified": formatdate(status.st_mtime, usegmt=True),
        "Cache-Control": caching,
    }
    if _is_known(request.headers.get("if-none-match", ""), tag):
        file.close()
        return Response(status_code=304, headers=headers)
    asked = request.headers.get("range", "")
    if asked and not _is_range(asked, status.st_size):
        file.close()
        there = f"The file has {status.st_size} bytes; ask for some of these."
        answer = refused("RequestError", there, 416)
        answer.headers["Content-Range"] = f"bytes */{status.st_size}"
        return answer
    return _OpenFileResponse(file, status, headers, type_, name)


def _is_known(tags: str, tag: str) -> bool:
    return tags.strip() == "*" or tag in [t.strip().removeprefix("W/") for t in tags.split(",")]


def _is_range(asked: str, size: int) -> bool:
    """Return whether each range that a header asks for lies, in part at least, within a file."""
    found = _RANGES.fullmatch(asked)
    if found is None:
        return False
    for each in found[1].split(","):
        first, _, last = (part.strip() for part in each.partition("-"))
        begins = int(first) if first else size - int(last or 0)
        if begins >= size or (first and last and int(last) < begins):
            return False
    return True


class _OpenFileResponse(FileResponse):
    """Sends a file that is open already, whatever has happened to its path since."""

    def __init__(
        self,
        file: BinaryIO,
        status: os.stat_result,
        headers: dict[str, str],
        type_: str,
        name: str | None,
    ) -> None:
        super().__init__(
            f"/proc/self/fd/{file.fileno()}",
            headers=headers,
            media_type=type_,
            filename=name,
            stat_result=status,
            content_disposition_type="inline",
        )
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or parts of it, and close it."""
        with self._file:
            await super().__call__(scope, receive, send)
