"""Operations on libraries: list, remove, reindex, verify."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from ...schemas.answer import count
from ...schemas.errors import StoreError
from ...schemas.results import CompactedLibrary, LibrarySummary, VerifyReport
from ..milvus.connection import server_name
from ..milvus.store import open_store
from ..shards.check import check_library, move_aside
from ..shards.compact import compact
from ..shards.home import (
    Home,
    Place,
    outdated,
    trust,
)
from ..shards.lock import Holder, holder, writing
from ..system.progress import Progress, Silent
from ..system.unknown_names import unknown_library
from ..system.unwritable import may_be_written
from .every_file import mend, read_every_file
from .failed_files import write_failures
from .repair import bring_in_step, forget_removed, reindex, remove
from .roots import Root, look_at_root, origin
from .rotation import next_shards, note_turn
from .verify import Sample, compare


def summarize(place: Place) -> list[LibrarySummary]:
    """Summarise what each library of `place` holds, by name.

    Raises:
        StoreError: A shard cannot be read.
    """
    home = Home(place)
    found = []
    for library in home.shards.libraries():
        note = home.note(library)
        damage = home.shards.problems(library)
        if not note.videos and not damage:
            continue  # it was removed just now
        try:
            root = look_at_root(home, library, note.first)
        except StoreError as error:
            root, damage = Root("unknown"), [*damage, str(error)]
        found.append(
            LibrarySummary(
                library=library,
                videos=note.videos,
                segments=note.segments,
                hours=note.seconds / 3600,
                rows={name: of["rows"] for name, of in note.counts.items()},
                root=origin(note.first) if note.first else "nothing that is left",
                root_state=root.state,
                looked_at=root.looked_at,
                missing=root.missing,
                damage=damage,
            )
        )
    return found


def mend_interrupted(place: Place) -> None:
    """Bring the Milvus of a home in step where an interrupted command left it marked as outdated.

    Raises:
        StoreError: Another process holds the home, or it cannot be read or written.
    """
    home = Home(place)
    if place.uri or not outdated(home.path, server_name(place)):
        return
    with writing(home.path, "repair", place.wait), open_store(place, writing=True) as store:
        for library in sorted(outdated(home.path, store.name) & {*home.shards.libraries()}):
            bring_in_step(store, home, library, Silent())
        forget_removed(store, home)


def remove_all(
    place: Place, found: Mapping[str, Sequence[str]], whole: Collection[str] = ()
) -> None:
    """Remove videos, as `stored_videos.find` gives them, from Milvus and the shards.

    Args:
        place: Home of the shards, and the Milvus to write to.
        found: Ids by library.
        whole: Libraries to remove with all that a lost shard of them held.

    Raises:
        StoreError: Another process holds the store, or it cannot be written.
    """
    home = Home(place)
    with writing(home.path, "removal", place.wait), open_store(place, writing=True) as store:
        for library, video_ids in found.items():
            home.shards.adopt(library)
            catalog = home.shards.catalog(library)  # without what an interrupted run was removing
            remove(store, home, library, [i for i in video_ids if i in catalog])
            if library in whole:
                for backbone in store.backbones():
                    store.delete_library(backbone, library)
                home.shards.settle(library)
                write_failures(home.path, library, {})


def reindex_all(
    place: Place, libraries: Sequence[str], progress: Progress, fresh: bool = False
) -> VerifyReport:
    """Bring Milvus in step with the shards of libraries (all, where none is named).

    Args:
        place: Home of the shards, and the Milvus to write to.
        libraries: Names of libraries.
        progress: Receives the progress of the rows.
        fresh: Whether to delete all rows of the libraries first.

    Raises:
        LibraryError: A library does not exist.
        StoreError: Another process holds the store, or it cannot be written.
    """
    home = _opened(place, libraries)
    with writing(home.path, "reindexing", place.wait), open_store(place, writing=True) as store:
        report = reindex(store, home, libraries, progress, fresh)
        return report.model_copy(update={"notes": store.notes})


def verify_all(
    place: Place,
    libraries: Sequence[str],
    sample: Sample,
    progress: Progress,
    repair: bool = False,
    give_up: bool = False,
    deep: bool = False,
    percent: float | None = None,
) -> VerifyReport:
    """Check the shards of libraries (all, where none is named), and compare Milvus with them.

    While another process writes to the home, or where it may only be read, an embedded Milvus is
    left out, and nothing is locked.

    Args:
        place: Home of the shards, and the Milvus to compare.
        libraries: Names of libraries.
        sample: Which vectors to compare too.
        progress: Receives the progress of the rows.
        repair: Whether to move damaged shards away, to write to Milvus what is missing or differs,
            and to delete from it what is extra.
        give_up: With `repair`, whether missing shards are given up first, and with them what only
            they held and Milvus may still have.
        deep: Whether every other file of the home is read too, and weights in the cache.
        percent: Of the shards of each library, those to read now, by turns, with all vectors of
            their videos; None for all shards.

    Raises:
        LibraryError: A library does not exist.
        StoreError: Another process is writing (to repair), or Milvus or a shard cannot be read.
    """
    home = _opened(place, libraries)
    named = list(libraries or home.shards.libraries())
    only = None if percent is None else next_shards(home, named, percent)
    files, wrong = read_every_file(home, progress) if deep else ([], [])
    report = _verify(place, home, libraries, sample, progress, repair, give_up, only)
    damage, mended = mend(wrong, repair)
    known = sum(len(home.shards.files(library)) for library in named)
    # What was found wrong has its turn again, until it is mended.
    right = not (report.damage or damage or any(c.wrong for c in report.comparisons))
    noted = note_turn(home, only) if only and right and may_be_written(home.path) else ""
    return report.model_copy(
        update={
            "damage": [*report.damage, *damage],
            "mended": mended,
            "lost": [said for library in named if deep and (said := _lost(home, library))],
            "files": files,
            "shards_read": sum(map(len, only.values())) if only is not None else known,
            "shards_known": known,
            "notes": [*report.notes, *([noted] if noted else [])],
        }
    )


def _lost(home: Home, library: str) -> str:
    """Return a sentence about the videos of which no shard is left; "" where none is missing."""
    videos = home.shards.videos_of_missing(library)
    if not videos:
        return ""
    return (
        f"{count(videos, 'video')} of {library} {'is' if videos == 1 else 'are'} in no shard any "
        "more, as far as later ones do not hold the same: put the shard back from a copy, or run "
        f"'vidsim ingest' on the folder of {library}; what is not there any more is lost for good."
    )


def _verify(
    place: Place,
    home: Home,
    libraries: Sequence[str],
    sample: Sample,
    progress: Progress,
    repair: bool,
    give_up: bool,
    only: Mapping[str, Sequence[Path]] | None,
) -> VerifyReport:
    named = list(libraries or home.shards.libraries())
    embedded_alone = not repair and not place.uri
    if embedded_alone and (found := holder(home.path)):
        return _without_milvus(home, named, progress, found, only)
    with ExitStack() as stack:
        if repair or may_be_written(home.path):
            doing = "repair" if repair else "comparison"
            try:
                stack.enter_context(writing(place.home, doing, place.wait, changes=repair))
            except StoreError:
                if embedded_alone and (found := holder(home.path)):  # it has begun just now
                    return _without_milvus(home, named, progress, found, only)
                raise
        given_up = _give_up(home, named) if repair and give_up else []
        damage, notes, readable = _check_shards(home, named, progress, repair, only)
        store = stack.enter_context(open_store(place, writing=repair, latest=True))
        if readable or not named:
            compared = readable if libraries or len(readable) < len(named) else ()
            report = compare(store, home, compared, sample, progress, repair=repair, only=only)
        else:
            report = VerifyReport(milvus=store.name, comparisons=[], elsewhere={})
        for library in readable if repair else ():
            home.write_note(library, home.shards.catalog(library))
            if sample == "all":  # a sample may miss a re-embedded video; reindex reads one of each
                trust(place.home, library, store.name)
        notes = [*given_up, *notes, *store.notes]
        return report.model_copy(update={"damage": damage, "notes": notes})


def _give_up(home: Home, libraries: Sequence[str]) -> list[str]:
    """List missing shards no more; return notes about them."""
    notes = []
    for library in libraries:
        if missing := home.shards.missing(library):
            home.shards.settle(library)
            notes.append(f"The shards {', '.join(missing)} of {library} are given up.")
    return notes


def _without_milvus(
    home: Home,
    libraries: Sequence[str],
    progress: Progress,
    held_by: Holder,
    only: Mapping[str, Sequence[Path]] | None,
) -> VerifyReport:
    """Check the shards alone, while another process holds Milvus Lite."""
    damage, _, _ = _check_shards(home, libraries, progress, False, only)
    note = (
        f"{held_by.note()[:-1]}; Milvus Lite is compared once it has ended."
        if held_by.changes
        else f"Process {held_by.pid} ({held_by.doing}) reads Milvus Lite; it is compared here once "
        "that has ended."
    )
    return VerifyReport(
        milvus="embedded", comparisons=[], elsewhere={}, damage=damage, notes=[note]
    )


def compact_all(
    place: Place, libraries: Sequence[str], progress: Progress
) -> list[CompactedLibrary]:
    """Merge the small shards of libraries (all, where none is named).

    Raises:
        LibraryError: A library does not exist.
        StoreError: Another process is writing, or a shard cannot be read or written.
    """
    home = _opened(place, libraries)
    found = []
    with writing(home.path, "compaction", place.wait):
        named = libraries or home.shards.libraries()
        progress.start("compacting", len(named), "libraries")
        for library in named:
            home.shards.adopt(library)
            before, after = compact(home.shards, library)
            found.append(CompactedLibrary(library=library, before=before, after=after))
            home.write_note(library, home.shards.catalog(library))
            progress.advance("compacting", 1)
        progress.finish("compacting")
    return found


def _check_shards(
    home: Home,
    libraries: Sequence[str],
    progress: Progress,
    repair: bool,
    only: Mapping[str, Sequence[Path]] | None,
) -> tuple[list[str], list[str], list[str]]:
    """Read shards, and mend what can be mended.

    Returns:
        What is wrong with them still, what was done, and the libraries that can be read.
    """
    damage, done, readable = [], [], []
    shards = home.shards
    for library in libraries:
        wrong = check_library(shards, library, progress, only[library] if only else None)
        broken = [w for w in wrong if w.kind in ("damaged", "another")]
        changed = [w for w in wrong if w.kind == "changed"]
        if repair:
            whole = {*shards.unlisted(library), *(w.path.name for w in changed)}
            shards.adopt(
                library, whole - {w.path.name for w in broken}, [w.path.name for w in broken]
            )
            done += [move_aside(shards, library, w.path) for w in broken]
            done += [f"{w.path} was changed, and is listed as it is now." for w in changed]
        damage += [w.sentence for w in wrong if not repair or w.kind == "foreign"]
        damage += [
            problem
            for problem in shards.problems(library)
            if repair or not any(str(w.path) in problem for w in wrong)
        ]
        if not any(w.kind == "foreign" or (w in broken and not repair) for w in wrong):
            readable.append(library)
    return damage, done, readable


def _opened(place: Place, libraries: Sequence[str]) -> Home:
    """Open the home of `place`; raise LibraryError for a library that has no shard there."""
    home = Home(place)
    known = home.shards.libraries()
    for name in libraries:
        if name not in known:
            raise unknown_library(name, known)
    return home
