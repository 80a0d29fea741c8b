"""How far an ingest is, in bytes of its files: a film is not one of eighteen clips."""

from __future__ import annotations

from collections.abc import Sequence

from ...schemas.video import Video
from ..system.progress import Progress

_STAGE = "embedding"


class Pace:
    """Tells how much of some files is embedded.

    A file counts by its size, which is known before anything is read, and a segment by its share
    of the file's duration.
    """

    def __init__(self, videos: Sequence[Video], progress: Progress) -> None:
        """Tell `progress` nothing yet."""
        self._progress = progress
        self._bytes_left = {video.video_id: float(video.size) for video in videos}
        self._videos = len(videos)
        self._now = ""

    def start(self) -> None:
        """Begin the stage."""
        self._progress.start(_STAGE, sum(self._bytes_left.values()), "bytes of video")

    def opened(self, video: Video) -> None:
        """Name `video` as the one in work, unless another is."""
        if not self._now:
            self._name(video.video_id)

    def embedded(self, video: Video, share: float) -> None:
        """Count a `share` of a video's duration."""
        left = self._bytes_left[video.video_id]
        amount = min(left, share * video.size)  # a damaged file may have more than it says
        self._bytes_left[video.video_id] = left - amount
        self._progress.advance(_STAGE, amount)
        self._name(video.video_id)

    def decided(self, video: Video) -> None:
        """Count what is left of a video that is complete or has failed."""
        self._progress.advance(_STAGE, self._bytes_left.pop(video.video_id))
        self._name("" if self._now == video.video_id else self._now)

    def finish(self) -> None:
        """End the stage."""
        self._progress.finish(_STAGE)

    def _name(self, video_id: str) -> None:
        self._now = video_id
        done = f"{self._videos - len(self._bytes_left):,} of {self._videos:,} files done"
        self._progress.note(_STAGE, f"{done}, now {video_id}" if video_id else done)
