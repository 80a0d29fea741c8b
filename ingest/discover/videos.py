"""Find the media files of a folder, and give each its id, label and fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from io import FileIO
from pathlib import Path

from ...schemas.collections import MAX_ID_LENGTH
from ...schemas.errors import LibraryError, MediaError
from ...schemas.video import Video
from .listing import Listing, describe_passed_over, list_folder
from .regular_file import ODD_NAMES, NotRegularError, odd_kind, open_regular

_HASHED_BYTES = 1 << 18
"""Bytes read at once, as in `hashlib.file_digest`."""


def find_media(folder: Path) -> list[Path]:
    """Return the files of `list_media`.

    Raises:
        LibraryError: As `list_media`.
    """
    return list_media(folder).files


def list_media(folder: Path) -> Listing:
    """List the media under `folder` (or `folder` itself, if it is a file), as `list_folder` does.

    Raises:
        LibraryError: The folder is missing, cannot be listed, or has no media file.
    """
    try:
        odd = odd_kind(folder.stat().st_mode)
    except FileNotFoundError as error:
        raise LibraryError(
            f"There is no {folder}; give the folder that holds the videos."
        ) from error
    except OSError as error:
        raise LibraryError(
            f"{folder} cannot be read ({error.strerror or error}); "
            "give the folder that holds the videos."
        ) from error
    if odd is None:
        return Listing(files=[folder])
    if odd != "folder":
        raise LibraryError(
            f"{folder} is {ODD_NAMES[odd]}; give a folder of videos, or a video file."
        )
    listing = list_folder(folder)
    if not listing.files and folder in listing.unlisted:
        raise LibraryError(
            f"{folder} cannot be listed ({listing.unlisted[folder]}); "
            "nothing of what is stored was changed. Ingest again once that is mended."
        )
    if not listing.files:
        kinds = "mp4, mkv, avi, mov, webm, gif, wav, mp3, ..."
        others = describe_passed_over(listing.passed_over)
        beside = f", only what is passed over: {others}" if others else ""
        raise LibraryError(f"{folder} holds no video or sound file ({kinds}){beside}.")
    return listing


def library_name(folder: Path, asked: str | None) -> str:
    """Return the library's name: the requested one, or the folder's.

    Raises:
        LibraryError: The name is empty or has a slash, which ids cannot hold.
    """
    root = folder if folder.is_dir() else folder.parent
    name = root.resolve().name if asked is None else asked
    if not name or "/" in name or name.startswith("."):
        raise LibraryError(
            f"{name!r} cannot be a library's name; give one without slashes with --library."
        )
    return name


def describe(path: Path, root: Path, library: str, known: Video | None = None) -> Video:
    """Describe the video at `path`, hashing it only if size or time differ from `known`.

    A label that a person gave to `known` stays; else it is the name of the folder.

    Raises:
        MediaError: It is not a regular file, cannot be read, is empty, or its name is invalid text.
    """
    try:
        found = path.stat()
        if odd := odd_kind(found.st_mode):
            raise MediaError(f"It is {ODD_NAMES[odd]}, no file.")
        unchanged = known and (known.size, known.mtime_ns) == (found.st_size, found.st_mtime_ns)
        content = known.fingerprint if known and unchanged else ""
        if not content and found.st_size:
            with open_regular(path) as (file, found):
                content = _hash(file, found.st_size)
    except NotRegularError as error:
        raise MediaError(f"{error}.") from error
    except OSError as error:
        raise MediaError(f"It cannot be read: {error.strerror or error}.") from error
    if found.st_size == 0:
        raise MediaError("It is an empty file.")
    relative = path.relative_to(root)
    video_id = f"{library}/{relative.as_posix()}"
    check_id(video_id)
    return Video(
        video_id=video_id,
        library=library,
        path=str(root.resolve() / relative),  # one name, from whatever folder it was reached
        label=known.label if known and known.relabelled else relative.parent.name,
        fingerprint=content,
        size=found.st_size,
        mtime_ns=found.st_mtime_ns,
    )


def is_as_described(video: Video) -> bool:
    """Return whether the file of `video` has still the size and time that it had."""
    try:
        found = Path(video.path).stat()
    except OSError:
        return False
    return (found.st_size, found.st_mtime_ns) == (video.size, video.mtime_ns)


def of_unknown_content(video: Video) -> Video:
    """Return `video` with a time and a fingerprint that no file has, so that it is read again.

    What was embedded of it may be of another content than the one that was hashed.
    """
    unknown = hashlib.blake2b(f"unlike {video.fingerprint}".encode(), digest_size=16).hexdigest()
    return replace(video, fingerprint=unknown, mtime_ns=0)


def _hash(file: FileIO, size: int) -> str:
    """Hash a file's first `size` bytes by BLAKE2b, 32 hex digits: a growing file may never end."""
    digest = hashlib.blake2b(digest_size=16)
    buffer = memoryview(bytearray(_HASHED_BYTES))
    while size > 0 and (read := file.readinto(buffer[:size])):
        digest.update(buffer[:read])
        size -= read
    return digest.hexdigest()


def check_id(video_id: str) -> None:
    """Check that an id can be stored.

    Raises:
        MediaError: It is too long, or invalid text.
    """
    try:
        if len(video_id.encode()) + len("#00000.000") > MAX_ID_LENGTH:
            raise MediaError(f"Its path is longer than {MAX_ID_LENGTH} bytes; shorten it.")
    except UnicodeEncodeError as error:
        raise MediaError("Its name is no valid UTF-8; rename it.") from error
