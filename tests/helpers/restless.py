"""Folders that change while they are ingested, with the genuine decoder.

``python -m vidsim.tests.helpers.restless N SEED`` ingests so often while files appear, are written
slowly, vanish, are replaced, rewritten in place, touched, renamed, swapped and hidden for a moment.
After each, one more ingest of the folder, now at rest, must leave what an ingest into an empty home
gives. Ctrl-C prints what was found so far.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import numpy as np

from vidsim.ingest.shards.home import Place
from vidsim.schemas.errors import VidsimError

from .full_home import write_video
from .ingests import in_step, ingest, shard_rows

_CLIPS = 8
_PAUSE_S = 0.06


class Restless:
    """A folder, and what happens to it.

    Attributes:
        folder: The folder.
        changes: How often each kind of change was made.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        """Fills it."""
        self.folder = folder
        self.changes: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._seeds = count(1000 * seed)
        self._aside = folder.parent / "aside"
        self._aside.mkdir(parents=True)
        for _ in range(_CLIPS):
            self._appear()

    def change(self) -> None:
        """Changes something."""
        kinds: list[Callable[[], object]] = [
            *(self._appear, self._appear_slowly, self._vanish, self._replace, self._rewrite),
            *(self._rewrite_alike, self._touch, self._rename, self._swap, self._hide),
        ]
        while sum(path.is_file() for path in self.folder.rglob("*")) < 3:
            self._appear()
        kind = self._chance.choice(kinds)
        kind()
        self.changes[kind.__name__.strip("_").replace("_", " ")] += 1

    def _one(self) -> Path:
        return self._chance.choice(sorted(p for p in self.folder.rglob("*") if p.is_file()))

    def _new(self) -> Path:
        return write_video(self._aside / "new.mkv", seed=next(self._seeds))

    def _name(self) -> Path:
        path = self.folder / self._chance.choice("ab") / f"{next(self._seeds)}.mkv"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _appear(self) -> None:
        self._new().rename(self._name())

    def _appear_slowly(self) -> None:
        self._write(self._name(), self._new().read_bytes())

    def _write(self, path: Path, content: bytes) -> None:
        with path.open("wb", buffering=0) as file:
            for piece in (content[: len(content) // 2], content[len(content) // 2 :]):
                file.write(piece)
                time.sleep(self._chance.uniform(0, _PAUSE_S))

    def _vanish(self) -> None:
        self._one().unlink()

    def _replace(self) -> None:
        self._new().replace(self._one())

    def _rewrite(self) -> None:
        self._write(self._one(), self._new().read_bytes())

    def _rewrite_alike(self) -> None:
        path = self._one()
        self._write(path, path.read_bytes())

    def _touch(self) -> None:
        os.utime(self._one(), (0, self._chance.randrange(1 << 33)))

    def _rename(self) -> None:
        self._one().rename(self._name())

    def _swap(self) -> None:
        one, other = self._one(), self._one()
        if one != other:
            kept = other.rename(self._aside / "other.mkv")
            one.rename(other)
            kept.rename(one)

    def _hide(self) -> None:
        path = self._one()
        hidden = path.rename(self._aside / "hidden.mkv")
        time.sleep(self._chance.uniform(0, _PAUSE_S))
        hidden.rename(path)

    def changing(self) -> Callable[[], None]:
        """Begins to change it; gives what ends that."""
        over = threading.Event()

        def go_on() -> None:
            while not over.wait(self._chance.uniform(0, _PAUSE_S)):
                self.change()

        thread = threading.Thread(target=go_on)
        thread.start()

        def end() -> None:
            over.set()
            thread.join()

        return end


def ingest_restless(restless: Restless, rounds: int) -> Iterator[str]:
    """Yields after each round what was wrong of it, "" for nothing."""
    work = restless.folder.parent
    place = Place(work / "home")
    for number in range(rounds):
        end = restless.changing()
        try:
            wrong = _said(restless.folder, place)
        finally:
            end()
        try:
            wrong += _unlike(restless.folder, place, work / "fresh")
        except (AssertionError, VidsimError) as error:
            wrong += f"; at rest: {type(error).__name__}: {str(error)[:1000]}"
        yield f"round {number}: {wrong}" if wrong else ""


def _said(folder: Path, place: Place) -> str:
    report = ingest(folder, place, prune=True)
    odd = [f.reason for f in report.failed if "unexpected" in f.reason or not f.reason]
    return "; ".join(odd)


def _unlike(folder: Path, place: Place, fresh: Path) -> str:
    """How a home differs from one that is made anew, the folder being at rest."""
    report = ingest(folder, place, prune=True)
    if report.failed:
        return f"failed at rest: {report.failed}"
    shutil.rmtree(fresh, ignore_errors=True)
    ingest(folder, Place(fresh), prune=True)
    held, wanted = in_step(place), in_step(Place(fresh))
    if held != wanted:
        return f"{held} rows, not {wanted}"
    ours, theirs = (shard_rows(each, "lib") for each in (place, Place(fresh)))
    for backbone, levels in theirs.items():
        for level, rows in levels.items():
            for row, (fingerprint, path, vector) in rows.items():
                found = ours[backbone][level][row]
                if found[:2] != (fingerprint, path):
                    return f"{row} of {found[:2]}, not {(fingerprint, path)}"
                if not np.allclose(found[2], vector, atol=1e-5):
                    return f"{row} has rows of another content"
    return ""


def main() -> None:
    """Runs `ingest_restless` for the command line."""
    rounds, seed = (*(int(word) for word in sys.argv[1:]), *(20, 0)[len(sys.argv) - 1 :])
    found, done = [], 0
    with tempfile.TemporaryDirectory() as folder:
        restless = Restless(Path(folder) / "lib", seed)
        try:
            for wrong in ingest_restless(restless, rounds):
                done += 1
                if wrong:
                    print(wrong, flush=True)
                    found.append(wrong)
        except KeyboardInterrupt:
            print("Interrupted.")
    made = restless.changes
    told = ", ".join(f"{number} {kind}" for kind, number in sorted(made.items()))
    print(f"{done} ingests of seed {seed}, {made.total()} changes ({told}): {len(found)} wrong")
    raise SystemExit(bool(found))


if __name__ == "__main__":
    main()
