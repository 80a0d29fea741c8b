"""Videos of other libraries whose content comes again in a folder: moved here, or copied.

A stored video whose file is gone, and whose content is here, has moved, and keeps its embeddings.
Where no file of its library is in place any more, at least half of them must be here: the disk of
the others may only be away.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ...schemas.errors import StoreError
from ...schemas.video import Video
from ..discover.regular_file import odd_kind
from ..shards.catalog import CatalogEntry
from ..shards.home import Home, stored_root
from ..shards.open_shard import reading_shard, texts
from ..shards.shard_files import Shards
from .failed_files import Failure, read_failures
from .moves import Move, match, replaces

_log = logging.getLogger(__name__)

_Whereabouts = Literal["here", "gone", "unknown"]


@dataclass
class Elsewhere:
    """What other libraries have of the content of a folder.

    Attributes:
        moves: Their videos whose file has moved here.
        left: Ids of theirs that an interrupted run had stored here already.
        unfinished: New ids by old ids, of moves begun that cannot be completed yet.
        failures: Noted failures of files that have moved here, by their id here.
        notes: Messages for the user.
    """

    moves: list[Move] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    unfinished: dict[str, str] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Source:
    """Another library, with those of its videos that may have moved here.

    Attributes:
        library: Its name.
        entries: All its videos that are files.
        contents: Their fingerprints.
        begun: Whether an interrupted run had begun to move it.
        movable: Videos whose file is gone.
        left: As in `Elsewhere`.
    """

    library: str
    entries: Sequence[CatalogEntry]
    contents: Collection[str]
    begun: bool
    movable: Sequence[CatalogEntry]
    left: Sequence[str]


def look_elsewhere(
    home: Home,
    library: str,
    root: Path,
    new: Sequence[Video],
    catalog: Mapping[str, CatalogEntry],
    unfinished: Mapping[str, str],
) -> Elsewhere:
    """Look for the content of new files in the other libraries of a home.

    A library that cannot be read is left out, with a note.

    Args:
        home: The home, which this process holds.
        library: The library that the files are ingested into.
        root: Its folder.
        new: Files whose content is not stored in it.
        catalog: Its stored videos.
        unfinished: New ids by old ids, of moves that were begun.
    """
    found = Elsewhere()
    begun = {old.partition("/")[0] for old in unfinished} - {library}
    contents = {video.fingerprint for video in new}
    sources = []
    for other in home.shards.libraries() if contents or begun else ():
        if other == library:
            continue
        try:
            if other in begun or _holds_any(home.shards, other, contents):
                home.shards.adopt(other)  # ends deletions that were interrupted
                of = home.shards.catalog(other)
                sources.append(_source(other, of, root, contents, catalog, unfinished, found))
        except StoreError as error:
            _log.warning("%s: %s", other, error)
            found.notes.append(f"It is not known whether files of {other} have moved here: {error}")
        found.failures |= _failures(home.path, other, new)
    left = list(new)
    for source in sorted(sources, key=lambda s: -len(match(new, s.movable))):
        moves = match(left, source.movable)
        if moves and not source.begun and not _has_moved(source, len(moves)):
            moves = []
        found.moves += moves
        found.left += source.left
        moved = {move.video.video_id for move in moves}
        left = [video for video in left if video.video_id not in moved]
        found.notes += _notes(source, len(moves) + len(source.left), left, root)
    return found


def _holds_any(shards: Shards, library: str, contents: set[str]) -> bool:
    """Return whether a library has a video of one of these fingerprints."""
    for path in shards.files(library):
        with reading_shard(path) as file:
            if not contents.isdisjoint(texts(file["videos/fingerprint"])):
                return True
    return False


def _source(
    library: str,
    stored: Mapping[str, CatalogEntry],
    root: Path,
    contents: Collection[str],
    catalog: Mapping[str, CatalogEntry],
    unfinished: Mapping[str, str],
    found: Elsewhere,
) -> _Source:
    """Look for the files of a library; add moves that cannot be completed yet to `found`."""
    entries = [entry for entry in stored.values() if stored_root(entry.video)]
    renamed = {
        folder
        for folder in {stored_root(entry.video) for entry in entries}
        if folder and _is_older_name(folder, root)
    }
    gone, left = [], []
    for entry in entries:
        video_id = entry.video.video_id
        if entry.video.fingerprint not in contents and video_id not in unfinished:
            continue
        where = "gone" if stored_root(entry.video) in renamed else _whereabouts(entry.video.path)
        if where == "unknown" and video_id in unfinished:
            found.unfinished[video_id] = unfinished[video_id]
        if where != "gone":
            continue
        if replaces(catalog.get(unfinished.get(video_id, "")), entry):
            left.append(video_id)
        elif entry.shards:
            gone.append(entry)
    begun = any(old.partition("/")[0] == library for old in unfinished)
    known = {entry.video.fingerprint for entry in entries}
    return _Source(library, entries, known, begun, gone, left)


def _is_older_name(folder: Path, root: Path) -> bool:
    """Return whether a folder that was renamed to `root` is still reached by its old name.

    It left a link there, or case counts for nothing on its file system.
    """
    try:
        return folder != root.resolve() and folder.samefile(root)
    except OSError:
        return False


def _whereabouts(path: str) -> _Whereabouts:
    """Return what became of the file of a stored video."""
    try:
        return "gone" if odd_kind(os.stat(path).st_mode) else "here"
    except (FileNotFoundError, NotADirectoryError):
        links = any(above.is_symlink() for above in (Path(path), *Path(path).parents))
        return "unknown" if links else "gone"  # what a link leads to may only be away
    except OSError:
        return "unknown"


def _has_moved(source: _Source, matching: int) -> bool:
    """Return whether files of a library that are gone have moved, of which so many are here."""
    in_place = any(_whereabouts(entry.video.path) == "here" for entry in source.entries)
    return in_place or 2 * matching >= len(source.entries)


def _failures(home: Path, library: str, new: Sequence[Video]) -> dict[str, Failure]:
    """Return the noted failures of a library's files that are gone, and here, by their id here."""
    noted = {
        failure.video.fingerprint: failure
        for failure in read_failures(home, library).values()
        if _whereabouts(failure.video.path) == "gone"
    }
    return {
        video.video_id: replace(noted[video.fingerprint], video=video)
        for video in new
        if video.fingerprint in noted and _same_state(noted[video.fingerprint].video, video)
    }


def _same_state(one: Video, other: Video) -> bool:
    return (one.size, one.mtime_ns) == (other.size, other.mtime_ns)


def _notes(source: _Source, moved: int, left: Sequence[Video], root: Path) -> list[str]:
    """Return messages about a library of which so many videos have moved here."""
    name, notes = source.library, []
    staying = len(source.entries) - moved
    if moved and not staying:
        folder = root.resolve().name
        notes.append(f"{folder}/ looks like '{name}', moved: {_videos(moved)} re-homed.")
    elif moved:
        notes.append(
            f"Moved here from '{name}': {_videos(moved)}, re-homed; it keeps {_videos(staying)}."
        )
    same = sum(video.fingerprint in source.contents for video in left)
    if same and source.movable and not moved:
        notes.append(
            f"Also in '{name}', most of which is neither here nor where it was: {_videos(same)}. "
            "Its disk may be away, so it keeps what it has; if that is gone for good, "
            f"'vidsim remove {name}' takes it out."
        )
    elif same:
        notes.append(
            f"Also in '{name}', which still has its files: {_videos(same)}. Both libraries hold "
            "them."
        )
    return notes


def _videos(number: int) -> str:
    return f"{number:,} video" + ("s" if number != 1 else "")
