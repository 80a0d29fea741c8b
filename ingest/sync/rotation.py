"""Which shards a partial check reads: those read longest ago, so that all have their turn."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ..shards.home import Home
from ..system.checked_json import ChangedError, read_checked, write_checked

_log = logging.getLogger(__name__)

_TURNS = TypeAdapter(dict[str, dict[str, int]])
"""By library and shard, the turn in which it was read last; a count, as clocks are set back."""


def next_shards(home: Home, libraries: Sequence[str], percent: float) -> dict[str, list[Path]]:
    """Return the shards to read now: of each library a share, one at least.

    Args:
        home: The home.
        libraries: Names of libraries.
        percent: Of the shards of each, 0 to 100.

    Returns:
        By library; those first that no turn has read, then those that were read longest ago.
    """
    turns = _read(home.path)
    chosen = {}
    for library in libraries:
        read = turns.get(library, {})
        files = sorted(home.shards.files(library), key=lambda path: read.get(path.name, -1))
        chosen[library] = files[: math.ceil(len(files) * percent / 100)]
    return chosen


def note_turn(home: Home, read: Mapping[str, Sequence[Path]]) -> str:
    """Note that shards were read.

    Returns:
        A note where that could not be written, so that the same ones will be read again; else "".
    """
    turns = _read(home.path)
    now = 1 + max((turn for of in turns.values() for turn in of.values()), default=0)
    for library, paths in read.items():
        there = {path.name for path in home.shards.files(library)}
        kept = {name: turn for name, turn in turns.get(library, {}).items() if name in there}
        turns[library] = kept | {path.name: now for path in paths if path.name in there}
    try:
        write_checked(_path(home.path), turns)
    except OSError as error:
        return f"Which shards were read could not be noted ({error.strerror}); they are read again."
    return ""


def _read(home: Path) -> dict[str, dict[str, int]]:
    try:
        return _TURNS.validate_python(read_checked(_path(home)) or {})
    except (ChangedError, ValidationError) as error:  # then it begins anew
        _log.warning("%s; turns of checks begin anew.", error)
        return {}


def _path(home: Path) -> Path:
    return home / "verified.json"
