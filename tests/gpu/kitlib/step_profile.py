"""Where Python spends the time: cProfile of single threads, and looks at all those of an ingest."""

from __future__ import annotations

import cProfile
import pstats
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from vidsim.ingest.decode.segments import DecodeRequest, decode
from vidsim.ingest.discover.videos import describe, find_media
from vidsim.ingest.extract.embed import EmbedOptions, embed_all
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards.home import Home, Place, writing
from vidsim.ingest.sync.writer import Writer
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.embedding import EmbeddedVideo
from vidsim.schemas.modality import Modality

from .common import REPOSITORY, Bench, attempt
from .ingesting import clips_again, many_decoders, measure_ingest, slowest_network
from .media import backbones_of, load_extractor, load_media
from .step_ingest import read_figures

_LINES = 15

_LOOK_S = 0.005
"""Seconds from one look at the threads to the next."""

_ALL = ("", "")
_WATCHING = ("memory", "stderr")
"""Ends of the names of threads that only wait for news of others."""


def measure(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Runs them."""
    figures = read_figures(bench)
    network = Modality(slowest_network(figures) if figures else bench.modalities[-1])
    yield f"the slowest network, {network}", attempt(lambda: _network(bench, network))
    yield "a decoder", attempt(lambda: _decode(bench))
    yield "an ingest's threads", attempt(lambda: _ingest(bench))
    yield "writing", attempt(lambda: _write(bench))


def _network(bench: Bench, modality: Modality) -> dict[str, Any]:
    backbones = backbones_of(bench)
    media = load_media(bench, 2 if bench.small else 32)
    extractor = load_extractor(backbones[modality], bench.device)
    extractor.embed(media)
    return _profiled(lambda: extractor.embed(media))


def _decode(bench: Bench) -> dict[str, Any]:
    """A decoder's work, which runs in processes of its own otherwise."""
    frames = {m.value: b.frames for m, b in backbones_of(bench).items() if b.frames}
    files = find_media(bench.clips)[: 2 if bench.small else 16]
    requests = [DecodeRequest(str(file), frames, audio=False) for file in files]
    list(decode(requests[0]))
    return _profiled(lambda: [list(decode(request)) for request in requests])


def _ingest(bench: Bench) -> dict[str, Any]:
    """Of an ingest what every thread of the main process is at, most of the time."""
    folder = clips_again(bench, 1 if bench.small else 8)
    with looking() as looks:
        measure_ingest(bench, folder, many_decoders())
    total = looks.pop(_ALL)
    return {
        "samples": total,
        "places": [
            {"name": name, "thread": thread, "percent": 100 * seen / total}
            for (thread, name), seen in looks.most_common(_LINES)
        ],
    }


def _write(bench: Bench) -> dict[str, Any]:
    """What an ingest has found, written to an empty home."""
    folder = clips_again(bench, 1)
    videos = [describe(file, folder, "kit") for file in find_media(folder)]
    options = EmbedOptions(backbones_of(bench), device=bench.device, workers=many_decoders())
    results = embed_all(videos, options, Silent())
    found = [result for result in results if isinstance(result, EmbeddedVideo)]
    place = Place(bench.work / "home-profiled")

    def write() -> None:
        with writing(place.home, "profile"), open_store(place, writing=True) as store:
            writer = Writer(store, Home(place), "kit", {})
            for video in found:
                writer.add(video)
            writer.finish()

    return _profiled(write)


@contextmanager
def looking() -> Iterator[Counter[tuple[str, str]]]:
    """Counts, by thread and place, what this process' threads are at, until the end.

    cProfile cannot tell threads apart. A place is the innermost function of vidsim's, and what it
    is in outside of it. `_ALL` counts the looks; threads of a pool that have nothing to do, and
    those that only watch, are not counted.
    """
    seen: Counter[tuple[str, str]] = Counter()
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_S):
            seen[_ALL] += 1
            names = {t.ident: t.name for t in threading.enumerate()}
            for ident, frame in sys._current_frames().items():
                thread = names.get(ident, "").rstrip("0123456789").rstrip("-_")
                idle = frame.f_code.co_name == "_worker" or thread.endswith(_WATCHING)
                if thread.startswith(("Main", "vidsim")) and not idle:
                    seen[thread, _place(frame)] += 1

    looker = threading.Thread(target=look, name="looker", daemon=True)
    looker.start()
    try:
        yield seen
    finally:
        ended.set()
        looker.join()


def _place(frame: FrameType) -> str:
    """The innermost function, after the innermost one of vidsim's where that is another."""
    inner = _called((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
    at: FrameType | None = frame
    while at is not None:
        if Path(at.f_code.co_filename).resolve().is_relative_to(REPOSITORY):
            if at is frame:
                return inner
            return f"{_called((at.f_code.co_filename, at.f_lineno, at.f_code.co_name))}: {inner}"
        at = at.f_back
    return inner


def _profiled(task: Callable[[], object]) -> dict[str, Any]:
    profiler = cProfile.Profile()
    profiler.runcall(task)
    stats = pstats.Stats(profiler).get_stats_profile()
    longest = sorted(
        pstats.Stats(profiler).stats.items(),  # type: ignore[attr-defined]
        key=lambda item: -item[1][2],
    )[:_LINES]
    return {
        "seconds": stats.total_tt,
        "functions": [
            {"name": _called(where), "calls": calls, "own_s": own, "with_called_s": cumulative}
            for where, (_, calls, own, cumulative, _) in longest
        ],
    }


def _called(where: tuple[str, int, str]) -> str:
    """A function as a person finds it: the file's path without what is this machine's own."""
    file, line, name = where
    if file == "~":
        return name
    path = Path(file)
    if path.resolve().is_relative_to(REPOSITORY):
        return f"{path.resolve().relative_to(REPOSITORY)}:{line} {name}"
    return f"{'/'.join(path.parts[-2:])}:{line} {name}"
