"""Where Python spends the time: cProfile of a decoder, of the slowest network, and of writing."""

from __future__ import annotations

import cProfile
import pstats
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vidsim.ingest.decode import DecodeRequest, decode
from vidsim.ingest.discover import describe, find_media
from vidsim.ingest.embed import EmbedOptions, embed_all
from vidsim.ingest.home import Place, open_shards, writing
from vidsim.ingest.progress import Silent
from vidsim.ingest.store import open_store
from vidsim.ingest.writer import Writer
from vidsim.schemas.embedding import EmbeddedVideo
from vidsim.schemas.modality import Modality

from .common import REPOSITORY, Bench
from .ingesting import attempt, clips_again, many_decoders, slowest_network
from .media import backbones_of, load_extractor, load_media
from .step_ingest import read_figures

_LINES = 15


def measure(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Runs each in this thread, for cProfile sees no other."""
    figures = read_figures(bench)
    network = Modality(slowest_network(figures) if figures else bench.modalities[-1])
    yield f"slowest network ({network})", attempt(lambda: _network(bench, network))
    yield "decode", attempt(lambda: _decode(bench))
    yield "main loop and write", attempt(lambda: _loop_and_write(bench))


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
    return _profiled(lambda: [list(decode(request)) for request in requests])


def _loop_and_write(bench: Bench) -> dict[str, Any]:
    """The main loop of an ingest, and then what it found written to an empty home."""
    folder = clips_again(bench, 1 if bench.small else 4)
    videos = [describe(file, folder, "kit") for file in find_media(folder)]
    options = EmbedOptions(backbones_of(bench), device=bench.device, workers=many_decoders())
    found: list[EmbeddedVideo] = []

    def embed() -> None:
        found.extend(
            v for v in embed_all(videos, options, Silent()) if isinstance(v, EmbeddedVideo)
        )

    def write() -> None:
        place = Place(bench.work / "home-profiled")
        with writing(place.home), open_store(place, writing=True) as store:
            writer = Writer(store, open_shards(place.home), "kit", place.home, {})
            for video in found:
                writer.add(video)
            writer.finish()

    return {"clips": len(videos), "main loop": _profiled(embed), "write": _profiled(write)}


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
