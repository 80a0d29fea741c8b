"""Files of which vidsim knows no whole SHA-256: the first one that is taken is kept to.

Its SHA-256 is noted beside the folder of the weights, in the format of `sha256sum`, and stays when
that folder is deleted. A file that comes later and is another is refused.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from ...schemas.errors import WeightsError
from ...schemas.weights import PublishedFiles
from .download import NOTE, read_note, read_noted, write_note

_log = logging.getLogger(__name__)


def record_of(folder: Path) -> Path:
    """Return the file that notes what was first taken for the weights in `folder`."""
    return folder.parent / f"{folder.name}.first-taken"


def check_first_taken(folder: Path, weights: PublishedFiles, found: Mapping[str, str]) -> None:
    """Refuse files that are others than those that were taken first.

    Args:
        folder: Where the weights are kept.
        weights: What vidsim knows of them.
        found: SHA-256 of the files to take, by name.

    Raises:
        WeightsError: One is another file.
        OSError: What was noted cannot be read.
    """
    record = record_of(folder)
    noted = read_note(folder) | read_noted(record)  # the former is all that older versions wrote
    for file in weights.files:
        first = noted.get(file.name)
        if first and first != found[file.name] and not file.is_pinned:
            raise WeightsError(
                f"{file.name} is another file than the one that was taken first (SHA-256 "
                f"{found[file.name][:12]}... instead of {first[:12]}...); if you trust it more, "
                f"delete {record} and {folder / NOTE}, and run the command again"
            )


def note_first_taken(folder: Path, weights: PublishedFiles, found: Mapping[str, str]) -> None:
    """Note files of which nothing was noted, and say so.

    Raises:
        OSError: It cannot be written.
    """
    record = record_of(folder)
    noted = read_noted(record)
    new = [f.name for f in weights.files if not f.is_pinned and f.name not in noted]
    if not new:
        return
    write_note(record, noted | {name: found[name] for name in new})
    for name in new:
        _log.warning(
            "%s is not pinned: vidsim knows no SHA-256 of it. What came (%s...) is noted in %s, "
            "and another file will be refused.",
            name,
            found[name][:12],
            record,
        )
