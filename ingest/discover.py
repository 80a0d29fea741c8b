"""Finds the media files of a folder and gives each its id, label and fingerprint."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from ..schemas.collections import MAX_ID_LENGTH
from ..schemas.errors import LibraryError, MediaError
from ..schemas.video import Video

_VIDEO = "3g2 3gp asf avi divx flv gif m2ts m4v mjpeg mkv mov mp4 mpeg mpg mts mxf ogv ts vob"
_SOUND = "aac aiff flac m4a mp3 oga ogg opus wav wma"
SUFFIXES = frozenset(f".{name}" for name in f"{_VIDEO} webm wmv {_SOUND}".split())
"""Files with these endings are tried; what they are is decided by their content."""


def find_media(folder: Path) -> list[Path]:
    """Media files under `folder` (or `folder` itself, if it is one), sorted.

    Hidden files and folders are passed over; links to folders are not followed.

    Raises:
        LibraryError: No such folder, or no media file in it.
    """
    if not folder.exists():
        raise LibraryError(f"There is no {folder}; give the folder that holds the videos.")
    if folder.is_file():
        return [folder]
    found = sorted(_walk(folder))
    if not found:
        kinds = "mp4, mkv, avi, mov, webm, gif, wav, mp3, ..."
        raise LibraryError(f"{folder} holds no video or sound file ({kinds}).")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in files:
            suffix = Path(name).suffix.lower()
            if not name.startswith(".") and suffix in SUFFIXES:
                yield Path(parent, name)


def library_name(folder: Path, asked: str | None) -> str:
    """The library's name: what was asked for, or the folder's own name.

    Raises:
        LibraryError: A name that is empty or holds a slash, which ids could not carry.
    """
    root = folder if folder.is_dir() else folder.parent
    name = root.resolve().name if asked is None else asked
    if not name or "/" in name or name.startswith("."):
        raise LibraryError(
            f"{name!r} cannot be a library's name; give one without slashes with --library."
        )
    return name


def fingerprint(path: Path) -> str:
    """BLAKE2b hash of a file's content, 32 hex digits.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def describe(path: Path, root: Path, library: str, known: Video | None = None) -> Video:
    """The video at `path`; its content is hashed only if size or time differ from `known`.

    Raises:
        MediaError: The file cannot be read, is empty, or its name is no valid text.
    """
    try:
        stat = path.stat()
        unchanged = known and (known.size, known.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
        content = known.fingerprint if known and unchanged else fingerprint(path)
    except OSError as error:
        raise MediaError(f"It cannot be read: {error.strerror or error}.") from error
    if stat.st_size == 0:
        raise MediaError("It is an empty file.")
    relative = path.relative_to(root)
    video_id = f"{library}/{relative.as_posix()}"
    check_id(video_id)
    return Video(
        video_id=video_id,
        library=library,
        path=str(root.resolve() / relative),  # one name, from whatever folder it was reached
        label=relative.parent.name,
        fingerprint=content,
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
    )


def check_id(video_id: str) -> None:
    """Checks that an id can be stored.

    Raises:
        MediaError: It is too long, or no valid text.
    """
    try:
        if len(video_id.encode()) + len("#00000.000") > MAX_ID_LENGTH:
            raise MediaError(f"Its path is longer than {MAX_ID_LENGTH} bytes; shorten it.")
    except UnicodeEncodeError as error:
        raise MediaError("Its name is no valid UTF-8; rename it.") from error
