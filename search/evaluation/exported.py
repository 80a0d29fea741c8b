"""Read exports: videos with their vectors, without Milvus or a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ...ingest.exchange.h5_reader import H5File, H5Reader
from ...ingest.models.registry import adopt
from ...ingest.system.progress import Progress
from ...ingest.system.unreadable import listed
from ...schemas.backbones import BACKBONES, Backbone, Backbones, backbone_name
from ...schemas.embedding import FloatArray
from ...schemas.errors import ModelError, StoreError
from ...schemas.exports import EXPORT_FORMAT, INDEX
from ...schemas.modality import Modality
from ...schemas.presets import DEFAULT_PRESET, PRESETS
from ...schemas.video import LABEL_SEPARATOR
from ..background import measure, pool, spread
from ..likeness import Yardstick
from ..videos import VideoVectors, summarize

COLOR_BACKBONES = ("vid2img", "labhist")
"""Backbones always read, whichever one compares colour: the colour metrics need them."""

_STRINGS = ("video_ids", "labels", "libraries")
_NUMBERS = ("segments", "start_s", "end_s")
_ROWS_PER_READ = 1024


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
        modalities: Exported rows by modality; their videos may differ.
        colors: Vectors of vid2img (the colour strips) and labhist, where exported.
    """

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    libraries: tuple[str, ...]
    modalities: dict[Modality, ExportedRows]
    colors: dict[str, ExportedRows]


def read_exports(
    folder: Path, overrides: Sequence[str], progress: Progress, known: Backbones = BACKBONES
) -> Exported:
    """Read the exports in `folder`: one backbone per modality, and those of colour.

    Of several exported backbones of a modality, the default one is taken.

    Args:
        folder: Written by ``vidsim export``.
        overrides: Backbones such as ``frame=resnet50``.
        progress: Receives the progress of each file.
        known: Backbones that exports may hold; backbones that an export describes are added.

    Raises:
        StoreError: There is no export, or one is damaged or of another layout.
        ModelError: An override names no exported backbone.
    """
    paths = [p for p in listed(folder, f"The folder {folder}") if p.suffix == ".h5"]
    if not paths:
        raise StoreError(
            f"{folder} holds no exports (*.h5); write some with 'vidsim export {folder}'."
        )
    joined = dict(known)
    files: dict[Backbone, H5File] = {}
    shown: dict[str, tuple[str, str]] = {}
    with H5Reader() as reader:
        for path in paths:
            with _told(path):
                file = reader.open(path)
            other = files.setdefault(_backbone(file, joined), file)
            if other is not file:
                raise StoreError(
                    f"{other.path} and {path} hold the same backbone; take one out of the folder."
                )
        chosen = _choose(list(files), overrides)
        wanted = dict.fromkeys([*chosen.values(), *(BACKBONES[n] for n in COLOR_BACKBONES)])
        read = {b: _read(files[b], b, shown, progress) for b in wanted if b in files}
    # A library of sounds was embedded by picture backbones too, which gave no rows.
    modalities = {m: read[b] for m, b in chosen.items() if read[b].videos}
    if not modalities:
        raise StoreError(f"The exports in {folder} hold no rows; export a library that has some.")
    ids = tuple(sorted(shown))
    return Exported(
        ids=ids,
        labels=tuple(shown[i][0].partition(LABEL_SEPARATOR)[0] for i in ids),
        libraries=tuple(shown[i][1] for i in ids),
        modalities=modalities,
        colors={b.name: r for b, r in read.items() if b.name in COLOR_BACKBONES and r.videos},
    )


def yardstick_of(rows: ExportedRows, libraries: Mapping[str, Sequence[str]]) -> Yardstick:
    """Measure the background of one modality, as `search.background` does from shards.

    Args:
        rows: The vectors.
        libraries: Ids of the gallery's videos by library, ascending.
    """
    measured = []
    for ids in libraries.values():
        sample = spread([i for i in ids if i in rows.videos])
        moments = measure(rows.backbone, [rows.videos[i] for i in sample])
        if moments is not None:
            measured.append(moments)
    return Yardstick(rows.backbone, pool(rows.backbone, measured))


def _choose(stored: Sequence[Backbone], overrides: Sequence[str]) -> dict[Modality, Backbone]:
    chosen = {}
    for modality in Modality:
        # An export always holds the strips beside another colour backbone.
        there = sorted(
            (b for b in stored if b.modality is modality), key=lambda b: b.name == "vid2img"
        )
        if there:
            default = PRESETS[DEFAULT_PRESET][modality]
            chosen[modality] = next((b for b in there if b.name == default), there[0])
    for override in overrides:
        modality_name, _, named = override.partition("=")
        fitting = [
            b for b in stored if (b.modality, b.name) == (modality_name, backbone_name(named))
        ]
        if not fitting:
            names = ", ".join(f"{b.modality}={b.name}" for b in stored)
            raise ModelError(f"Nothing is exported as {override}; choose from {names}.")
        chosen[fitting[0].modality] = fitting[0]
    return chosen


def _backbone(file: H5File, known: dict[str, Backbone]) -> Backbone:
    """Return the backbone that a file names; one that it describes is added to `known`."""
    root, index = file.attributes[""], file.attributes.get(INDEX, {})
    if root.get("format") != EXPORT_FORMAT:
        raise StoreError(
            f"{file.path} is of another layout than 'vidsim export FOLDER' writes; "
            "take it out of the folder, or bring it in with 'vidsim import' and export again."
        )
    name = str(root.get("backbone"))
    if name not in known and "description" in index:
        with suppress(ValueError):  # else it stays unknown
            described = adopt(str(index["description"]), known)
            known[described.name] = described
    if name not in known:
        raise StoreError(
            f"{file.path} holds the unknown backbone {name}; set VIDSIM_HOME to the home it was "
            "exported from, or export again."
        )
    return known[name]


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn errors of HDF5 into a StoreError with a readable message."""
    try:
        yield
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} is damaged or no HDF5 file; export again.") from error


def _read(
    file: H5File, backbone: Backbone, known: dict[str, tuple[str, str]], progress: Progress
) -> ExportedRows:
    """Read the rows of a file, and add the label and library of its videos to `known`."""
    videos: dict[str, VideoVectors] = {}
    stage = f"reading {backbone.name}"
    path = file.path
    with _told(path):
        table = _table(file, backbone)
        ids = table["video_ids"]
        # The rows of a video are contiguous.
        edges = [i for i in range(len(ids)) if i == 0 or ids[i] != ids[i - 1]] + [len(ids)]
        progress.start(stage, len(ids), "rows")
        for start, block in _blocks(file, edges, backbone) if ids else ():
            if not np.isfinite(block).all():
                raise StoreError(f"{path} holds NaN or infinity; export again.")
            for a, b in pairwise(edges):
                if not start <= a < start + len(block):
                    continue
                about = (table["labels"][a], table["libraries"][a])
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
            progress.advance(stage, len(block))
    progress.finish(stage)
    return ExportedRows(backbone, dict(sorted(videos.items())))


def _table(file: H5File, backbone: Backbone) -> dict[str, Any]:
    """Read and check the columns beside the vectors: lists of texts, and arrays."""
    path = file.path
    for name in ("vectors", *_STRINGS, *_NUMBERS):
        if name not in file.datasets:
            raise StoreError(f"{path} has no dataset {name!r}; export again.")
        kind = "text" if name in _STRINGS else "numbers"
        if file.datasets[name].kind != kind:
            raise StoreError(f"{path} has a dataset {name!r} that is not {kind}; export again.")
    shape = file.datasets["vectors"].shape
    if int(np.prod(shape[1:])) != backbone.dim:
        raise StoreError(
            f"{path} holds vectors of shape {shape[1:]} where {backbone.name} has "
            f"{backbone.dim} numbers; export again."
        )
    if any(file.datasets[n].shape != shape[:1] for n in (*_STRINGS, *_NUMBERS)):
        raise StoreError(f"{path} has datasets of different length; export again.")
    return {n: file.texts(n) for n in _STRINGS} | {n: file.numbers(n) for n in _NUMBERS}


def _blocks(
    file: H5File, edges: Sequence[int], backbone: Backbone
) -> Iterator[tuple[int, FloatArray]]:
    """Yield whole videos, some thousand rows at a time: number of the first row, float32 rows."""
    start = 0
    for end, after in zip(edges[1:], [*edges[2:], None], strict=True):
        if after is None or after - start > _ROWS_PER_READ:
            (read,) = file.read([("vectors", start, end)])
            block = read.reshape(end - start, backbone.dim)
            # Strips are stored as bytes; the vid2img embedding is their values scaled to 0..1.
            scale = 255 if block.dtype == np.uint8 else 1
            yield start, np.divide(block, scale, dtype=np.float32)
            start = end
