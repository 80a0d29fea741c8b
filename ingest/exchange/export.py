"""Exports in vidsim's own layout: shards merged into one HDF5 file per backbone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ... import __version__
from ...schemas.backbones import VID2IMG_SHAPE, Backbone
from ...schemas.exports import EXPORT_FORMAT, INDEX, LAYOUT_VERSION
from ...schemas.video import row_id
from ..shards.home import open_shards
from ..shards.shard_files import Shards
from ..system.checked_h5 import append, encoded, growing_array, write_array
from ..system.progress import Progress
from .layout import (
    IndexedVideo,
    choose_libraries,
    exported_weights,
    read_indexed,
    stored_backbones,
    write_index,
    written_whole,
)


def export(home: Path, folder: Path, libraries: Sequence[str], progress: Progress) -> list[Path]:
    """Write ``MODALITY_BACKBONE.h5`` for every stored backbone, and ``color_vid2img.h5``.

    Vectors are as the network gave them (float32, not normalised); the colour strips are
    (n, 20, 100, 3) uint8. Attributes name the backbone and the SHA-256 of its weights.

    Args:
        home: vidsim's home.
        folder: Target folder, created if missing.
        libraries: Libraries to merge; none for all.
        progress: Receives the progress of the stages.

    Returns:
        The files, each written whole or not at all.

    Raises:
        LibraryError: A library does not exist, or there is none at all.
        StoreError: A file cannot be read or written.
    """
    with open_shards(home).pinned() as shards:
        chosen = choose_libraries(shards, libraries)
        return [
            _export_one(shards, chosen, backbone, folder, progress)
            for backbone in stored_backbones(shards, chosen)
        ]


def _export_one(
    shards: Shards,
    libraries: Sequence[str],
    backbone: Backbone,
    folder: Path,
    progress: Progress,
) -> Path:
    path = folder / f"{backbone.modality}_{backbone.name}.h5"
    stage = f"exporting {backbone.name}"
    progress.start(stage, None, "videos")
    strips = backbone.name == "vid2img"
    weights = exported_weights(shards, libraries, backbone)
    shape, dtype = (VID2IMG_SHAPE, np.uint8) if strips else ((backbone.dim,), np.float32)
    items: list[IndexedVideo] = []
    with written_whole(path) as file:
        file.attrs.update(
            format=EXPORT_FORMAT,
            version=LAYOUT_VERSION,
            vidsim=__version__,
            modality=backbone.modality.value,
            backbone=backbone.name,
            weights_sha256=weights,
            libraries=list(libraries),
        )
        vectors = growing_array(file, "vectors", shape, dtype)
        for item, block in read_indexed(shards, libraries, backbone):
            append(vectors, block)
            items.append(item)
            progress.advance(stage, 1)
        videos = [i.video for i in items for _ in i.owners]
        segments = [i.segments[n].index for i in items for n in i.owners]
        texts = {
            "ids": [name for i in items for name in _row_ids(i)],
            "video_ids": [v.video_id for v in videos],
            "libraries": [v.library for v in videos],
            "labels": [v.label for v in videos],
            "paths": [v.path for v in videos],
        }
        for name, values in texts.items():
            # Each is as long as the longest: packed, that costs nothing.
            write_array(file, name, encoded(values), compression="gzip", compression_opts=1)
        write_array(file, "segments", np.array(segments, np.int32))
        write_index(file, backbone, "native", weights, items)
        for name in ("start_s", "end_s"):
            file[name] = file[INDEX]["rows"][name]  # a hard link to the same dataset
    progress.finish(stage)
    return path


def _row_ids(item: IndexedVideo) -> list[str]:
    """Return Milvus' primary keys, which count rows within their segment."""
    first = np.searchsorted(item.owners, item.owners)
    return [
        row_id(item.video.video_id, item.segments[n].index, row - start)
        for row, (n, start) in enumerate(zip(item.owners.tolist(), first.tolist()))
    ]
