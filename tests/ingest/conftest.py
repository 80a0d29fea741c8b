"""Stand-ins with which files of text are ingested."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidsim.ingest import pipeline
from vidsim.ingest.sync import writer

from ..helpers.ingests import pretend, write_files


@pytest.fixture
def networks(monkeypatch) -> list[str]:
    """Stands in for decoders and networks, and tells which videos they were given."""
    given: list[str] = []

    def embed_all(videos, options, progress, meter=None, stop=None):
        for video in videos:
            given.append(video.video_id)
            yield from pretend([video], options, progress)

    monkeypatch.setattr(pipeline, "embed_all", embed_all)
    return given


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_files(tmp_path / "lib", {"a.mp4": "a", "snow/b.mp4": "b", "snow/c.mp4": "c"})


@pytest.fixture
def small_shards(monkeypatch):
    """A shard is written after every video (of two segments)."""
    monkeypatch.setattr(writer, "_FLUSH_SEGMENTS", 2)
