"""A library's list of its shards, by which a missing, foreign or changed one is noticed.

The list is written after each change of a shard, under the home's lock. A shard that it does not
have was written just now, or by a run that was interrupted between the two; one that it has and
that is not there was lost.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ..system.atomic_file import whole_file
from ..system.unreadable import told

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
    if not path.exists():
        return None
    with told(f"The list {path}"):
        raw = path.read_bytes()
    try:
        content = json.loads(raw)
        notes = content["shards"]
        if content["sha256"] == _digest(notes):
            return {name: ShardNote(**note) for name, note in notes.items()}
        why = "its checksum is another"
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = str(error)
    _log.warning("%s is damaged (%s) and not used; the next ingest makes it anew.", path, why)
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
    shards = {name: asdict(notes[name]) for name in sorted(notes)}
    with whole_file(path, sync=True) as partial:
        partial.write_text(json.dumps({"shards": shards, "sha256": _digest(shards)}, indent=1))


def _digest(notes: object) -> str:
    return hashlib.sha256(json.dumps(notes, sort_keys=True).encode()).hexdigest()
