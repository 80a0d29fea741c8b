"""Exports: the shards of libraries merged into one HDF5 file a backbone."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np

from .. import __version__
from ..schemas.embedding import EmbeddedVideo
from ..schemas.errors import LibraryError, StoreError
from ..schemas.exports import EXPORT_FORMAT, LAYOUT_VERSION
from ..schemas.modality import BACKBONES, VID2IMG_SHAPE, Backbone, Modality
from ..schemas.video import row_id
from .home import expected_rows, open_shards
from .progress import Progress
from .shards import Shards

_STRINGS = ("ids", "video_ids", "libraries", "labels", "paths")


def export(home: Path, folder: Path, libraries: Sequence[str], progress: Progress) -> list[Path]:
    """Writes ``MODALITY_BACKBONE.h5`` for every stored backbone, and ``color_vid2img.h5``.

    Vectors are as the network gave them (float32, not normalised); the colour strips are
    (n, 20, 100, 3) uint8. Attributes name the backbone and the SHA-256 of its weights.

    Args:
        home: vidsim's home.
        folder: Where to write; made if it is not there.
        libraries: Which to merge; none for all.
        progress: Told about the stages.

    Returns:
        The files, each written whole or not at all.

    Raises:
        LibraryError: A library that is not there, or none at all.
        StoreError: A file cannot be read or written.
    """
    shards = open_shards(home)
    known = shards.libraries()
    for name in libraries:
        if name not in known:
            raise LibraryError(
                f"No library is called {name}; there is {', '.join(known) or 'none'}."
            )
    if not known:
        raise LibraryError("Nothing is stored yet; run 'vidsim ingest FOLDER' first.")
    chosen = list(libraries or known)
    stored = {name for library in chosen for name in expected_rows(shards.catalog(library))}
    files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for backbone in (b for b in BACKBONES.values() if b.name in stored):
            if backbone.name != "vid2img":
                files.append(_export_one(shards, chosen, backbone, folder, progress, strips=False))
        if any(BACKBONES[name].modality is Modality.COLOR for name in stored):
            vid2img = BACKBONES["vid2img"]
            files.append(_export_one(shards, chosen, vid2img, folder, progress, strips=True))
    except OSError as error:
        raise StoreError(f"{folder} cannot be written ({error}); choose another folder.") from error
    return files


def _export_one(
    shards: Shards,
    libraries: Sequence[str],
    backbone: Backbone,
    folder: Path,
    progress: Progress,
    strips: bool,
) -> Path:
    path = folder / f"{backbone.modality}_{backbone.name}.h5"
    partial = path.with_suffix(".partial")
    stage = f"exporting {backbone.name}"
    progress.start(stage, None, "videos")
    shape, dtype = (VID2IMG_SHAPE, np.uint8) if strips else ((backbone.dim,), np.float32)
    with h5py.File(partial, "w") as file:
        file.attrs.update(
            format=EXPORT_FORMAT,
            version=LAYOUT_VERSION,
            vidsim=__version__,
            modality=backbone.modality.value,
            backbone=backbone.name,
            weights_sha256=";".join(
                dict.fromkeys(filter(None, (shards.weights(n, backbone.name) for n in libraries)))
            ),
            libraries=list(libraries),
        )
        vectors = file.create_dataset(
            "vectors", (0, *shape), dtype, maxshape=(None, *shape), chunks=(64, *shape)
        )
        table: dict[str, list[object]] = {name: [] for name in (*_STRINGS, "segments")}
        times: dict[str, list[float]] = {"start_s": [], "end_s": []}
        for library in libraries:
            entries = list(shards.catalog(library).values())
            names = None if strips else [backbone.name]
            seen: set[str] = set()
            for video in shards.read(library, entries, names):
                # A video lies in several shards if its modalities came one after another.
                if strips and video.video.video_id in seen:
                    continue
                block = _append(video, backbone.name, strips, table, times)
                if len(block):
                    seen.add(video.video.video_id)
                    vectors.resize(len(vectors) + len(block), axis=0)
                    vectors[-len(block) :] = block
                progress.advance(stage, 1)
        for name in _STRINGS:
            file.create_dataset(name, data=table[name], dtype=h5py.string_dtype("utf-8"))
        file["segments"] = np.array(table["segments"], np.int32)
        for name, values in times.items():
            file[name] = np.array(values, np.float32)
    os.replace(partial, path)
    progress.finish(stage)
    return path


def _append(
    item: EmbeddedVideo,
    backbone: str,
    strips: bool,
    table: dict[str, list[object]],
    times: dict[str, list[float]],
) -> np.ndarray:
    """Adds a video's rows to the table; returns their vectors (n, ...)."""
    blocks = []
    for segment, embedding in zip(item.segments, item.embeddings, strict=True):
        if strips:
            if embedding.vid2img is None:
                continue
            block: np.ndarray = embedding.vid2img[None]
            start, end = [segment.start_s], [segment.end_s]
        else:
            rows = embedding.rows.get(backbone)
            if rows is None:
                continue
            block, start, end = rows.vectors, rows.start_s.tolist(), rows.end_s.tolist()
        blocks.append(block)
        for i in range(len(block)):
            table["ids"].append(row_id(item.video.video_id, segment.index, i))
            table["video_ids"].append(item.video.video_id)
            table["libraries"].append(item.video.library)
            table["labels"].append(item.video.label)
            table["paths"].append(item.video.path)
            table["segments"].append(segment.index)
        times["start_s"] += start
        times["end_s"] += end
    return np.concatenate(blocks) if blocks else np.zeros(0)
