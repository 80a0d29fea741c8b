"""One step of a growing library, in its own process, whose memory is measured.

Run as ``python -m``: an `Order` comes on stdin, `Filled` or `Asked` goes to stdout.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from ...ingest.milvus.store import open_store
from ...ingest.shards.home import Place
from ...ingest.shards.lock import writing
from ...ingest.system.progress import Silent
from ...schemas.backbones import BACKBONES
from ...schemas.collections import choose_index, levels
from ...schemas.embedding import index_dim
from ...schemas.results import QueryResult

_RECALL = 0.99
"""The default recall of 'vidsim tune-index'."""


@dataclass(frozen=True)
class Order:
    """A task for the process.

    Attributes:
        task: ``fill`` grows the library to `videos`; ``ask`` queries `asked`.
        place: Place of the library.
        backbones: Names of the backbones.
        videos: Number of its videos, after filling.
        asked: Ids of stored videos.
    """

    task: Literal["fill", "ask"]
    place: Place
    backbones: tuple[str, ...]
    videos: int
    asked: tuple[str, ...] = ()


@dataclass(frozen=True)
class Filled:
    """Times of filling in seconds; `build_s` is None where no index had to be built."""

    fill_s: float
    build_s: float | None


@dataclass(frozen=True)
class Asked:
    """Times of querying: seconds to open and answer once, then milliseconds of every query."""

    open_s: float
    ms: list[float]
    answers: list[QueryResult]


ORDER = TypeAdapter(Order)
FILLED = TypeAdapter(Filled)
ASKED = TypeAdapter(Asked)


def _fill(order: Order) -> Filled:
    from .library import fill  # pymilvus, which a query on Lite does not need

    backbones = [BACKBONES[name] for name in order.backbones]
    began = time.perf_counter()
    fill(order.place, order.videos, backbones, Silent())
    os.sync()  # else the next measurement waits for the disk
    fill_s = time.perf_counter() - began
    return Filled(fill_s, _build(order.place) if order.place.uri else None)


def _build(place: Place) -> float | None:
    """Build every inverted index that the size needs, and tune its number of probes.

    Not on Lite: vidsim reads its vectors faster than Lite reads its indexes.
    """
    from ...ingest.milvus.index_tuning import tune

    build_s = None
    with writing(place.home, "benchmark"), open_store(place, writing=True) as store:
        for backbone in store.backbones():
            searched = levels(backbone)[-1]
            rows = store.count(backbone, "", searched)
            index = choose_index(rows, index_dim(backbone), store.target)
            if not index.exact:
                began = time.perf_counter()
                store.rebuild(backbone, searched, index)
                build_s = (build_s or 0.0) + time.perf_counter() - began
    tune(place, _RECALL, Silent())
    return build_s


def _ask(order: Order) -> Asked:
    from ..query import QueryOptions, answer
    from ..search_index import open_index

    ms, answers = [], []
    opened = time.perf_counter()
    with open_index(order.place) as index:
        for video_id in order.asked:
            began = time.perf_counter()
            answers.append(answer(video_id, index, order.place, QueryOptions(), Silent()))
            ended = time.perf_counter()
            ms.append(1000 * (ended - began))
            if len(answers) == 1:
                open_s = ended - opened
    return Asked(open_s, ms, answers)


def main() -> None:
    """Execute the order on stdin."""
    order: Order = ORDER.validate_json(sys.stdin.read())
    if order.task == "fill":
        output = FILLED.dump_json(_fill(order))
    else:
        output = ASKED.dump_json(_ask(order))
    sys.stdout.buffer.write(output)


if __name__ == "__main__":
    main()
