"""A library's list of its shards, by which a missing, foreign or changed one is noticed.

The list is written after each change of a shard, under the home's lock. A shard that it does not
have was written just now, or by a run that was interrupted between the two; one that it has and
that is not there was lost.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..system.checked_json import ChangedError, read_checked, write_checked

_log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
"""Name of the list in the folder of a library's shards."""


@dataclass(frozen=True)
class ShardNote:
    """What the list says of one shard.

    Attributes:
        bytes: Size of the file.
        sha256: Hash of its content.
        videos: Number of videos in it.
    """

    bytes: int
    sha256: str
    videos: int


def note_of(path: Path, videos: int) -> ShardNote:
    """Return the note of a shard that holds this many videos.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return ShardNote(file.tell(), digest, videos)


def read_manifest(folder: Path) -> dict[str, ShardNote] | None:
    """Return the notes of a library's shards by file name.

    Returns:
        None where there is no list (an older vidsim wrote the shards), or it is damaged: then the
        shards that are there are all that is known.

    Raises:
        StoreError: It cannot be read.
    """
    path = folder / MANIFEST
    try:
        notes = read_checked(path)
        return None if notes is None else {name: ShardNote(**note) for name, note in notes.items()}
    except (ChangedError, TypeError, AttributeError) as error:
        _log.warning("%s; it is not used, and the next ingest makes it anew.", error)
        return None


def write_manifest(folder: Path, notes: Mapping[str, ShardNote]) -> None:
    """Write the notes of a library's shards; delete the list where there are none.

    Raises:
        OSError: It cannot be written.
    """
    path = folder / MANIFEST
    if not notes:
        path.unlink(missing_ok=True)
        return
    write_checked(path, {name: asdict(notes[name]) for name in sorted(notes)})
