"""Folders that may be ingested, by ids that stand for them: no path of a client is followed.

Only what lies below the folders that the server was started with, or those of known libraries, has
an id; a link that leads out of them has none.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from pydantic import Field

from ....ingest.discover.listing import is_passed_over
from ....ingest.discover.media_types import SUFFIXES
from ....ingest.shards.home import read_notes, stored_root
from ....schemas.errors import LibraryError
from ....schemas.results import Result

_MOST_KNOWN = 100_000
"""Ids that are known at once; the one that was told longest ago goes first."""

_MOST_LISTED = 2_000
"""Folders in one answer."""

_MOST_COUNTED = 50_000
"""Entries that are looked at to count the files of one answer: a fifth of a second on a disk."""


class Folder(Result):
    """A folder that may be ingested."""

    folder: str = Field(
        description="its id, for as long as the server runs", examples=["d41f0c2b9a7e35c8aa10"]
    )
    name: str = Field(examples=["UCF-101"])
    path: str = Field(description="where it is, for people")
    parent: str | None = Field(description="id of the folder that holds it; null for a root")
    library: str = Field(description="the library whose folder it is; empty for none")
    videos: int | None = Field(
        description="media files in it and below, by their names; null where counting takes long"
    )


class FolderList(Result):
    """What is in a folder, or the roots."""

    folder: Folder | None = Field(description="the folder that was asked for; null for the roots")
    folders: list[Folder] = Field(description="by name")
    more: bool = Field(default=False, description="there are more than are listed")


@dataclass(frozen=True)
class _Known:
    """A folder that has an id, by its real path.

    Attributes:
        root: The root that it lies in.
        path: The folder.
    """

    root: Path
    path: Path


class Folders:
    """The folders that may be ingested; any thread may call."""

    def __init__(self, home: Path, roots: Sequence[Path] = ()) -> None:
        """Prepare.

        Args:
            home: The home of the known libraries.
            roots: Other folders.
        """
        self._home = home
        self._roots = roots
        self._key = secrets.token_bytes(32)
        self._lock = Lock()
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def listed(self, parent: str | None = None) -> FolderList:
        """List the roots, or the folders in one folder.

        Args:
            parent: The id of a folder; None for the roots.

        Raises:
            LibraryError: The id is not known, or the folder is gone or cannot be listed.
            StoreError: What is known of a library cannot be read.
        """
        libraries = {root: library for library, root in self._library_roots().items()}
        left = _Budget(_MOST_COUNTED)
        if parent is None:
            roots = dict.fromkeys(
                path for each in (*self._roots, *libraries) if (path := _real(each)) is not None
            )
            found = [_Known(path, path) for path in roots]
            return FolderList(
                folder=None, folders=[self._described(each, libraries, left) for each in found]
            )
        known = self._find(parent)
        try:
            inside = sorted(_inside(known, self._home), key=lambda each: each.path.name.casefold())
        except OSError as error:
            raise LibraryError(
                f"{known.path} cannot be listed ({error.strerror}); choose another folder."
            ) from error
        return FolderList(
            folder=self._described(known, libraries, _Budget(0)),
            folders=[self._described(each, libraries, left) for each in inside[:_MOST_LISTED]],
            more=len(inside) > _MOST_LISTED,
        )

    def choose(self, folder: str) -> tuple[Path, str | None]:
        """Return the path that an id stands for, and the library whose folder it is, if it is.

        Raises:
            LibraryError: The id is not known, or the folder is gone.
            StoreError: What is known of a library cannot be read.
        """
        path = self._find(folder).path
        return path, next((n for n, root in self._library_roots().items() if root == path), None)

    def of_library(self, library: str) -> Path:
        """Return the folder of a known library.

        Raises:
            LibraryError: It is not known, or has no folder here.
            StoreError: What is known of a library cannot be read.
        """
        found = self._library_roots().get(library)
        if found is None:
            raise LibraryError(
                f"{library} is no library that has a folder here; /v1/folders lists what may be "
                "ingested."
            )
        return found

    def allows(self, folder: Path) -> bool:
        """Return whether a folder lies below a root, or is a known library's.

        Raises:
            StoreError: What is known of a library cannot be read.
        """
        real = _real(folder)
        roots = (_real(each) for each in (*self._roots, *self._library_roots().values()))
        return real is not None and any(root and real.is_relative_to(root) for root in roots)

    def _library_roots(self) -> dict[str, Path]:
        roots = {
            library: _real(stored_root(note.first)) if note.first else None
            for library, note in read_notes(self._home).items()
        }
        return {library: root for library, root in roots.items() if root is not None}

    def _find(self, folder: str) -> _Known:
        with self._lock:
            known = self._known.get(folder)
        if known is None:
            raise LibraryError("This folder is not known any more; list the folders again.")
        if _real(known.path) != known.path:  # gone, or a link has taken its place
            raise LibraryError(f"{known.path} is gone; list the folders again.")
        return known

    def _described(self, known: _Known, libraries: dict[Path, str], left: _Budget) -> Folder:
        path = known.path
        return Folder(
            folder=self._id(known),
            name=path.name or str(path),
            path=str(path),
            parent=None if path == known.root else self._id(_Known(known.root, path.parent)),
            library=libraries.get(path, ""),
            videos=_count(path, left),
        )

    def _id(self, known: _Known) -> str:
        told = f"{known.root}\0{known.path}".encode()
        folder = hmac.digest(self._key, told, hashlib.sha256).hex()[:20]
        with self._lock:
            self._known[folder] = known
            self._known.move_to_end(folder)
            while len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return folder


def _real(path: Path | None) -> Path | None:
    """Return the real path of a folder; None where there is none, or its name is no valid text."""
    if path is None:
        return None
    try:
        real = path.resolve(strict=True)
        str(real).encode()
    except (OSError, RuntimeError, UnicodeEncodeError):
        return None
    return real if real.is_dir() else None


def _inside(known: _Known, home: Path) -> Iterator[_Known]:
    """Yield the folders in a folder, without hidden ones, and links that lead out of its root.

    The home is left out: uploads of others are in it.

    Raises:
        OSError: It cannot be listed.
    """
    seen = {home.resolve()}
    with os.scandir(known.path) as entries:
        for entry in entries:
            if is_passed_over(entry.name):
                continue
            path = _real(Path(entry.path))
            if path is None or path in seen or not path.is_relative_to(known.root):
                continue
            if known.path.is_relative_to(path):  # a link to what holds it
                continue
            seen.add(path)
            yield _Known(known.root, path)


class _Budget:
    """How many entries may still be looked at."""

    def __init__(self, left: int) -> None:
        self.left = left


def _count(folder: Path, budget: _Budget) -> int | None:
    """Return how many media files lie in a folder and below; None once the budget is spent."""
    found = 0
    for _, folders, files in os.walk(folder):
        budget.left -= len(folders) + len(files) + 1
        if budget.left < 0:
            return None
        folders[:] = [name for name in folders if not is_passed_over(name)]
        found += sum(
            os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")
            for name in files
        )
    return found
