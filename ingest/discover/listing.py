"""Folder listing: media files, skipped entries, and folders that cannot be listed."""

from __future__ import annotations

import errno
import os
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .media_types import NEVER, SNIFFED_BYTES, SUFFIXES, TEXT_TOO, is_media, is_text
from .regular_file import NotRegularError, odd_kind, open_regular

Kind = Literal[
    "system_folders",
    "hidden_folders",
    "hidden_files",
    "no_media",
    "sockets",
    "pipes",
    "devices",
    "broken_links",
    "known_folders",
    "looping_links",
    "unreadable",
    "unlisted_folders",
]
"""Why an entry is skipped."""

_TOLD: dict[str, tuple[str, str]] = {
    "system_folders": ("system folder", "system folders"),
    "hidden_folders": ("hidden folder", "hidden folders"),
    "hidden_files": ("hidden file", "hidden files"),
    "no_media": ("file that is no media", "files that are no media"),
    "sockets": ("socket", "sockets"),
    "pipes": ("named pipe", "named pipes"),
    "devices": ("device", "devices"),
    "broken_links": ("link that leads nowhere", "links that lead nowhere"),
    "known_folders": ("folder known by another path", "folders known by another path"),
    "looping_links": ("link to a folder that holds it", "links to folders that hold them"),
    "unreadable": ("file that cannot be read", "files that cannot be read"),
    "unlisted_folders": ("folder that cannot be listed", "folders that cannot be listed"),
}

_ODD: dict[str | None, Kind] = {"socket": "sockets", "pipe": "pipes", "device": "devices"}

_SYSTEM_FOLDER = re.compile(
    r"@eaDir|#recycle|#snapshot|@tmp|@sharebin"  # Synology
    r"|@Recycle|@Recently-Snapshot|\.@__thumb|\.@upload_cache"  # QNAP
    r"|\$RECYCLE\.BIN|(?-i:RECYCLER|FOUND\.\d{3})|System Volume Information"  # Windows
    r"|__MACOSX|\.Spotlight-V100|\.fseventsd|\.DocumentRevisions-V100|\.TemporaryItems"  # macOS
    r"|\.AppleDouble|Network Trash Folder|Temporary Items"  # its network shares
    r"|\.Trash.*|\.recycle|lost\+found|\.zfs|\.snapshots?|~snapshot",  # Linux, Samba, ZFS, NetApp
    re.IGNORECASE,
)
"""Folders that systems reserve: bins, snapshots, thumbnails, each by its documented name."""

_NOTED = 3
"""Most folders that a note names; the report has them all."""


@dataclass
class Listing:
    """The contents of a folder.

    Attributes:
        files: Media files, sorted.
        passed_over: Skipped entries by kind, sorted; skipped folders were not searched.
        unlisted: Why a folder, or its rest, could not be listed, or a link to one is broken: its
            contents are unknown.
    """

    files: list[Path] = field(default_factory=list)
    passed_over: dict[str, list[Path]] = field(default_factory=dict)
    unlisted: dict[Path, str] = field(default_factory=dict)

    def pass_over(self, kind: Kind, path: Path) -> None:
        """Record a skipped entry."""
        self.passed_over.setdefault(kind, []).append(path)

    def cannot_list(self, folder: Path, error: OSError) -> None:
        """Record a folder whose contents are not fully known."""
        if folder not in self.unlisted:
            self.pass_over("unlisted_folders", folder)
            self.unlisted[folder] = error.strerror or str(error)


def list_folder(root: Path) -> Listing:
    """List the files under `root`, following links to folders.

    Targets of links come last, under the link's path, and only if not listed already: so no link
    changes the name of a file that lies in the folder itself. A link to a folder that contains
    the link is not followed. Only regular files are opened.
    """
    listing = Listing()
    seen: set[tuple[int, int] | str] = set()
    folders, links = deque([(root, False)]), deque[Path]()
    while folders or links:
        folder, linked = folders.popleft() if folders else (links.popleft(), True)
        try:
            identity = _identity(folder)
            kind = _kind_of_path(folder, identity in seen) if linked else None
            entries = [] if kind else _entries(folder, listing)
        except OSError as error:
            listing.cannot_list(folder, error)
            continue
        if kind:
            listing.pass_over(kind, folder)
            continue
        seen.add(identity)
        for entry in entries:
            path = Path(entry.path)
            try:
                is_folder = entry.is_dir()
                if is_folder and (kind := _kind_of_folder(entry.name)):
                    listing.pass_over(kind, path)
                elif is_folder and entry.is_symlink():
                    links.append(path)
                elif is_folder:
                    folders.append((path, linked))
                else:
                    _take_file(entry, path, listing)
            except OSError as error:
                _take_unknown(path, error, listing)
    listing.files.sort()
    for found in listing.passed_over.values():
        found.sort()
    return listing


def describe_passed_over(passed_over: Mapping[str, Sequence[object]]) -> str:
    """Summarise skipped entries in a line: "3 system folders, 1 socket"; "" for none."""
    return ", ".join(
        f"{len(passed_over[kind]):,} {_TOLD[kind][len(passed_over[kind]) != 1]}"
        for kind in _TOLD
        if passed_over.get(kind)
    )


def describe_kind(kind: str) -> str:
    """Return the singular name of a kind: "socket"."""
    return _TOLD[kind][0]


def unlisted_note(listing: Listing, root: Path) -> str | None:
    """Return a sentence on the folders that could not be listed; None where all could."""
    folders = listing.passed_over.get("unlisted_folders", [])
    if not folders:
        return None
    told = "; ".join(
        f"{printable(path.relative_to(root))}: {listing.unlisted[path]}"
        for path in folders[:_NOTED]
    )
    more = f"; and {len(folders) - _NOTED:,} more" if len(folders) > _NOTED else ""
    what = "1 folder" if len(folders) == 1 else f"{len(folders):,} folders"
    return (
        f"{what} could not be listed ({told}{more}); no stored video there counts as gone. "
        "Ingest again once that is mended."
    )


def printable(path: Path) -> str:
    """Return a path as valid text for JSON, with non-UTF-8 bytes escaped."""
    return str(path).encode(errors="backslashreplace").decode()


def is_passed_over(name: str) -> bool:
    """Return whether a folder of this name is skipped: a hidden one, or a system's own."""
    return _kind_of_folder(name) is not None


def _entries(folder: Path, listing: Listing) -> list[os.DirEntry[str]]:
    """Return a folder's entries by name; after a read error, those read until then."""
    entries: list[os.DirEntry[str]] = []
    with os.scandir(folder) as found:
        try:
            for entry in found:
                entries.append(entry)  # one by one: an error keeps what came before
        except OSError as error:
            listing.cannot_list(folder, error)
    return sorted(entries, key=lambda entry: entry.name)


def _identity(folder: Path) -> tuple[int, int] | str:
    """Return a folder's identity, whatever path leads to it."""
    found = folder.stat()
    if found.st_ino:
        return found.st_dev, found.st_ino
    return os.path.realpath(folder)  # some network and user-space file systems lack inode numbers


def _kind_of_path(folder: Path, known: bool) -> Kind | None:
    """Return why the target folder of a link is skipped, if it is."""
    if known:
        return "known_folders"
    if not folder.is_symlink():
        return None
    target, place = Path(os.path.realpath(folder)), Path(os.path.realpath(folder.parent))
    return "looping_links" if target == place or target in place.parents else None


def _kind_of_folder(name: str) -> Kind | None:
    """Return why a folder of this name is skipped, if it is."""
    if _SYSTEM_FOLDER.fullmatch(name):
        return "system_folders"
    return "hidden_folders" if name.startswith(".") else None


def _take_file(entry: os.DirEntry[str], path: Path, listing: Listing) -> None:
    """Add an entry that is not a folder to `listing`.

    Raises:
        OSError: Its type cannot be determined.
    """
    suffix = path.suffix.lower()
    if not entry.is_file():
        odd = odd_kind(path.stat().st_mode)
        if odd in _ODD:
            listing.pass_over(_ODD[odd], path)
    elif entry.name.startswith("."):
        listing.pass_over("hidden_files", path)
    elif suffix in SUFFIXES - TEXT_TOO:
        listing.files.append(path)
    elif suffix in NEVER:
        listing.pass_over("no_media", path)
    else:
        _take_by_content(path, suffix, listing)


def _take_unknown(path: Path, error: OSError, listing: Listing) -> None:
    """Add an entry of unknown type, perhaps a folder, to `listing`."""
    broken = error.errno in (errno.ENOENT, errno.ELOOP)
    if broken and not path.is_symlink():
        return  # it was removed in the meantime
    if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
        listing.files.append(path)  # ingest tells why it cannot be read
        listing.unlisted[path] = error.strerror or str(error)
    elif broken:
        listing.pass_over("broken_links", path)
        listing.unlisted[path] = error.strerror or str(error)
    else:
        listing.cannot_list(path, error)


def _take_by_content(path: Path, suffix: str, listing: Listing) -> None:
    """Add a file whose extension does not show whether it is media."""
    try:
        with open_regular(path) as (file, _):
            head = file.read(SNIFFED_BYTES)
    except NotRegularError as error:
        listing.pass_over(_ODD.get(error.odd, "unreadable"), path)
        return
    except OSError:
        if suffix in SUFFIXES:
            listing.files.append(path)  # ingest tells why it cannot be read
        else:
            listing.pass_over("unreadable", path)
        return
    if is_media(head) or (suffix in SUFFIXES and not is_text(head)):
        listing.files.append(path)
    else:
        listing.pass_over("no_media", path)
