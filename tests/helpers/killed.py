"""Processes that die without a word between two steps of what they write."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vidsim.ingest import pipeline
from vidsim.ingest.milvus.store import Store, open_store
from vidsim.ingest.shards.home import Home, Place
from vidsim.ingest.shards.shard_files import Shards
from vidsim.ingest.sync import writer
from vidsim.schemas.backbones import BACKBONES

from .embedded_videos import embedded
from .ingests import ingest, pretend
from .warm import run

MOMENTS: dict[str, tuple[type, str, str]] = {
    "before the shard": (Shards, "write", "before"),
    "after the shard": (Shards, "write", "after"),
    "before the rows": (Store, "upsert", "before"),
    "amid the rows": (Store, "upsert", "half"),
    "after the rows": (Store, "upsert", "after"),
    "before the old rows go": (Store, "delete", "before"),
    "after the old rows went": (Store, "delete", "after"),
    "before the old ids go": (Shards, "drop", "before"),
    "after the old ids went": (Shards, "drop", "after"),
    "before the note": (Home, "write_note", "before"),
    "before the end": (Store, "flush", "before"),
}


def kill_ingest(folder: Path, place: Place, moment: str, segments_per_shard: int) -> None:
    """Ingests colour and motion in a process of its own, which dies at one of `MOMENTS`."""
    words = [str(folder), str(place.home), moment, str(segments_per_shard)]
    done = run("vidsim.tests.helpers.killed:ingest_and_die", words, os.environ)
    assert done.returncode == 9, done.stderr


def leave_unsealed(home: Path, *video_ids: str) -> None:
    """Writes colours to the embedded Milvus in a process that dies before it closes that."""
    done = run("vidsim.tests.helpers.killed:write_and_die", [str(home), *video_ids], os.environ)
    assert done.returncode == 9, done.stderr


def write_and_die() -> None:
    """What `leave_unsealed` runs."""
    home, *video_ids = sys.argv[1:]
    videos = [embedded(v, backbones=("labhist",), seed=n) for n, v in enumerate(video_ids)]
    with open_store(Place(Path(home)), writing=True) as store:
        store.upsert(BACKBONES["labhist"], videos)
        os._exit(9)


def ingest_and_die() -> None:
    """What `kill_ingest` runs."""
    folder, home, moment, segments = sys.argv[1:]
    pipeline.embed_all = pretend
    writer._FLUSH_SEGMENTS = int(segments)
    owner, name, when = MOMENTS[moment]
    setattr(owner, name, _dying(getattr(owner, name), when))
    ingest(Path(folder), Place(Path(home)), "color", "motion")


def _dying(plain: Callable[..., Any], when: str) -> Callable[..., None]:
    def die(owner: Any, first: Any, *more: Any) -> None:
        if when == "half":
            plain(owner, first, list(more[0])[:1])
        elif when == "after":
            plain(owner, first, *more)
        os._exit(9)

    return die
