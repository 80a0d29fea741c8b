"""Homes of many videos that are quick to make: small genuine files, and vectors without networks.

What is stored of the files is true (size, date, fingerprint), so that an ingest leaves them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vidsim.ingest.discover.videos import describe
from vidsim.ingest.shards.home import open_shards
from vidsim.schemas.embedding import EmbeddedVideo
from vidsim.schemas.presets import DEFAULT_PRESET, PRESETS
from vidsim.search.library import Library

from .answers import Question, ask
from .commands import content_of
from .embedded_videos import embedded
from .full_home import write_video

BIG = "big"
"""The library of many videos."""

SMALL = "small"
"""A library that is imported and removed again and again."""

_SMALL_VIDEOS = 30
_PER_SHARD = 200
_LABELS = ("dawn", "day", "dusk", "night")
ASKED = 3

_BACKBONES = tuple(PRESETS[DEFAULT_PRESET].values())


def named(number: int) -> str:
    """The path of a video below the library's folder."""
    silent = " silent" if number % 5 == 1 else ""
    return f"{_LABELS[number % len(_LABELS)]}/{number:05}{silent}.mkv"


def asked() -> list[Question]:
    """Questions about videos that no command changes."""
    return [Question(f"{BIG}/{named(number)}") for number in range(ASKED)]


def write_files(folder: Path, videos: int) -> None:
    """Writes the many videos; each differs by some bytes after its end, which nobody decodes."""
    base = [write_video(folder.parent / f"base {n}.mkv", seed=n).read_bytes() for n in range(8)]
    for number in range(videos):
        path = folder / named(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base[number % len(base)] + b"%d" % number)
    for number in range(len(base)):
        (folder.parent / f"base {number}.mkv").unlink()


def fill(home: Path, folder: Path) -> None:
    """Stores the videos of a folder in all modalities, in the shards and in Milvus."""
    shards = open_shards(home)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for first in range(0, len(paths), _PER_SHARD):
        few = paths[first : first + _PER_SHARD]
        shards.write(folder.name, [_stored(path, folder) for path in few])
    with Library.open(home) as library:
        library.reindex()


def _stored(path: Path, folder: Path) -> EmbeddedVideo:
    video = describe(path, folder, folder.name)
    seed = zlib.crc32(video.video_id.encode())
    made = embedded(video.video_id, backbones=_BACKBONES, seed=seed, silent="silent" in path.name)
    return replace(made, video=video)


def write_export(work: Path) -> None:
    """Writes ``work/export``, of a small library that was in another home."""
    write_files(work / SMALL, _SMALL_VIDEOS)
    fill(work / "elsewhere", work / SMALL)
    with Library.open(work / "elsewhere") as library:
        library.export(work / "export")


def look(home: str, exported: str, questions: Sequence[int]) -> dict[str, Any]:
    """All that can be known of a home, and of files that were exported.

    By video a checksum of its rows; sentences about damage; answers to some of `asked`.
    """
    with Library.open(Path(home)) as library:
        damage = [sentence for each in library.libraries() for sentence in each.damage]
    return {
        "videos": dict(_videos(Path(home))),
        "damage": damage,
        "answers": ask(Path(home), [asked()[number] for number in questions]),
        "exported": {path.name: content_of(path) for path in sorted(Path(exported).glob("*.h5"))},
    }


def verify(home: str) -> list[str]:
    """What is wrong in Milvus or with shards, having compared all rows."""
    with Library.open(Path(home)) as library:
        report = library.verify()
    wrong = [str(each) for each in report.comparisons if each.wrong]
    return wrong + report.damage + report.notes


def _videos(home: Path) -> Iterator[tuple[str, int]]:
    shards = open_shards(home)
    for library in shards.libraries():
        for video in shards.read(list(shards.catalog(library).values())):
            of = video.video
            found = zlib.crc32(f"{of.path} {of.label} {of.fingerprint}".encode())
            for embedding in video.embeddings:
                for name, rows in sorted(embedding.rows.items()):
                    found = zlib.crc32(name.encode(), found)
                    for array in (rows.vectors, rows.start_s, rows.end_s):
                        found = zlib.crc32(np.ascontiguousarray(array).tobytes(), found)
            yield of.video_id, found
