"""Thumbnails: frames of a query and its results where they match, or a note why there is none."""

from __future__ import annotations

import os

import numpy as np

from ...ingest.decode.pictures import WIDTH, PictureReader, jpeg, png
from ...schemas.answer import clock
from ...schemas.embedding import ByteArray
from ...schemas.results import MatchedMoment, QueryResult
from ..places import is_address
from .document import no_picture, picture

_HALF_WIDTH, _HALF_HEIGHT = WIDTH, WIDTH * 3 // 4
"""Pixels of one half of what `side_by_side` draws, which a frame of any shape fits into."""

_GREY = 128


class Thumbnails:
    """Draws frames of files, each once."""

    def __init__(self, reader: PictureReader) -> None:
        """Take frames by `reader`."""
        self._reader = reader
        self._drawn: dict[tuple[str, float], bytes] = {}
        self._unreadable: dict[str, str] = {}
        self._nothing: dict[tuple[str, float], str] = {}

    def at(self, path: str, time_s: float, what: str) -> str:
        """Return the frame at a time as HTML, or why there is none.

        Args:
            path: The file.
            time_s: Seconds from its start.
            what: What it shows, for those who do not see it.
        """
        key = path, round(time_s, 3)
        if reason := self._why_not(path) or self._nothing.get(key):
            return no_picture(reason)
        if key not in self._drawn:
            seen = self._reader.look(path, [time_s])
            if seen.pictures[0] is None:
                if seen.unreadable:
                    self._unreadable[path] = seen.reason
                else:
                    self._nothing[key] = seen.reason
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
        return self._unreadable.get(path, "")


def middles(moment: MatchedMoment) -> tuple[float, float]:
    """Return the middle of a moment, in seconds of the query and of the video."""
    half_s = (moment.end_s - moment.start_s) / 2
    return moment.query_start_s + half_s, moment.start_s + half_s


def side_by_side(result: QueryResult) -> list[bytes]:
    """Return a PNG per result: a frame of the query, and one of the video, where they match."""
    with PictureReader() as reader:

        def half(path: str, time_s: float) -> ByteArray:
            canvas = np.full((_HALF_HEIGHT, _HALF_WIDTH, 3), _GREY, np.uint8)
            seen = reader.look(path, [time_s], _HALF_HEIGHT) if os.path.isfile(path) else None
            if seen is not None and (rgb := seen.pictures[0]) is not None:
                high, wide = rgb.shape[:2]
                top, left = (_HALF_HEIGHT - high) // 2, (_HALF_WIDTH - wide) // 2
                canvas[top : top + high, left : left + wide] = rgb
            return canvas

        pairs = []
        for found in result.results:
            query_s, video_s = middles(found.moments[0])
            pairs.append(
                (half(result.path_of(found.moments[0].example), query_s), half(found.path, video_s))
            )
    return [png(np.concatenate(pair, axis=1)) for pair in pairs]
