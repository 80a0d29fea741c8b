"""Videos and segments, and their readable ids."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

SEGMENT_SECONDS = 10.0
"""Length of a segment of a long video, in seconds."""

LABEL_SEPARATOR = "; "
"""Separator of a video's labels if it has several; the first one is its class."""

VideoOrder = Literal["id", "label", "duration", "size", "damage", "stored"]
"""What a list of videos can be sorted by; ``stored`` is the moment."""

_WHOLE_CLIP = 1.5
"""A clip of up to this many segment lengths stays whole: 15 s at the default."""


class VideoId(str):
    """Id of a stored video that is never taken for a file, as it may come from a stranger."""

    __slots__ = ()


@dataclass(frozen=True)
class Segment:
    """A stretch of a video, in seconds from its first frame or sample."""

    index: int
    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        """Raise ValueError for a stretch that is negative or runs backwards."""
        if self.index < 0 or not 0 <= self.start_s <= self.end_s:
            raise ValueError(f"not a segment: {self}")


@dataclass(frozen=True, slots=True)
class Video:
    """A file of a library.

    Attributes:
        video_id: ``library/relative/path.avi``, the same on every machine.
        library: The named set it belongs to.
        path: Absolute path, or an address where it is not a file here.
        label: Its class: the name of the folder it lies in, "" at the library's top, unless a
            person gave it another. Of an AudioSet clip all its labels, joined by
            `LABEL_SEPARATOR`.
        fingerprint: Hash of the file's content, hex.
        size: Bytes.
        mtime_ns: Modification time, nanoseconds since the epoch.
    """

    video_id: str
    library: str
    path: str
    label: str
    fingerprint: str
    size: int
    mtime_ns: int

    @property
    def relabelled(self) -> bool:
        """Whether its label is not the name of the folder it lies in."""
        folders = self.video_id.split("/")[1:-1]
        return self.label != (folders[-1] if folders else "")


def row_id(video_id: str, segment: int, row: int) -> str:
    """Return the Milvus primary key of a row: ``ucf101/a/b.avi#00012.3``."""
    return f"{video_id}#{segment:05d}.{row}"


def cut_segments(duration_s: float, segment_seconds: float = SEGMENT_SECONDS) -> list[Segment]:
    """Cut a duration into segments of about `segment_seconds`, none under half of it.

    Clips of up to one and a half segment lengths stay whole. The last segment takes the
    remainder, so it is between half and one and a half lengths long.

    Args:
        duration_s: Seconds, 0 for a single picture.
        segment_seconds: Length of a segment in seconds, positive.
    """
    count = max(1, math.ceil(duration_s / segment_seconds - (_WHOLE_CLIP - 1)))
    edges = [i * segment_seconds for i in range(count)] + [duration_s]
    return [Segment(i, edges[i], edges[i + 1]) for i in range(count)]
