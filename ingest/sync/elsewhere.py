"""Videos of other libraries whose content comes again in a folder: moved here, or copied.

A stored video whose file is gone, and whose content is here, has moved, and keeps its embeddings.
Where no file of its library is in place any more, at least half of them must be here: the disk of
the others may only be away. One whose rows are of other weights than those here is embedded again.
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
from .one_weights import other_weights_of, weights_to_have

_log = logging.getLogger(__name__)

_NEARLY_ALL = 0.9
"""Part of a folder's files that makes it the folder that another library was of (a choice)."""

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
        staying: What became of those with content of the folder that are not known to be gone, by
            fingerprint; "here" where one of several is.
        begun: Whether an interrupted run had begun to move it.
        movable: Videos whose file is gone.
        left: As in `Elsewhere`.
    """

    library: str
    entries: Sequence[CatalogEntry]
    staying: Mapping[str, _Whereabouts]
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

    Raises:
        WeightsError: The weights here cannot be read.
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
            begun_there = {i: to for i, to in unfinished.items() if i.startswith(f"{other}/")}
            found.unfinished |= begun_there
        found.failures |= _failures(home.path, other, new)
    _take_over(sources, home, root, new, catalog, found)
    return found


def _take_over(
    sources: Sequence[_Source],
    home: Home,
    root: Path,
    new: Sequence[Video],
    catalog: Mapping[str, CatalogEntry],
    found: Elsewhere,
) -> None:
    """Add to `found` what is taken over, of the library first that has the most, and the notes."""
    matching = {s.library: len(match(new, s.movable)) for s in sources}
    sources = sorted(sources, key=lambda s: -matching[s.library])
    movable = {
        s.library: s.movable
        for s in sources
        if matching[s.library] and (s.begun or _has_moved(s, matching[s.library]))
    }
    offered = [m.stored for m in match(new, [e for of in movable.values() for e in of])]
    embedding = bool(catalog) or len(offered) < len(new)
    wanted = weights_to_have(home.backbones, catalog, offered, embedding)
    left, moved = list(new), {}
    for source in sources:
        joining = [e for e in movable.get(source.library, ()) if not other_weights_of(e, wanted)]
        moves = match(left, joining)
        left = _without(left, moves)
        found.moves += moves
        found.left += source.left
        moved[source.library] = len(moves) + len(source.left)
    files = len({video.video_id for video in new} | catalog.keys())
    for source in sources:
        others = [e for e in movable.get(source.library, ()) if other_weights_of(e, wanted)]
        refused = match(left, others)
        found.notes += _moved_note(source, moved[source.library], files, root)
        found.notes += _refused_note(source, refused, wanted)
        found.notes += _notes(source, _without(left, refused), away=source.library not in movable)


def _without(videos: Sequence[Video], moves: Sequence[Move]) -> list[Video]:
    """Return those of `videos` that are not of `moves`."""
    moved = {move.video.video_id for move in moves}
    return [video for video in videos if video.video_id not in moved]


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
    staying: dict[str, _Whereabouts] = {}
    for entry in entries:
        video_id = entry.video.video_id
        if entry.video.fingerprint not in contents and video_id not in unfinished:
            continue
        where = "gone" if stored_root(entry.video) in renamed else _whereabouts(entry.video.path)
        if where == "unknown" and video_id in unfinished:
            found.unfinished[video_id] = unfinished[video_id]
        if where != "gone":
            if staying.get(entry.video.fingerprint) != "here":
                staying[entry.video.fingerprint] = where
            continue
        if replaces(catalog.get(unfinished.get(video_id, "")), entry):
            left.append(video_id)
        elif entry.shards:
            gone.append(entry)
    begun = any(old.partition("/")[0] == library for old in unfinished)
    return _Source(library, entries, staying, begun, gone, left)


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


def _moved_note(source: _Source, moved: int, files: int, root: Path) -> list[str]:
    """Return what to say of a library of which so many videos are among the files of a folder."""
    if not moved:
        return []
    staying = len(source.entries) - moved
    if not staying and moved >= _NEARLY_ALL * files:
        folder = root.resolve().name
        return [f"{folder}/ looks like '{source.library}', moved: {_videos(moved)} re-homed."]
    kept = f"it keeps {_videos(staying)}" if staying else "it has no other"
    return [f"Moved here from '{source.library}': {_videos(moved)}, re-homed; {kept}."]


def _refused_note(
    source: _Source, refused: Sequence[Move], wanted: Mapping[str, Collection[str]]
) -> list[str]:
    """Return what to say of moved files whose rows have other weights than are `wanted`."""
    if not refused:
        return []
    names = {name for move in refused for name in other_weights_of(move.stored, wanted)}
    return [
        f"Moved here from '{source.library}', with rows of other weights of "
        f"{' and '.join(sorted(names))} than those used here: {_videos(len(refused))}, embedded "
        f"anew; '{source.library}' keeps the old rows until 'vidsim remove' takes them out."
    ]


def _notes(source: _Source, left: Sequence[Video], away: bool) -> list[str]:
    """Return messages about a library that has content of files which have not moved from it.

    Args:
        source: The library.
        left: Files that nothing was taken over for.
        away: Whether its disk may be away.
    """
    name, notes = source.library, []
    contents = [video.fingerprint for video in left]
    gone = {entry.video.fingerprint for entry in source.movable} - source.staying.keys()
    if away and (same := sum(content in gone for content in contents)):
        notes.append(
            f"Also in '{name}', most of which is neither here nor where it was: {_videos(same)}. "
            "Its disk may be away, so it keeps what it has; if that is gone for good, "
            f"'vidsim remove {name}' takes it out."
        )
    found = [source.staying.get(content) for content in contents]
    if same := found.count("here"):
        notes.append(
            f"Also in '{name}', which still has its files: {_videos(same)}. Both libraries hold "
            "them."
        )
    if same := found.count("unknown"):
        notes.append(
            f"Also in '{name}', which may still have its files (they cannot be looked for): "
            f"{_videos(same)}. Both libraries hold them."
        )
    return notes


def _videos(number: int) -> str:
    return f"{number:,} video" + ("s" if number != 1 else "")
