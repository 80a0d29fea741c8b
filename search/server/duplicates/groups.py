"""Duplicates as groups, with what was decided about them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from ....ingest.shards.catalog import CatalogEntry
from ....schemas.answer import Line
from ....schemas.results import DuplicatePair, DuplicatesReport, FailedFile, Result
from ...csv_text import csv_line, duplicates_csv
from ..jobs.steps import StageNow
from .decisions import Decision, Decisions
from .search import Found

_MOST_PAIRS = 500
"""Pairs of a group that are listed: of a hundred copies of one video there are 4,950."""


class DuplicateVideo(Result):
    """A video of a group."""

    video_id: str
    path: str
    label: str
    width: int | None = Field(description="pixels; null where they are not known")
    height: int | None
    duration_s: float
    size: int = Field(description="bytes; 0 where they are not known")
    bitrate: float | None = Field(description="bits per second, of picture and sound together")


class DecidedPair(DuplicatePair):
    """Two videos that share footage, and what was decided about them."""

    decision: Decision | None = None


class DuplicateGroup(Result):
    """Videos that share footage, each with another of the group."""

    group: str = Field(description="id, which stays while its first video by id does")
    videos: list[DuplicateVideo] = Field(description="by pixels, length and bitrate, most first")
    pairs: list[DecidedPair] = Field(description="the surest first")
    more_pairs: int = Field(default=0, description="how many are not listed")


class DuplicateGroups(Result):
    """A page of groups."""

    groups: list[DuplicateGroup] = Field(description="the surest first")
    total: int = Field(description="groups of all pages")
    libraries: list[str]
    videos: int = Field(description="compared with each other")
    max_distance: int
    min_similarity: float
    decided: int = Field(description="pairs about which something was decided")
    failed: list[FailedFile] = Field(description="videos whose file cannot be read any more")
    notes: list[str] = Field(description="what a person should know about it")


class DuplicateSearch(Result):
    """A search that is not done: how far it is."""

    stages: list[StageNow]


@dataclass(frozen=True, slots=True)
class Judged:
    """A pair, and what was decided about it; a `DecidedPair` takes long to make."""

    pair: DuplicatePair
    decision: Decision | None

    @property
    def refused(self) -> bool:
        """Whether the two are not the same."""
        return self.decision is not None and self.decision.decision == "not the same"


def judged(found: Found, decisions: Decisions) -> list[Judged]:
    """Return all pairs, with what was decided about them.

    Raises:
        StoreError: The decisions cannot be read.
    """
    sides = found.sides
    return [
        Judged(pair, decisions.of(sides[pair.first.video_id], sides[pair.second.video_id]))
        for pair in found.report.pairs
    ]


def grouped(pairs: Sequence[Judged]) -> list[list[Judged]]:
    """Return the pairs of each group, the surest group first.

    Two videos are in one group if pairs lead from one to the other that were not decided to be
    "not the same". A pair that was is listed where its videos are in one group all the same.
    """
    parent: dict[str, str] = {}

    def group_of(video_id: str) -> str:
        while (above := parent.setdefault(video_id, video_id)) != video_id:
            parent[video_id] = parent[above]  # so that the next way is half as long
            video_id = above
        return video_id

    for each in pairs:
        if not each.refused:
            parent[group_of(each.pair.first.video_id)] = group_of(each.pair.second.video_id)
    groups: dict[str, list[Judged]] = {}
    for each in pairs:
        group = group_of(each.pair.first.video_id)
        if group == group_of(each.pair.second.video_id):
            groups.setdefault(group, []).append(each)
    return [*groups.values()]


def described(
    pairs: Sequence[Judged], found: Found, pixels: Mapping[str, tuple[int, int]]
) -> DuplicateGroup:
    """Return a group, its best video first.

    Args:
        pairs: Those of the group.
        found: What is known of its videos.
        pixels: Width and height by id, of those videos of which they are known.
    """
    ids = video_ids(pairs)
    videos = [_video(found.entries[each], pixels.get(each)) for each in ids]
    videos.sort(key=_worth, reverse=True)
    return DuplicateGroup(
        group=_name(ids),
        videos=videos,
        pairs=[
            DecidedPair(**dict(each.pair), decision=each.decision) for each in pairs[:_MOST_PAIRS]
        ],
        more_pairs=max(0, len(pairs) - _MOST_PAIRS),
    )


def groups_csv(groups: Sequence[Sequence[Judged]], report: DuplicatesReport) -> Iterator[Line]:
    """Format a line per pair as `duplicates_csv` does, after its group and what was decided.

    Of two videos that a third one is kept instead of, neither stays, whichever of them the
    decision about the two names.
    """
    before = [["group", "decision", "first_stays", "second_stays"]]
    for pairs in groups:
        name, gone = _name(video_ids(pairs)), _gone(pairs)
        for each in pairs:
            sides = (each.pair.first.video_id, each.pair.second.video_id)
            said = each.decision.decision if each.decision else ""
            stay = ["no" if side in gone else "yes" if said else "" for side in sides]
            before.append([name, said, *stay])
    listed = [each.pair for pairs in groups for each in pairs]
    lines = duplicates_csv(report.model_copy(update={"pairs": listed}))
    for cells, line in zip(before, lines, strict=True):
        yield f"{csv_line(cells)},{line}"


def _gone(pairs: Sequence[Judged]) -> set[str]:
    """Return the ids of the videos of which another one is kept."""
    return {
        side
        for each in pairs
        if each.decision is not None and each.decision.keep is not None
        for side in (each.pair.first.video_id, each.pair.second.video_id)
        if side != each.decision.keep
    }


def video_ids(pairs: Sequence[Judged]) -> list[str]:
    """Return the ids of the videos of pairs, in order."""
    return sorted({side.video_id for e in pairs for side in (e.pair.first, e.pair.second)})


def _video(entry: CatalogEntry, pixels: tuple[int, int] | None) -> DuplicateVideo:
    size, duration_s = entry.video.size, entry.duration_s
    width, height = pixels or (None, None)
    return DuplicateVideo(
        video_id=entry.video.video_id,
        path=entry.video.path,
        label=entry.video.label,
        width=width,
        height=height,
        duration_s=duration_s,
        size=size,
        bitrate=size * 8 / duration_s if size and duration_s else None,
    )


def _worth(video: DuplicateVideo) -> tuple[int, float, float]:
    pixels = (video.width or 0) * (video.height or 0)
    return pixels, video.duration_s, video.bitrate or 0.0


def _name(ids: Sequence[str]) -> str:
    return hashlib.sha256(ids[0].encode()).hexdigest()[:12]
