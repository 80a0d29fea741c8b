"""What a power cut would leave: content that was synced, under names whose folder was synced."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_ISDIR

import pytest


class Disk:
    """Notes what this process syncs, from when it is made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Replace `os.fsync` by itself with a note of what it was called for."""
        self._contents: dict[int, bytes] = {}
        self._names: dict[tuple[int, str], int] = {}
        fsync = os.fsync

        def noting(handle: int) -> None:
            fsync(handle)
            synced = Path(f"/proc/self/fd/{handle}")
            found = synced.stat()
            if S_ISDIR(found.st_mode):
                here = {key: n for key, n in self._names.items() if key[0] != found.st_ino}
                entries = ((e.name, e.inode()) for e in os.scandir(synced))
                self._names = here | {(found.st_ino, name): inode for name, inode in entries}
            else:
                self._contents[found.st_ino] = synced.read_bytes()

        monkeypatch.setattr(os, "fsync", noting)

    def left(self, path: Path, root: Path) -> bytes | None:
        """Return the content that a file below `root` would have; None where it would be gone."""
        inode = root.stat().st_ino
        for name in path.relative_to(root).parts:
            found = self._names.get((inode, name))
            if found is None:
                return None
            inode = found
        return self._contents.get(inode)

    def lost(self, root: Path) -> list[str]:
        """Return the files below `root` that would not be there, or not as they are."""
        files = sorted(path for path in root.rglob("*") if path.is_file())
        return [
            str(path.relative_to(root))
            for path in files
            if self.left(path, root) != path.read_bytes()
        ]
