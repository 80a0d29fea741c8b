"""The plan of an ingest: the current files, compared with the stored videos."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from .. import __version__
from ..schemas.backbones import sound_backbones
from ..schemas.errors import MediaError
from ..schemas.results import FailedFile
from ..schemas.settings import settings
from ..schemas.video import Video
from .decode.codecs import allowed_since
from .discover.listing import Listing, printable, unlisted_note
from .discover.regular_file import odd_kind
from .discover.videos import describe
from .extract.embed import EmbedOptions
from .shards.catalog import CatalogEntry
from .sync.elsewhere import Elsewhere
from .sync.failed_files import Failure
from .sync.moves import Move, match, replaces
from .system.progress import Progress


@dataclass
class Plan:
    """The work of an ingest.

    Attributes:
        todo: Videos to embed.
        moves: Stored videos whose file has moved. Those to re-embed are in `todo`, too.
        left: Ids left behind by an interrupted move, in this library or in another.
        unfinished: New ids by old ids, of moves that cannot be completed yet.
        unchanged: Videos stored in their current state.
        failed: Files that cannot be read, and those that are not tried again.
        failures: Noted failures that stay noted, by video id.
        missing: Ids of stored videos whose file is gone.
        notes: Messages for the user about the folder.
    """

    todo: list[Video] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    unfinished: dict[str, str] = field(default_factory=dict)
    unchanged: int = 0
    failed: list[FailedFile] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def moved(self) -> int:
        """Number of videos whose id has changed."""
        return sum(move.renamed for move in self.moves) + len(self.left)

    def moved_from(self, library: str) -> dict[str, int]:
        """Return, by library, the number of videos that have moved to `library` from another."""
        sources = [move.source for move in self.moves]
        sources += [old.partition("/")[0] for old in self.left]
        return {name: sources.count(name) for name in sorted({*sources} - {library})}


def make_plan(
    listing: Listing,
    root: Path,
    library: str,
    catalog: Mapping[str, CatalogEntry],
    unfinished: Mapping[str, str],
    noted: Mapping[str, Failure],
    elsewhere: Callable[[Sequence[Video]], Elsewhere],
    options: EmbedOptions,
    progress: Progress,
    whole: bool,
    retry: bool = False,
) -> Plan:
    """Compare the files of a folder with the stored videos of its library.

    Args:
        listing: The files under `root`, or one of them.
        root: The library's folder.
        library: Its name.
        catalog: Its stored videos.
        unfinished: New ids by old ids, of moves that were begun.
        noted: Failures of earlier ingests, by video id.
        elsewhere: Says what other libraries have of new files.
        options: Embedding options of each video.
        progress: Receives the progress of the files.
        whole: Whether `listing` covers the whole library.
        retry: Whether to try files again that failed and are unchanged.
    """
    plan = Plan()
    videos = _described(listing.files, root, library, catalog, noted, plan.failed, progress)
    new = [v for v in videos if not _same_content(catalog.get(v.video_id), v)]
    found = {_id(path, root, library) for path in listing.files}
    contents = {video.fingerprint for video in new}
    gone = [
        entry
        for video_id, entry in catalog.items()
        if video_id not in found
        and (whole or entry.video.fingerprint in contents or video_id in unfinished)
    ]
    # The content of a known folder was listed, under the other path that it has moved to.
    passed_over = {
        path
        for kind, paths in listing.passed_over.items()
        if kind != "known_folders"
        for path in paths
    }
    whereabouts = {
        e.video.video_id: _whereabouts(root, e.video, listing, passed_over, whole) for e in gone
    }
    gone = [e for e in gone if whereabouts[e.video.video_id] == "gone"]
    plan.left = [
        e.video.video_id
        for e in gone
        if replaces(catalog.get(unfinished.get(e.video.video_id, "")), e)
    ]
    plan.unfinished = {
        old: new_id for old, new_id in unfinished.items() if whereabouts.get(old) == "unknown"
    }
    moved = match(new, [e for e in gone if e.shards and e.video.video_id not in plan.left])
    source = {move.video.video_id: move for move in moved}
    others = elsewhere([v for v in new if v.video_id not in source and not _is_noted(noted, v)])
    plan.left += others.left
    plan.unfinished |= others.unfinished
    source |= {move.video.video_id: move for move in others.moves}
    noted = {**others.failures, **noted}
    conditions = tried_with(options)
    for video in videos:
        move, entry = source.get(video.video_id), catalog.get(video.video_id)
        video = move.video if move else video
        if move is None and entry and _same_content(entry, video):
            move = Move(entry, video)
        if move and (move.renamed or move.stored.video.path != video.path):
            same_cut = move.stored.segment_seconds == options.segment_seconds
            if move.renamed or (same_cut and move.stored.shards):
                plan.moves.append(move)
        stored = move.stored if move else None
        if stored is None or not _is_stored(stored, options):
            failure = noted.get(video.video_id)
            if failure and failure.holds(video, conditions) and not retry:
                reason = failure.reason
                plan.failed.append(FailedFile(path=video.path, reason=reason, tried=False))
            else:
                plan.todo.append(video)
        elif not (move and move.renamed):
            plan.unchanged += 1
    tried = {video.video_id for video in plan.todo}
    plan.failures = {
        i: failure for i, failure in noted.items() if i not in tried and (i in found or not whole)
    }
    if whole:
        away = {move.stored.video.video_id for move in moved}.union(plan.left)
        plan.missing = [e.video.video_id for e in gone if e.video.video_id not in away]
        plan.notes = _notes(listing, root, whereabouts)
    plan.notes += others.notes
    return plan


def tried_with(options: EmbedOptions) -> str:
    """Describe what decides, besides its content, whether a file fails."""
    backbones = sorted(backbone.name for backbone in options.backbones.values())
    asked = settings().codecs
    return (
        f"vidsim {__version__}, av {version('av')}, {', '.join(backbones)}, segments of "
        f"{options.segment_seconds:g} s, audio track {options.audio_track}, nvdec {options.nvdec}"
        f"{asked and f', codecs {asked}'}"
    )


def _described(
    files: Sequence[Path],
    root: Path,
    library: str,
    catalog: Mapping[str, CatalogEntry],
    noted: Mapping[str, Failure],
    failed: list[FailedFile],
    progress: Progress,
) -> list[Video]:
    """Describe files as videos; add those that cannot be read to `failed`."""
    videos = []
    progress.start("checking", len(files), "files")
    for path in files:
        video_id = _id(path, root, library)
        known = noted.get(video_id) or catalog.get(video_id)
        try:
            videos.append(describe(path, root, library, known.video if known else None))
        except MediaError as error:
            failed.append(FailedFile(path=printable(path), reason=str(error)))
        progress.advance("checking", 1)
    progress.finish("checking")
    return videos


def _id(path: Path, root: Path, library: str) -> str:
    return f"{library}/{path.relative_to(root).as_posix()}"


def _is_noted(noted: Mapping[str, Failure], video: Video) -> bool:
    """Return whether a file failed before with the same content."""
    failure = noted.get(video.video_id)
    return failure is not None and failure.video.fingerprint == video.fingerprint


def _same_content(entry: CatalogEntry | None, video: Video) -> bool:
    return entry is not None and entry.video.fingerprint == video.fingerprint


def _is_stored(stored: CatalogEntry, options: EmbedOptions) -> bool:
    """Return whether all requested rows of a video are stored, in the requested segments."""
    wanted = {b.name for b in options.backbones.values()}
    same_track = stored.audio_track == options.audio_track or not sound_backbones(wanted)
    same_cut = stored.segment_seconds == options.segment_seconds
    heard = not sound_backbones(wanted) or not allowed_since(stored.damage.sound)
    return same_cut and same_track and heard and wanted <= stored.rows.keys()


_Whereabouts = Literal["gone", "passed over", "unknown"]


def _whereabouts(
    root: Path, video: Video, listing: Listing, passed_over: Collection[Path], whole: bool
) -> _Whereabouts:
    """Return what became of the file of a stored video that was not listed.

    The listing takes precedence over a look at the file itself: a case-insensitive file system
    finds a renamed file under its old name.
    """
    path = root / video.video_id.partition("/")[2]
    above = {path, *path.parents}
    if not above.isdisjoint(listing.unlisted):
        return "unknown"
    if whole and above.isdisjoint(passed_over):
        return "gone"
    try:
        return "gone" if odd_kind(path.stat().st_mode) else "passed over"
    except (FileNotFoundError, NotADirectoryError):
        return "gone"
    except OSError:
        return "unknown"


def _notes(listing: Listing, root: Path, whereabouts: Mapping[str, _Whereabouts]) -> list[str]:
    """Return messages for the user about files that were not listed."""
    notes = []
    if note := unlisted_note(listing, root):
        notes.append(note)
    unknown = [i for i, where in whereabouts.items() if where == "unknown"]
    if unknown and not note:
        notes.append(
            f"The files of {_videos(unknown)} cannot be looked for (such as {unknown[0]}: a link "
            "leads nowhere, or it may not be read); nothing of that counts as gone."
        )
    passed_over = [i for i, where in whereabouts.items() if where == "passed over"]
    if passed_over:
        notes.append(
            f"What {_videos(passed_over)} came from is passed over now (such as {passed_over[0]}); "
            "'vidsim remove' takes them out by their ids."
        )
    return notes


def _videos(ids: Sequence[str]) -> str:
    return f"{len(ids):,} stored video" + ("s" if len(ids) > 1 else "")
