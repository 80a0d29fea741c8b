"""Thumbnails: a frame of a video at a time, or a note why there is none."""

from __future__ import annotations

import os

from ...ingest.decode.pictures import PictureReader, jpeg
from ...schemas.answer import clock
from ..places import is_address
from .document import no_picture, picture


class Thumbnails:
    """Draws frames of files, each once."""

    def __init__(self, reader: PictureReader) -> None:
        """Take frames by `reader`."""
        self._reader = reader
        self._drawn: dict[tuple[str, float], bytes] = {}
        self._gone: dict[str, str] = {}

    def at(self, path: str, time_s: float, what: str) -> str:
        """Return the frame at a time as HTML, or why there is none.

        Args:
            path: The file.
            time_s: Seconds from its start.
            what: What it shows, for those who do not see it.
        """
        if reason := self._why_not(path):
            return no_picture(reason)
        key = path, round(time_s, 3)
        if key not in self._drawn:
            seen = self._reader.look(path, [time_s])
            if seen.pictures[0] is None:
                self._gone[path] = seen.reason
                return no_picture(seen.reason)
            self._drawn[key] = jpeg(seen.pictures[0])
        return picture(self._drawn[key], f"{what} at {clock(time_s)}")

    def _why_not(self, path: str) -> str:
        """Return why no frame of a file can be drawn, without looking into it."""
        if not path:
            return "where its file is, is not known"
        if is_address(path):
            return "its file is not on this machine"
        if not os.path.isfile(path):
            return "its file is gone"
        return self._gone.get(path, "")
