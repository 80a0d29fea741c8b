"""Ingests of text files that die without a word at a moment between two steps."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vidsim.ingest import pipeline
from vidsim.ingest.milvus.store import Store
from vidsim.ingest.shards.home import Home, Place
from vidsim.ingest.shards.shard_files import Shards
from vidsim.ingest.sync import writer

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
    done = run("vidsim.tests.helpers.killed:main", words, os.environ)
    assert done.returncode == 9, done.stderr


def main() -> None:
    """The process that dies."""
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
