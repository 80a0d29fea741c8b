"""What a home of many videos goes through, round after round: the genuine commands.

Only colour is embedded, so that decoders run and no network does; the many videos have rows of all
modalities.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .full_home import write_video
from .large_home import BIG, SMALL, named

_NEW = 4
_EDITED = 2

_HOW = ("-m", "color", "--device", "cpu", "--workers", "1")


@dataclass(frozen=True)
class Round:
    """A round.

    Attributes:
        work: The folder of the videos and of what is exported.
        videos: How many the home held at first.
        number: From 0.
    """

    work: Path
    videos: int
    number: int

    @property
    def folder(self) -> Path:
        """The folder of the library."""
        return self.work / BIG

    def of(self, place: int) -> str:
        """A video that no other round changes; the first ten are left for questions."""
        return named(10 + (self.number * 10 + place) % (self.videos - 10))


@dataclass(frozen=True)
class Step:
    """A command of a round.

    Attributes:
        words: Its words, given the round.
        change: What is done before it to files, or to each of the homes.
        gone: Whether it may be refused when it is repeated, as nothing is left to do.
        served: Whether it is a job of a server instead, which is killed.
    """

    words: Callable[[Round], list[str]]
    change: Callable[[Round, list[Path]], object] = lambda _round, _homes: None
    gone: bool = False
    served: bool = False


def exported(work: Path) -> Path:
    """Where the export goes."""
    return work / "exported"


def _add(at: Round, _: list[Path]) -> None:
    for number in range(_NEW):
        seed = 1000 + at.number * _NEW + number
        write_video(at.folder / "new" / f"{at.number} {number}.mkv", seed=seed)


def _edit_move_and_lose(at: Round, _: list[Path]) -> None:
    folder = at.folder
    for number in range(_EDITED):
        write_video(folder / at.of(number), seed=5000 + at.number * _EDITED + number)
    moved = folder / at.of(2)
    if moved.exists():
        moved.rename(moved.with_name(f"moved {at.number} {moved.name}"))
    (folder / at.of(3)).unlink(missing_ok=True)
    (folder / "new" / f"{at.number} 0.mkv").unlink(missing_ok=True)


def _add_and_remove(at: Round, homes: list[Path]) -> None:
    _add(Round(at.work, at.videos, at.number + 100_000), homes)
    (at.folder / "new" / f"{at.number} 1.mkv").unlink(missing_ok=True)


def _write_labels(at: Round, _: list[Path]) -> None:
    with (at.work / "labels.csv").open("w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(["video_id", "label"])
        for number in range(_EDITED, _NEW):
            lines.writerow([f"{BIG}/new/{at.number} {number}.mkv", f"label {at.number}"])


def _lose_the_index(_: Round, homes: list[Path]) -> None:
    for home in homes:
        shutil.rmtree(home / "milvus.db", ignore_errors=True)


def _ingest(at: Round) -> list[str]:
    return ["ingest", str(at.folder), *_HOW, "--no-server"]


def _import(at: Round) -> list[str]:
    return ["import", *(str(path) for path in sorted((at.work / "export").glob("*.h5")))]


STEPS = {
    "ingest": Step(_ingest, _add),
    "change and prune": Step(lambda at: [*_ingest(at), "--prune"], _edit_move_and_lose),
    "label": Step(lambda at: ["label", str(at.work / "labels.csv")], _write_labels),
    "import": Step(_import),
    "reindex": Step(lambda _: ["reindex"], _lose_the_index),
    "export": Step(lambda at: ["export", str(exported(at.work))]),
    "remove": Step(lambda _: ["remove", SMALL, "--yes"], gone=True),
    "compact": Step(lambda _: ["compact"]),
    "verify --repair": Step(lambda _: ["verify", "--repair"], _lose_the_index),
    "reindex --fresh": Step(lambda _: ["reindex", "--fresh"]),
    "ingest by HTTP": Step(lambda at: [*_ingest(at), "--prune"], _add_and_remove, served=True),
}
"""In the order of a round."""
