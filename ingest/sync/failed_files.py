"""Notes of files that failed, so that an ingest tries them again only once they have changed.

A file that killed a decoder is noted, too, and tried once more: see `Failure.killed`.

A note is derived: where it is lost or damaged, its files are tried again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ...schemas.errors import StoreError
from ...schemas.video import Video
from ..system.checked_json import ChangedError, read_checked, write_checked

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """A file that failed because of its content.

    Attributes:
        video: The file as it was.
        reason: Why, in one sentence.
        tried_with: What else the outcome depends on: versions and options, as text.
        killed: In how many ingests in a row it killed a decoder; 0 where the file was understood,
            and is at fault.
    """

    video: Video
    reason: str
    tried_with: str
    killed: int = 0

    def holds(self, video: Video, tried_with: str) -> bool:
        """Return whether `video`, tried again, would fail again.

        It is the same file in the same state, nothing else differs, and if it killed a decoder, it
        did so twice: once may be the machine's fault.
        """
        return self.killed != 1 and self._is_of(video, tried_with)

    def _is_of(self, video: Video, tried_with: str) -> bool:
        states = [(v.size, v.mtime_ns, v.fingerprint) for v in (self.video, video)]
        return states[0] == states[1] and self.tried_with == tried_with


def killing(video: Video, reason: str, tried_with: str, before: Failure | None) -> Failure:
    """Return the note of a file that killed a decoder, after what was noted of it before."""
    if before is None or not before.killed or not before._is_of(video, tried_with):
        return Failure(video, reason, tried_with, killed=1)
    reason = f"{reason.removesuffix('.')}, as it did before."
    return Failure(video, reason, tried_with, before.killed + 1)


_NOTE = TypeAdapter(dict[str, Failure])


def read_failures(home: Path, library: str) -> dict[str, Failure]:
    """Return the noted failures of a library by video id; none where the note cannot be used."""
    path = _path(home, library)
    try:
        return _NOTE.validate_python(read_checked(path) or {})
    except (StoreError, ChangedError, ValidationError) as error:
        _log.warning("%s cannot be used (%s); the files are tried again.", path, error)
        return {}


def write_failures(home: Path, library: str, failures: Mapping[str, Failure]) -> None:
    """Note the failures of a library by video id, in place of those noted before."""
    path = _path(home, library)
    try:
        if failures:
            write_checked(path, _NOTE.dump_python(dict(failures), mode="json"))
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s cannot be written (%s); the files will be tried again.", path, error)


def _path(home: Path, library: str) -> Path:
    return home / "failed" / f"{library}.json"
