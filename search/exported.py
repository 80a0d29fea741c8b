"""Reads what ``vidsim export`` wrote: videos with their vectors, without Milvus or a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from ..schemas.embedding import FloatArray
from ..schemas.errors import ModelError, StoreError
from ..schemas.exports import EXPORT_FORMAT
from ..schemas.modality import BACKBONES, DEFAULT_PRESET, PRESETS, Backbone, Modality
from ..schemas.video import LABEL_SEPARATOR
from .background import measure, pool, spread
from .fusion import Background
from .videos import VideoVectors, summarize

_STRINGS = ("video_ids", "labels", "libraries")
_NUMBERS = ("segments", "start_s", "end_s")
_ROWS_PER_READ = 8192


@dataclass(frozen=True)
class ExportedRows:
    """The vectors of one backbone by video id, ids ascending."""

    backbone: Backbone
    videos: dict[str, VideoVectors]


@dataclass(frozen=True)
class Exported:
    """A folder of exports.

    Attributes:
        ids: Ids of all videos that any modality has, ascending.
        labels: The class of each (the first of several), "" where it has none.
        libraries: The library of each.
        modalities: What was exported of them; the videos may differ.
        strips: The colour strips as vid2img vectors, None where there are none.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    libraries: tuple[str, ...]
    modalities: dict[Modality, ExportedRows]
    strips: ExportedRows | None


def read_exports(folder: Path, overrides: Sequence[str] = ()) -> Exported:
    """Reads the exports in `folder`: one backbone a modality, and the colour strips.

    Where a modality was exported with several backbones, the default one is taken.

    Args:
        folder: What was given to ``vidsim export``.
        overrides: Backbones such as ``frame=resnet50``.

    Raises:
        StoreError: No export is there, or one is damaged or of another layout.
        ModelError: An override that names no exported backbone.
    """
    files = {_backbone(path): path for path in sorted(folder.glob("*.h5"))}
    if not files:
        raise StoreError(
            f"{folder} holds no exports (*.h5); write some with 'vidsim export {folder}'."
        )
    known: dict[str, tuple[str, str]] = {}
    chosen = _choose(list(files), overrides)
    read = {m: _read(files[b], b, known) for m, b in chosen.items()}
    # A library of sounds has been asked for pictures too, and has none.
    modalities = {m: rows for m, rows in read.items() if rows.videos}
    if not modalities:
        raise StoreError(f"The exports in {folder} hold no rows; export a library that has some.")
    vid2img = BACKBONES["vid2img"]
    strips = _read(files[vid2img], vid2img, {}) if vid2img in files else None
    ids = tuple(sorted(known))
    return Exported(
        ids=ids,
        labels=tuple(known[i][0].partition(LABEL_SEPARATOR)[0] for i in ids),
        libraries=tuple(known[i][1] for i in ids),
        modalities=modalities,
        strips=strips if strips and strips.videos else None,
    )


def background_of(rows: ExportedRows, libraries: Mapping[str, Sequence[str]]) -> Background:
    """The background of one modality, measured as `search.background` does from shards.

    Args:
        rows: The vectors.
        libraries: By library, ids of the videos that may be neighbours, ascending.
    """
    measured = []
    for ids in libraries.values():
        sample = spread([i for i in ids if i in rows.videos])
        moments = measure(rows.backbone, [rows.videos[i] for i in sample])
        if moments is not None:
            measured.append(moments)
    return pool(rows.backbone, measured)


def _choose(stored: Sequence[Backbone], overrides: Sequence[str]) -> dict[Modality, Backbone]:
    chosen = {}
    for modality in Modality:
        # The strips are always exported beside another colour backbone.
        there = sorted(
            (b for b in stored if b.modality is modality), key=lambda b: b.name == "vid2img"
        )
        if there:
            default = PRESETS[DEFAULT_PRESET][modality]
            chosen[modality] = next((b for b in there if b.name == default), there[0])
    for override in overrides:
        fitting = [b for b in stored if override == f"{b.modality}={b.name}"]
        if not fitting:
            names = ", ".join(f"{b.modality}={b.name}" for b in stored)
            raise ModelError(f"Nothing is exported as {override}; choose from {names}.")
        chosen[fitting[0].modality] = fitting[0]
    return chosen


def _backbone(path: Path) -> Backbone:
    """The backbone a file says it holds."""
    with _opened(path) as file:
        if file.attrs.get("format") != EXPORT_FORMAT:
            raise StoreError(
                f"{path} is of another layout than 'vidsim export FOLDER' writes; "
                "take it out of the folder, or bring it in with 'vidsim import' and export again."
            )
        name = str(file.attrs.get("backbone"))
    if name not in BACKBONES:
        raise StoreError(f"{path} holds the unknown backbone {name}; export again.")
    return BACKBONES[name]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An open HDF5 file; what HDF5 says of a damaged one becomes a sentence."""
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise StoreError(f"{path} is damaged or no HDF5 file; export again.") from error


def _read(path: Path, backbone: Backbone, known: dict[str, tuple[str, str]]) -> ExportedRows:
    """The rows of a file; adds label and library of its videos to `known`."""
    videos: dict[str, VideoVectors] = {}
    with _opened(path) as file:
        table = _table(path, file, backbone)
        ids = table["video_ids"]
        # Rows of a video lie together.
        edges = [i for i in range(len(ids)) if i == 0 or ids[i] != ids[i - 1]] + [len(ids)]
        for start, block in _blocks(file["vectors"], edges, backbone) if len(ids) else ():
            if not np.isfinite(block).all():
                raise StoreError(f"{path} holds NaN or infinity; export again.")
            for a, b in pairwise(edges):
                if not start <= a < start + len(block):
                    continue
                about = (str(table["labels"][a]), str(table["libraries"][a]))
                if known.setdefault(ids[a], about) != about or ids[a] in videos:
                    raise StoreError(
                        f"{path} and the files beside it disagree about {ids[a]}; export again."
                    )
                videos[ids[a]] = summarize(
                    backbone,
                    table["segments"][a:b].tolist(),
                    block[a - start : b - start],
                    table["start_s"][a:b].tolist(),
                    table["end_s"][a:b].tolist(),
                )
    return ExportedRows(backbone, dict(sorted(videos.items())))


def _table(path: Path, file: Any, backbone: Backbone) -> dict[str, npt.NDArray[Any]]:
    """The columns beside the vectors, checked."""
    missing = [n for n in ("vectors", *_STRINGS, *_NUMBERS) if n not in file]
    if missing:
        raise StoreError(f"{path} has no dataset {missing[0]!r}; export again.")
    shape = file["vectors"].shape
    if int(np.prod(shape[1:])) != backbone.dim:
        raise StoreError(
            f"{path} holds vectors of shape {shape[1:]} where {backbone.name} has "
            f"{backbone.dim} numbers; export again."
        )
    table = {n: np.asarray(file[n].asstr()[:], object) for n in _STRINGS}
    table |= {n: file[n][:] for n in _NUMBERS}
    if any(len(column) != shape[0] for column in table.values()):
        raise StoreError(f"{path} has datasets of different length; export again.")
    return table


def _blocks(
    vectors: Any, edges: Sequence[int], backbone: Backbone
) -> Iterator[tuple[int, FloatArray]]:
    """Whole videos of some thousand rows at a time: the first row's number, and float32 rows."""
    start = 0
    for end, after in zip(edges[1:], [*edges[2:], None], strict=True):
        if after is None or after - start > _ROWS_PER_READ:
            block = vectors[start:end].reshape(end - start, backbone.dim)
            # Strips are kept as bytes; the vid2img embedding is their values in 0..1.
            scale = 255 if block.dtype == np.uint8 else 1
            yield start, np.asarray(block, np.float32) / np.float32(scale)
            start = end
