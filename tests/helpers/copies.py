"""A copy of a folder that is made the same again cheaply."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

_State = tuple[int, int, int, int]
"""Inode, size, and times of content and of any change, which nothing can set back."""


class Copy:
    """A copy of a folder; `renew` brings back what was changed, and removes what came.

    Attributes:
        path: The copy.
    """

    def __init__(self, source: Path, path: Path) -> None:
        """Copies `source` to `path`."""
        self.path = path
        self._source = source
        shutil.copytree(source, path)
        self._known = self._states()

    def _states(self) -> dict[str, _State]:
        found = {}
        for folder, _, names in os.walk(self.path):
            for name in names:
                stat = os.stat(os.path.join(folder, name))
                path = os.path.relpath(os.path.join(folder, name), self.path)
                found[path] = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
        return found

    def renew(self) -> None:
        """Makes it the same as the source again."""
        now = self._states()
        for name in now.keys() - self._known.keys():
            (self.path / name).unlink()
        self.put_back([name for name, state in self._known.items() if now.get(name) != state])
        for folder, _, _ in os.walk(self.path, topdown=False):
            there = self._source / os.path.relpath(folder, self.path)
            if not there.exists():
                shutil.rmtree(folder)
        for folder, _, _ in os.walk(self._source):
            (self.path / os.path.relpath(folder, self._source)).mkdir(parents=True, exist_ok=True)

    def put_back(self, names: Collection[str]) -> None:
        """Copies some files of the source again."""
        for name in names:
            to = self.path / name
            to.parent.mkdir(parents=True, exist_ok=True)
            to.unlink(missing_ok=True)
            shutil.copy2(self._source / name, to)
            stat = to.stat()
            self._known[name] = (stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)

    def changed(self, below: tuple[str, ...], but: Collection[str]) -> list[str]:
        """Which files of the source, in some folders, are not as they were, whoever did it."""
        return [
            name
            for name in self._known
            if name.startswith(below) and name not in but and not self._same(name)
        ]

    def _same(self, name: str) -> bool:
        to = self.path / name
        return to.exists() and to.read_bytes() == (self._source / name).read_bytes()
