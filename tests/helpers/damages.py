"""How one file of a home may be damaged, and a plan of trials over all kinds of files."""

from __future__ import annotations

import os
import random
import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_PAGE = 4096

_MAY_GO = ("fusion-weights.json", "settings.env")
"""What a person may delete: of the former queries say so, the latter a person wrote."""

_TEXTS = (".json", ".prev", ".env")

LISTS = ("manifest.json", "manifest.copy.json")
"""The list beside a library's shards, and its copy."""


def _deleted(content: bytes, chance: random.Random) -> None:
    return None


def _emptied(content: bytes, chance: random.Random) -> bytes:
    return b""


def _truncated(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def _byte(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    return _overwritten(content, place, bytes([content[place] ^ chance.randrange(1, 256)]))


def _page(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(0, len(content), _PAGE)
    return _overwritten(content, place, bytes(min(_PAGE, len(content) - place)))


def _zeros(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(max(1, len(content) - 16))
    return _overwritten(content, place, bytes(min(16, len(content))))


def _digit(content: bytes, chance: random.Random) -> bytes:
    places = [m.start() for m in re.finditer(rb"\d", content)]
    if not places:
        return content
    place = chance.choice(places)
    others = [d for d in b"0123456789" if d != content[place]]
    return _overwritten(content, place, bytes([chance.choice(others)]))


def _overwritten(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


_OF_CONTENT: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "deleted": _deleted,
    "emptied": _emptied,
    "truncated": _truncated,
    "a byte changed": _byte,
    "a page zeroed": _page,
    "16 bytes zeroed": _zeros,
    "a digit changed": _digit,
}
"""What the file holds afterwards, None for no file."""

_OLDER, _ANOTHER = "an older one", "another's"

_WITH_LIST = ", and its list"

_TWO = ("deleted", "a byte changed", _ANOTHER)
"""Damages that strike a shard together with the list of shards, which would tell of them."""

DAMAGES = (*_OF_CONTENT, _OLDER, _ANOTHER, *(f"{name}{_WITH_LIST}" for name in _TWO))
"""The older one and another's are intact by all that they say themselves."""


@dataclass(frozen=True)
class Trial:
    """One damage to one file, or to a shard and the list of shards.

    Attributes:
        path: The file, relative to the home.
        kind: Of the file.
        damage: One of `DAMAGES`.
        seed: Decides where the file is damaged.
    """

    path: str
    kind: str
    damage: str
    seed: int

    @property
    def of_shard(self) -> bool:
        """Whether it damages a shard."""
        return self.path.endswith(".h5")

    @property
    def paths(self) -> list[str]:
        """All that it damages, relative to the home."""
        both = [str(Path(self.path).with_name(LISTS[0]))] if _WITH_LIST in self.damage else []
        return [self.path, *both]


def kinds(home: Path) -> dict[str, list[str]]:
    """The files of a home by kind: the folder at the top, and what their names have in common."""
    files = sorted(str(p.relative_to(home)) for p in home.rglob("*") if p.is_file())
    patterns: dict[str, set[str]] = defaultdict(set)
    for path in files:
        patterns[_pattern(path)].add(str(Path(path).parent))
    found: dict[str, list[str]] = defaultdict(list)
    for path in files:
        pattern = _pattern(path)
        top, _, name = pattern.rpartition("/")
        if top and len(patterns[pattern]) == 1 and Path(path).suffix:
            name = f"*{Path(path).suffix}"
        found[f"{top}/{name}" if top else name].append(path)
    return dict(found)


def _pattern(path: str) -> str:
    top, _, rest = path.partition("/")
    name = re.sub(r"[\d_]+", "*", Path(path).stem) + Path(path).suffix if rest else top
    return f"{top}/{name}" if rest else name


@dataclass(frozen=True)
class Damager:
    """Makes damages of the files of an intact home.

    Attributes:
        home: The intact home.
        earlier: As it was before.
    """

    home: Path
    earlier: Path

    def plan(self, number: int, seed: int = 0) -> list[Trial]:
        """So many trials, spread over all kinds of files and damages."""
        chance = random.Random(seed)
        by_kind = kinds(self.home)
        trials: list[Trial] = []
        while len(trials) < number:
            turn = [
                Trial(chance.choice(files), kind, name, chance.randrange(1 << 30))
                for kind, files in by_kind.items()
                for name in DAMAGES
            ]
            chance.shuffle(turn)
            trials += filter(self._changes, turn)
        return trials[:number]

    def _changes(self, trial: Trial) -> bool:
        """Whether a trial is one: it changes the file, and nobody may do that."""
        if trial.damage == "deleted" and trial.kind in _MAY_GO:
            return False
        if trial.damage == "a digit changed" and not trial.path.endswith(_TEXTS):
            return False
        if _WITH_LIST in trial.damage and not trial.of_shard:
            return False
        content = (self.home / trial.path).read_bytes()
        return bool(content) and self._damaged(trial, content) != content

    def _damaged(self, trial: Trial, content: bytes) -> bytes | None:
        """What the file holds afterwards: the same where the damage does not fit it."""
        chance = random.Random(trial.seed)
        name = trial.damage.removesuffix(_WITH_LIST)
        if name in _OF_CONTENT:
            return _OF_CONTENT[name](content, chance)
        if name == _OLDER:
            path = self.earlier / trial.path
            return path.read_bytes() if path.exists() else content
        others = [path for path in kinds(self.home)[trial.kind] if path != trial.path]
        return (self.home / chance.choice(others)).read_bytes() if others else content

    def damage(self, home: Path, trial: Trial) -> None:
        """Damages a copy of the home as a bad disk does, which changes no date."""
        path, *others = (home / name for name in trial.paths)
        _write(path, self._damaged(trial, path.read_bytes()))
        for listing in others:
            chance = random.Random(trial.seed)
            _write(listing, chance.choice((_deleted, _digit))(listing.read_bytes(), chance))


def _write(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink()
        return
    dates = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))
