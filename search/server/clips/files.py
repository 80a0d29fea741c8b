"""Which files may be sent: those of stored videos, below the folder of their library."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ....schemas.errors import LibraryError
from ...places import is_address
from ..http.refusals import ForbiddenError
from .catalogue import Catalogue


def servable(catalogue: Catalogue, video_id: str) -> Path:
    """Return the real path of a stored video's file.

    Args:
        catalogue: What is stored.
        video_id: The id; nothing of it is taken for a path.

    Raises:
        ForbiddenError: The file does not lie below its library's folder, where a link leads out of
            it, say; or it is not a regular file.
        LibraryError: The video is not stored, or its file is gone.
        StoreError: A shard cannot be read.
    """
    video = catalogue.video(video_id)
    if is_address(video.path):
        raise LibraryError(f"The file of {video_id} is not on this machine.")
    root = catalogue.folder(video)
    if root is None:
        raise ForbiddenError(
            f"The library of {video_id} has no folder here; ingest the folder of its files."
        )
    gone = f"The file of {video_id} is gone; put it back, or ingest its folder again."
    try:
        real = Path(video.path).resolve(strict=True)
        folder = root.resolve(strict=True)
        regular = stat.S_ISREG(os.stat(real).st_mode)
    except (OSError, RuntimeError, ValueError) as error:
        raise LibraryError(gone) from error
    inside = real.is_relative_to(folder) if folder.is_dir() else real == folder
    if not inside or not regular:
        raise ForbiddenError(
            f"{video_id} is a link out of its library's folder, which no server follows; put the "
            "file itself there."
        )
    return real
