"""The synthetic library, written to Milvus as an ingest writes one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from ...ingest.milvus.store import open_store
from ...ingest.shards.home import Home, Place
from ...ingest.shards.lock import writing
from ...ingest.sync.writer import Writer
from ...ingest.system.atomic_file import whole_file
from ...ingest.system.progress import Progress
from ...schemas.backbones import Backbone
from ...schemas.errors import StoreError
from ..background import refresh
from .milvus import own_database
from .synthetic import LIBRARY, make_videos

_FLUSH_SEGMENTS = 1024
"""Segments per shard: 60 MB of vectors."""


@contextmanager
def open_library(
    videos: int,
    backbones: Sequence[Backbone],
    place: Place,
    kept: Path | None,
    progress: Progress,
) -> Iterator[tuple[Place, float | None]]:
    """Fill a separate place with the synthetic library.

    Args:
        videos: Number of videos.
        backbones: One per modality.
        place: Place of Milvus; the returned place has another home, and on a server its own
            database. Both are removed afterwards.
        kept: A home for the embedded Milvus that is kept, and reused where it already holds this
            library; `place` does not matter then.
        progress: Receives the progress of the videos.

    Returns:
        The place, and the seconds it took to fill, None where it was full.

    Raises:
        StoreError: `kept` holds something else, or Milvus or a folder cannot be written.
    """
    if kept is not None:
        yield Place(kept), _fill_kept(kept, videos, backbones, progress)
        return
    with TemporaryDirectory(prefix="vidsim-bench-") as folder, own_database(place) as database:
        own = replace(database, home=Path(folder))
        yield own, fill(own, videos, backbones, progress)


def _fill_kept(
    kept: Path, videos: int, backbones: Sequence[Backbone], progress: Progress
) -> float | None:
    note = kept / "synthetic.json"
    made_of = json.dumps({"videos": videos, "backbones": [b.name for b in backbones]})
    if note.exists() and note.read_text() == made_of:
        return None
    if kept.exists() and (not kept.is_dir() or any(kept.iterdir())):
        raise StoreError(f"{kept} holds something else; name an empty folder for --home.")
    seconds = fill(Place(kept), videos, backbones, progress)
    with whole_file(note) as partial:
        partial.write_text(made_of)
    return seconds


def fill(place: Place, videos: int, backbones: Sequence[Backbone], progress: Progress) -> float:
    """Write the synthetic library, or the missing rest of it, as an ingest does.

    Args:
        place: Target, which may already hold the library's first videos.
        videos: Number of videos afterwards.
        backbones: One per modality.
        progress: Receives the progress of the videos.

    Returns:
        The seconds it took, including the generation of the videos.

    Raises:
        StoreError: Milvus or a folder cannot be written.
    """
    began = time.perf_counter()
    with writing(place.home, "benchmark"), open_store(place, writing=True) as store:
        unknown = {b.name: "" for b in backbones}  # no weights computed them
        home = Home(place)
        catalog = home.shards.catalog(LIBRARY)
        progress.start("filling", videos - len(catalog), "videos")
        writer = Writer(store, home, LIBRARY, catalog, _FLUSH_SEGMENTS, unknown)
        for video in make_videos(videos, backbones, len(catalog)):
            writer.add(video)
            progress.advance("filling", 1)
            if writer.notes:
                raise StoreError(writer.notes[0])
        writer.finish()
        if writer.notes:
            raise StoreError(writer.notes[0])
    refresh(place.home, LIBRARY)
    progress.finish("filling")
    return time.perf_counter() - began
