"""Operations on libraries: list, find, remove, reindex, verify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ...schemas.errors import LibraryError
from ...schemas.results import LibrarySummary, StoredVideo, VerifyReport
from ...schemas.video import Video
from ..milvus.store import open_store
from ..shards.home import (
    Home,
    Place,
    open_shards,
    stored_root,
    trust,
)
from ..shards.lock import writing
from ..system.progress import Progress
from .repair import reindex, remove
from .verify import Sample, compare


def summarize(place: Place) -> list[LibrarySummary]:
    """Summarise what each library of `place` holds, by name.

    Raises:
        StoreError: A shard cannot be read.
    """
    home = Home(place)
    found = []
    for library in home.shards.libraries():
        catalog = home.shards.catalog(library)
        entries = list(catalog.values())
        found.append(
            LibrarySummary(
                library=library,
                videos=len(entries),
                segments=sum(e.segments for e in entries),
                hours=sum(e.duration_s for e in entries) / 3600,
                rows=home.rows(catalog),
                root=_origin(entries[0].video),
            )
        )
    return found


def _origin(video: Video) -> str:
    """Return a library's source: its folder, the site of its addresses, or that it was imported."""
    address = urlsplit(video.path)
    site = f"{address.scheme}://{address.netloc}" if address.netloc else "imported files"
    return str(stored_root(video) or site)


def list_videos(home: Path) -> list[StoredVideo]:
    """List all stored videos, by library and id."""
    shards = open_shards(home)
    return [
        StoredVideo(video_id=video_id, damage=entry.damage.describe())
        for library in shards.libraries()
        for video_id, entry in sorted(shards.catalog(library).items())
    ]


def find(home: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Find video ids by library, from names of libraries and ids of videos.

    Raises:
        LibraryError: A name is neither.
    """
    shards = open_shards(home)
    libraries = shards.libraries()
    found: dict[str, dict[str, None]] = {}  # in order, each once
    for name in names:
        library = name.partition("/")[0]
        catalog = shards.catalog(library) if library in libraries else {}
        if name in libraries:
            found[name] = dict.fromkeys(catalog)
        elif name in catalog:
            found.setdefault(library, {})[name] = None
        else:
            raise LibraryError(
                f"{name} is no library and no stored video; 'vidsim libraries' lists them "
                "('--videos' the ids)."
            )
    return {library: list(video_ids) for library, video_ids in found.items()}


def remove_all(place: Place, found: Mapping[str, Sequence[str]]) -> None:
    """Remove videos, as `find` gives them, from Milvus and the shards.

    Raises:
        StoreError: Another process holds the store, or it cannot be written.
    """
    home = Home(place)
    with writing(home.path, "removal", place.wait), open_store(place, writing=True) as store:
        for library, video_ids in found.items():
            remove(store, home, library, video_ids)


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
    place: Place, libraries: Sequence[str], sample: Sample, progress: Progress, repair: bool = False
) -> VerifyReport:
    """Compare libraries (all, where none is named) with Milvus row by row.

    Args:
        place: Home of the shards, and the Milvus to compare.
        libraries: Names of libraries.
        sample: Which vectors to compare too.
        progress: Receives the progress of the rows.
        repair: Whether to write what is missing or differs, and to delete what is extra.

    Raises:
        LibraryError: A library does not exist.
        StoreError: Another process is writing, or Milvus or a shard cannot be read.
    """
    home = _opened(place, libraries)
    with (
        writing(place.home, "repair" if repair else "comparison", place.wait),
        open_store(place, writing=repair, latest=True) as store,
    ):
        report = compare(store, home, libraries, sample, progress, repair=repair)
        # A sample may miss a re-embedded video; reindex reads a row of each.
        for library in (libraries or home.shards.libraries()) if repair and sample == "all" else ():
            trust(place.home, library, store.name)
        return report.model_copy(update={"notes": store.notes})


def _opened(place: Place, libraries: Sequence[str]) -> Home:
    """Open the home of `place`; raise LibraryError for a library that has no shard there."""
    home = Home(place)
    known = home.shards.libraries()
    for name in libraries:
        if name not in known:
            raise LibraryError(
                f"No library is called {name}; there is {', '.join(known) or 'none'}."
            )
    return home
