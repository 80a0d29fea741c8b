"""Libraries as a person handles them: list, find, remove, reindex."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ..schemas.errors import LibraryError
from ..schemas.results import LibrarySummary
from ..schemas.video import Video
from .home import Place, expected_rows, open_shards, stored_root, writing
from .index import reindex, remove
from .progress import Progress
from .store import open_store


def summarize(home: Path) -> list[LibrarySummary]:
    """What each library under `home` holds, by name.

    Raises:
        StoreError: A shard cannot be read.
    """
    shards = open_shards(home)
    found = []
    for library in shards.libraries():
        entries = list(shards.catalog(library).values())
        found.append(
            LibrarySummary(
                library=library,
                videos=len(entries),
                segments=sum(e.segments for e in entries),
                hours=sum(e.duration_s for e in entries) / 3600,
                rows=expected_rows({e.video.video_id: e for e in entries}),
                root=_origin(entries[0].video),
            )
        )
    return found


def _origin(video: Video) -> str:
    """The folder a library was made from, the site of its addresses, or that it was imported."""
    address = urlsplit(video.path)
    site = f"{address.scheme}://{address.netloc}" if address.netloc else "imported files"
    return str(stored_root(video) or site)


def list_videos(home: Path) -> list[str]:
    """Ids of all stored videos, by library."""
    shards = open_shards(home)
    return [i for library in shards.libraries() for i in sorted(shards.catalog(library))]


def find(home: Path, names: Sequence[str]) -> dict[str, list[str]]:
    """Video ids by library, for names of libraries and ids of videos.

    Raises:
        LibraryError: A name that is neither.
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
    """Removes videos, as `find` gives them, from Milvus and the shards.

    Raises:
        StoreError: Another process holds the store, or it cannot be written.
    """
    with writing(place.home), open_store(place, writing=True) as store:
        for library, video_ids in found.items():
            remove(store, open_shards(place.home), library, video_ids, place.home)


def reindex_all(
    place: Place, libraries: Sequence[str], progress: Progress
) -> tuple[dict[str, int], list[str]]:
    """Writes libraries (all, where none is named) from their shards to Milvus anew.

    Returns:
        Rows written by backbone, and notes for a person.

    Raises:
        LibraryError: A library that is not there.
        StoreError: Another process holds the store, or it cannot be written.
    """
    shards = open_shards(place.home)
    known = shards.libraries()
    for name in libraries:
        if name not in known:
            raise LibraryError(
                f"No library is called {name}; there is {', '.join(known) or 'none'}."
            )
    with writing(place.home), open_store(place, writing=True) as store:
        written = reindex(store, shards, libraries or known, place.home, progress)
        return written, store.notes
