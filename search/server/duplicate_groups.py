"""Duplicates as groups, found once for each state of the home, with what was decided about them."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from anyio import to_thread
from pydantic import Field

from ...ingest.shards.catalog import CatalogEntry
from ...ingest.shards.home import open_shards
from ...schemas.answer import Line
from ...schemas.duplicates import DuplicateOptions
from ...schemas.errors import LibraryError
from ...schemas.results import DuplicatePair, DuplicatesReport, FailedFile, Result
from ..csv_text import csv_line, duplicates_csv
from ..duplicates.identical import has_content
from ..library import Library
from .decisions import Decision, Decisions, Side
from .turns import Turns

_KEPT = 4
"""Reports that are kept, of other libraries or thresholds; that of longest ago goes first."""

_MOST_WAITING = 8

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


@dataclass(frozen=True)
class Found:
    """The duplicates of one state of the home.

    Attributes:
        report: The pairs.
        entries: What is stored of their videos, by id.
    """

    report: DuplicatesReport
    entries: Mapping[str, CatalogEntry]

    def side(self, video_id: str) -> Side:
        """Return a video of a pair, for decisions."""
        return side_of(self.entries[video_id])


class Duplicates:
    """Finds duplicates, which takes long, one search at a time and each once."""

    def __init__(self, library: Library) -> None:
        """Prepare; nothing is searched yet."""
        self._library = library
        self._turns = Turns(1, _MOST_WAITING)
        self._lock = Lock()
        self._kept: OrderedDict[tuple[str, DuplicateOptions], Found] = OrderedDict()

    async def find(self, libraries: Sequence[str], options: DuplicateOptions) -> Found:
        """Return the duplicates as the home is now.

        Args:
            libraries: Libraries to compare, within and across; none for all.
            options: The thresholds.

        Raises:
            BusyError: Too many searches wait.
            LibraryError, StoreError: As `Library.duplicates`.
        """
        key = await to_thread.run_sync(self._stamp, libraries), options
        if found := self._known(key):
            return found
        return await self._turns.run(lambda: self._find(key, libraries, options))

    def side(self, video_id: str) -> Side:
        """Return a stored video, for decisions.

        Raises:
            LibraryError: It is not stored.
            StoreError: A shard cannot be read.
        """
        with self._lock:
            newest = [*reversed(self._kept.values())]
        for found in newest:
            if video_id in found.entries:
                return found.side(video_id)
        shards = open_shards(self._library.home)
        library = video_id.partition("/")[0]
        entry = shards.catalog(library).get(video_id) if library in shards.libraries() else None
        if entry is None:
            raise LibraryError(f"{video_id} is not stored; /v1/videos lists the ids.")
        return side_of(entry)

    def _known(self, key: tuple[str, DuplicateOptions]) -> Found | None:
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def _find(
        self, key: tuple[str, DuplicateOptions], libraries: Sequence[str], options: DuplicateOptions
    ) -> Found:
        if known := self._known(key):  # found while this one waited
            return known
        report = self._library.duplicates(
            *libraries,
            max_distance=options.max_distance,
            min_similarity=options.min_similarity,
        )
        shards = open_shards(self._library.home)
        wanted = {side.video_id for pair in report.pairs for side in (pair.first, pair.second)}
        entries = {
            video_id: entry
            for library in {video_id.partition("/")[0] for video_id in wanted}
            for video_id, entry in shards.catalog(library).items()
            if video_id in wanted
        }
        if entries.keys() != wanted:  # some were removed meanwhile
            there = [p for p in report.pairs if {p.first.video_id, p.second.video_id} <= {*entries}]
            report = report.model_copy(update={"pairs": there})
        found = Found(report, entries)
        with self._lock:
            self._kept[key] = found
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return found

    def _stamp(self, libraries: Sequence[str]) -> str:
        """Return a text that changes with what is compared."""
        shards = open_shards(self._library.home)
        known = shards.libraries()
        named = [name for name in known if not libraries or name in libraries]
        unknown = sorted({*libraries} - {*known})
        return "\n".join([*(f"{name} {shards.stamp(name)}" for name in named), *unknown])


def side_of(entry: CatalogEntry) -> Side:
    """Return a stored video, for decisions."""
    video = entry.video
    content = f"{video.fingerprint} {video.size}" if has_content(entry) else video.video_id
    return Side(video.video_id, content)


def decided(found: Found, decisions: Decisions) -> list[DecidedPair]:
    """Return all pairs, with what was decided about them.

    Raises:
        StoreError: The decisions cannot be read.
    """
    return [_decided(pair, found, decisions) for pair in found.report.pairs]


def grouped(pairs: Sequence[DecidedPair]) -> list[list[DecidedPair]]:
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

    for pair in pairs:
        if not _is_refused(pair):
            parent[group_of(pair.first.video_id)] = group_of(pair.second.video_id)
    groups: dict[str, list[DecidedPair]] = {}
    for pair in pairs:
        group = group_of(pair.first.video_id)
        if group == group_of(pair.second.video_id):
            groups.setdefault(group, []).append(pair)
    return [*groups.values()]


def described(
    pairs: Sequence[DecidedPair], found: Found, pixels: Mapping[str, tuple[int, int]]
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
        pairs=list(pairs[:_MOST_PAIRS]),
        more_pairs=max(0, len(pairs) - _MOST_PAIRS),
    )


def groups_csv(groups: Sequence[Sequence[DecidedPair]], report: DuplicatesReport) -> Iterator[Line]:
    """Format a line per pair as `duplicates_csv` does, after its group and what was decided."""
    before = [["group", "decision", "keep"]]
    for pairs in groups:
        name = _name(video_ids(pairs))
        for pair in pairs:
            decision = pair.decision
            keep = decision.keep or "" if decision else ""
            before.append([name, decision.decision if decision else "", keep])
    all_pairs = [pair for pairs in groups for pair in pairs]
    lines = duplicates_csv(report.model_copy(update={"pairs": all_pairs}))
    for cells, line in zip(before, lines, strict=True):
        yield f"{csv_line(cells)},{line}"


def video_ids(pairs: Sequence[DecidedPair]) -> list[str]:
    """Return the ids of the videos of pairs, in order."""
    return sorted({side.video_id for pair in pairs for side in (pair.first, pair.second)})


def _decided(pair: DuplicatePair, found: Found, decisions: Decisions) -> DecidedPair:
    first, second = found.side(pair.first.video_id), found.side(pair.second.video_id)
    fields = {name: getattr(pair, name) for name in DuplicatePair.model_fields}
    return DecidedPair(**fields, decision=decisions.of(first, second))


def _is_refused(pair: DecidedPair) -> bool:
    return pair.decision is not None and pair.decision.decision == "not the same"


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
