"""Small JSON files with a checksum, so that a changed digit is not taken for a fact."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from .atomic_file import make_folder, whole_file
from .unreadable import told


class ChangedError(ValueError):
    """A file was read, and is not as it was written."""


def write_checked(path: Path, content: Any) -> None:
    """Write JSON content with its checksum: whole, synced, or not at all.

    Args:
        path: The file to create or replace, in a folder that is made if missing.
        content: Anything that JSON can hold.

    Raises:
        OSError: It cannot be written.
    """
    make_folder(path.parent)
    with whole_file(path, sync=True) as partial:
        partial.write_text(json.dumps({"content": content, "sha256": _digest(content)}, indent=1))


def read_checked(path: Path) -> Any:
    """Read what `write_checked` wrote; None where there is no file.

    A file without a checksum, as vidsim 0.2 wrote them, is returned as it is.

    Raises:
        StoreError: It cannot be read.
        ChangedError: It is damaged, or somebody changed it.
    """
    with told(f"The file {path}"):
        try:
            raw = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
    try:
        found = json.loads(raw)
    except ValueError as error:
        raise ChangedError(f"{path} is damaged ({error})") from error
    except RecursionError as error:
        raise ChangedError(f"{path} is damaged (it nests too deep)") from error
    if not isinstance(found, dict) or found.keys() != {"content", "sha256"}:
        return found
    if found["sha256"] != _digest(found["content"]):
        raise ChangedError(f"{path} is damaged (its checksum is another)")
    return found["content"]


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
