"""What a home goes through while others read it and its writer is killed: rounds of steps.

As a process it does one step or look at a time, each in a child that it kills where it is told to.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from vidsim.ingest.shards import compact
from vidsim.search.library import Library

from .answers import Answer
from .commands import STAYS
from .forked import forked
from .full_home import stand_ins, write_video
from .meanwhile import look
from .served import serve

LIMIT_S = 240.0

_SMALL_SHARDS = 4
"""Of three segments each: an ingest merges them all the time."""


@dataclass(frozen=True)
class Step:
    """A command, and what is done to the files before it.

    Attributes:
        change: Given the folder of the videos and the number of the round, from 0.
        run: The command, which may be repeated.
    """

    change: Callable[[Path, int], object]
    run: Callable[[Library, Path], object]


def _first_and_new(work: Path, turn: int) -> None:
    clips = work / "clips"
    if not turn:
        write_video(work / STAYS, seed=2)
        for i, name in enumerate(("day/0", "day/1 silent", "night/3", "day/4 long", "night/6")):
            write_video(clips / f"{name}.mkv", seed=10 + i)
        write_video(clips / "day" / "moves 0.mkv", seed=20)
    for i in range(3):
        write_video(clips / "night" / f"new {turn} {i}.mkv", seed=100 + 10 * turn + i)


def _others(work: Path, turn: int) -> None:
    for i, name in enumerate(("day/0", "day/1 long", "night/2 silent", "night/3", "night/4")):
        write_video(work / "others" / f"{name}.mkv", seed=1000 + 10 * turn + i)


def _edited_moved_and_gone(work: Path, turn: int) -> None:
    clips = work / "clips"
    write_video(clips / "day" / "0.mkv", seed=2000 + turn)
    write_video(clips / "day" / "4 long.mkv", seed=3000 + turn)
    (clips / "day" / f"moves {turn}.mkv").rename(clips / "day" / f"moves {turn + 1}.mkv")
    (clips / "night" / f"new {turn} 0.mkv").unlink()


def _nothing(work: Path, turn: int) -> None:
    pass


def _ingest(name: str, library: Library, work: Path) -> None:
    library.ingest(work / name, prune=True)


def _remove(library: Library, work: Path) -> None:
    """Removes a library and a video, or what a killed removal left of them."""
    stored = {v.video_id for v in library.videos()}
    wanted = {"others": {i for i in stored if i.startswith("others/")}}
    wanted |= {i: {i} for i in ("clips/night/6.mkv",) if i in stored}
    if there := [name for name, of in wanted.items() if of]:
        library.remove(*there)


STEPS = {
    "ingest of clips": Step(_first_and_new, partial(_ingest, "clips")),
    "ingest of others": Step(_others, partial(_ingest, "others")),
    "change and prune": Step(_edited_moved_and_gone, partial(_ingest, "clips")),
    "remove": Step(_nothing, _remove),
    "compact": Step(_nothing, lambda library, _: library.compact()),
    "reindex": Step(_nothing, lambda library, _: library.reindex()),
    "reindex --fresh": Step(_nothing, lambda library, _: library.reindex(fresh=True)),
}
"""In the order of a round."""


def _task(request: dict[str, Any]) -> Any:
    home, work = Path(request["home"]), Path(request["work"])
    if request["task"] == "look":
        return look(home, work.parent)
    with (
        stand_ins(segments_per_shard=3),
        mock.patch.object(compact, "SMALL_SHARDS", _SMALL_SHARDS),
        Library.open(home, wait=True) as library,
    ):
        STEPS[request["task"]].run(library, work)
    return None


def _answer(request: dict[str, Any]) -> Answer:
    return forked(lambda: _task(request), request["limit_s"], signal.SIGKILL)


def main() -> None:
    """Serves a `Kills` of kills.py."""
    serve(_answer)
