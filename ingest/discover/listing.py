"""Lists a folder as it is: its media files, what is passed over, and what cannot be listed."""

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
"""Why something is passed over."""

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
"""Folders that systems keep for themselves: bins, snapshots, thumbnails. Each by the name that
its maker documents."""

_NOTED = 3
"""Folders that a note names; the report has all."""


@dataclass
class Listing:
    """What is under a folder.

    Attributes:
        files: Media files, sorted.
        passed_over: What else is there, by kind, sorted; folders were not looked into.
        unlisted: Why a folder could not be listed, or not to its end, or where a link to one
            leads nowhere: what is below it is not known.
    """

    files: list[Path] = field(default_factory=list)
    passed_over: dict[str, list[Path]] = field(default_factory=dict)
    unlisted: dict[Path, str] = field(default_factory=dict)

    def pass_over(self, kind: Kind, path: Path) -> None:
        """Notes what is passed over."""
        self.passed_over.setdefault(kind, []).append(path)

    def cannot_list(self, folder: Path, error: OSError) -> None:
        """Notes a folder of which not everything is known."""
        if folder not in self.unlisted:
            self.pass_over("unlisted_folders", folder)
            self.unlisted[folder] = error.strerror or str(error)


def list_folder(root: Path) -> Listing:
    """Lists the files under `root`, and under the folders that links in it lead to.

    What links lead to comes last, under the link's path, and only what was not listed already:
    so no link changes the name of what lies in a folder itself. A link to a folder that holds
    the link is not followed. Nothing that is no regular file is opened.
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
    """What was passed over, in a line: "3 system folders, 1 socket"; "" for nothing."""
    return ", ".join(
        f"{len(passed_over[kind]):,} {_TOLD[kind][len(passed_over[kind]) != 1]}"
        for kind in _TOLD
        if passed_over.get(kind)
    )


def describe_kind(kind: str) -> str:
    """What one thing of a kind is: "socket"."""
    return _TOLD[kind][0]


def unlisted_note(listing: Listing, root: Path) -> str | None:
    """A sentence on the folders that could not be listed; None where all could."""
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
    """A path as text that JSON takes: what is no UTF-8 is escaped."""
    return str(path).encode(errors="backslashreplace").decode()


def _entries(folder: Path, listing: Listing) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; where reading it breaks off, what had come until then."""
    entries: list[os.DirEntry[str]] = []
    with os.scandir(folder) as found:
        try:
            for entry in found:
                entries.append(entry)  # one by one: an error keeps what came before
        except OSError as error:
            listing.cannot_list(folder, error)
    return sorted(entries, key=lambda entry: entry.name)


def _identity(folder: Path) -> tuple[int, int] | str:
    """What tells a folder from all others, however it is reached."""
    found = folder.stat()
    if found.st_ino:
        return found.st_dev, found.st_ino
    return os.path.realpath(folder)  # some network and user-space file systems number nothing


def _kind_of_path(folder: Path, known: bool) -> Kind | None:
    """Why a folder that a link leads to is passed over, if it is."""
    if known:
        return "known_folders"
    if not folder.is_symlink():
        return None
    target, place = Path(os.path.realpath(folder)), Path(os.path.realpath(folder.parent))
    return "looping_links" if target == place or target in place.parents else None


def _kind_of_folder(name: str) -> Kind | None:
    """Why a folder of this name is passed over, if it is."""
    if _SYSTEM_FOLDER.fullmatch(name):
        return "system_folders"
    return "hidden_folders" if name.startswith(".") else None


def _take_file(entry: os.DirEntry[str], path: Path, listing: Listing) -> None:
    """Adds to `listing` what is no folder.

    Raises:
        OSError: What it is cannot be found out.
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
    """Adds to `listing` what the system cannot tell anything of: perhaps a folder."""
    broken = error.errno in (errno.ENOENT, errno.ELOOP)
    if broken and not path.is_symlink():
        return  # it was removed meanwhile
    if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
        listing.files.append(path)  # ingest tells why it cannot be read
        listing.unlisted[path] = error.strerror or str(error)
    elif broken:
        listing.pass_over("broken_links", path)
        listing.unlisted[path] = error.strerror or str(error)
    else:
        listing.cannot_list(path, error)


def _take_by_content(path: Path, suffix: str, listing: Listing) -> None:
    """Adds a file whose ending does not tell whether it is media."""
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
