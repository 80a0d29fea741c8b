"""Notes about the indexes of a Milvus, kept under home beside its shards."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ...schemas.errors import StoreError
from ..system.checked_json import ChangedError, read_checked, write_checked
from ..system.unreadable import unwritten


class IndexNotes(BaseModel):
    """Notes about one Milvus.

    Attributes:
        gpu: Whether it builds GPU indexes; None where untested.
        probes: Lists to search (nprobe) by collection, as 'vidsim tune-index' measured.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    gpu: bool | None = None
    probes: dict[str, int] = {}


def read_notes(home: Path, server: str) -> IndexNotes:
    """Read the notes on `server`; empty where they are missing or damaged."""
    try:
        return IndexNotes.model_validate(read_checked(_path(home, server)) or {})
    except (StoreError, ChangedError, ValidationError):  # they can be measured again
        return IndexNotes()


def write_notes(home: Path, server: str, notes: IndexNotes) -> None:
    """Write the notes on `server`.

    Raises:
        StoreError: `home` cannot be written.
    """
    path = _path(home, server)
    try:
        write_checked(path, notes.model_dump(mode="json"))
    except OSError as error:
        raise StoreError(unwritten(str(path), error)) from error


def _path(home: Path, server: str) -> Path:
    return home / "indexes" / f"{server.replace(':', '_')}.json"
