"""Which of the stored videos a page shows: facets that combine, and an order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ....schemas.results import Result, StoredVideo
from ....schemas.video import LABEL_SEPARATOR, VideoOrder

DURATIONS_S = (5.0, 15.0, 60.0, 600.0)
"""Bounds of the facet of durations (a choice)."""


@dataclass(frozen=True)
class Facets:
    """What stored videos are to have; all of it.

    Attributes:
        libraries: One of these libraries; none for any.
        labels: One of these labels; none for any.
        folder: An id begins with this folder, such as ``ucf101/YoYo``.
        contains: The id or the label contains this text, whatever its case.
        damaged: Whether only those of which a part did not decode.
        min_s: Least duration, in seconds.
        max_s: Most.
        since: Not stored before this day or moment, as ``2019-05-01``.
        until: Not stored after it.
    """

    libraries: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    folder: str = ""
    contains: str = ""
    damaged: bool = False
    min_s: float | None = None
    max_s: float | None = None
    since: str = ""
    until: str = ""

    def allow(self, video: StoredVideo) -> bool:
        """Return whether a video has all of it."""
        folder = self.folder.rstrip("/") + "/" if self.folder else ""
        text = self.contains.casefold()
        return (
            (not self.libraries or library_of(video) in self.libraries)
            and (not self.labels or not self.labels.isdisjoint(labels_of(video)))
            and video.video_id.startswith(folder)
            and (text in video.video_id.casefold() or text in video.label.casefold())
            and (bool(video.damage) or not self.damaged)
            and (self.min_s is None or video.duration_s >= self.min_s)
            and (self.max_s is None or video.duration_s <= self.max_s)
            and self.since <= video.stored_at
            and (not self.until or video.stored_at[: len(self.until)] <= self.until)
        )


class Counts(Result):
    """How many videos there are of each kind, for the facets of a page."""

    libraries: dict[str, int]
    labels: dict[str, int]
    durations: dict[str, int]
    days: dict[str, int]


_KEYS: dict[VideoOrder, Callable[[StoredVideo], Any]] = {
    "id": lambda video: video.video_id,
    "label": lambda video: video.label,
    "duration": lambda video: video.duration_s,
    "size": lambda video: video.size,
    "damage": lambda video: video.damage,
    "stored": lambda video: video.stored_at,
}


def library_of(video: StoredVideo) -> str:
    """Return the name of a video's library."""
    return video.video_id.partition("/")[0]


def labels_of(video: StoredVideo) -> list[str]:
    """Return the labels of a video, of which an AudioSet clip has several."""
    return video.label.split(LABEL_SEPARATOR)


def listed(
    videos: Iterable[StoredVideo], facets: Facets, order: VideoOrder, reverse: bool
) -> list[StoredVideo]:
    """Return the videos that facets allow, in an order."""
    return sorted(filter(facets.allow, videos), key=_KEYS[order], reverse=reverse)


def counted(videos: Iterable[StoredVideo]) -> Counts:
    """Return how many videos there are of each kind, the most frequent labels first."""
    each = list(videos)
    labels = Counter(label for video in each for label in labels_of(video))
    return Counts(
        libraries=dict(sorted(Counter(map(library_of, each)).items())),
        labels=dict(labels.most_common()),
        durations=_durations(each),
        days=dict(sorted(Counter(video.stored_at[:10] for video in each).items())),
    )


def _durations(videos: Iterable[StoredVideo]) -> dict[str, int]:
    bounds = (0.0, *DURATIONS_S)
    found = Counter(sum(video.duration_s > bound for bound in DURATIONS_S) for video in videos)
    names = [f"{low:g}-{high:g}" for low, high in zip(bounds, DURATIONS_S)]
    names.append(f"{DURATIONS_S[-1]:g}-")
    return {name: found[n] for n, name in enumerate(names)}
