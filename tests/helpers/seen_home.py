"""A home whose videos are real files, with random vectors instead of embeddings."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vidsim.ingest.discover.videos import describe
from vidsim.ingest.shards.home import open_shards

from .embedded_videos import embedded


def home_of_files(
    home: Path,
    root: Path,
    files: Sequence[Path],
    backbones: Sequence[str] = ("labhist", "efficientnet_lite0"),
) -> Path:
    """Writes shards that say of files below `root` that they are stored, without decoding them."""
    videos = []
    for number, path in enumerate(files):
        video = describe(path, root, root.name)
        silent = bool(number % 2)
        seed = zlib.crc32(video.video_id.encode())
        made = embedded(video.video_id, backbones=backbones, seed=seed, silent=silent)
        videos.append(replace(made, video=video))
    open_shards(home).write(root.name, videos)
    return home
