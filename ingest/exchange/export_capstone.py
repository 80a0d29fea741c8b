"""Exports with the files, datasets, shapes and dtypes of the capstone (CoderHam/VideoSimilarity).

Its notebooks and ``*_similarity_inference.py`` read these files as they are; docs/exports.md
describes each dataset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from ...schemas.backbones import Backbone
from ...schemas.exports import AUDIOSET_FEATURES, AUDIOSET_LABELS, AUDIOSET_SECONDS
from ...schemas.modality import Modality
from ...schemas.video import LABEL_SEPARATOR, Video
from ..models.networks.quantization import quantize
from ..shards.home import open_shards
from ..system.checked_h5 import append, growing_array, write_array
from ..system.progress import Progress
from .layout import (
    IndexedVideo,
    choose_libraries,
    exported_weights,
    read_indexed,
    stored_backbones,
    write_index,
    written_at_once,
    written_whole,
)

Items = Iterable[tuple[IndexedVideo, npt.NDArray[Any]]]


def export_capstone(
    home: Path, folder: Path, libraries: Sequence[str], progress: Progress
) -> list[Path]:
    """Export stored libraries in the capstone's layout.

    File names of backbones other than the capstone's include the backbone's name.

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
        files = []
        for backbone in stored_backbones(shards, chosen):
            stage = f"exporting {backbone.name}"
            progress.start(stage, None, "videos")

            def items(of: Backbone = backbone, stage: str = stage) -> Items:
                for item in read_indexed(shards, chosen, of):
                    yield item
                    progress.advance(stage, 1)

            weights = exported_weights(shards, chosen, backbone)
            files += _export_backbone(backbone, folder, weights, items)
            progress.finish(stage)
    return files


def _export_backbone(
    backbone: Backbone, folder: Path, weights: str, items: Callable[[], Items]
) -> list[Path]:
    """Write the files of one backbone; each call of `items` reads it from the beginning."""
    name = backbone.name
    if name == "vid2img":
        return [_export_merged(folder / "color_UCF_vid2img.h5", backbone, weights, items())]
    if backbone.modality is Modality.COLOR:
        return [_export_merged(folder / f"color_UCF_{name}.h5", backbone, weights, items())]
    if backbone.modality is Modality.FRAME:
        return [
            _export_by_path(folder / f"features_UCF_{name}.h5", backbone, weights, items()),
            _export_merged(folder / f"merged_features_UCF_{name}.h5", backbone, weights, items()),
        ]
    if backbone.modality is Modality.MOTION:
        suffix = "" if name == "resnet34_3d" else f"_{name}"
        return [
            _export_merged(folder / f"cnn3d_UCF_features{suffix}.h5", backbone, weights, items())
        ]
    if name == "vggish":
        clips = _unless_empty(i for i in items() if is_audioset(i[0]))
        others = _unless_empty(i for i in items() if not is_audioset(i[0]))
    else:
        clips, others = None, _unless_empty(items())
    files = _export_audioset(folder, backbone, weights, clips) if clips else []
    if others:
        files.append(_export_merged(folder / f"audio_sec_UCF_{name}.h5", backbone, weights, others))
    return files


def _unless_empty(items: Items) -> Items | None:
    """Return the same items; None where there are none, so that no file is created."""
    left = iter(items)
    first = list(islice(left, 1))
    return chain(first, left) if first else None


def is_audioset(item: IndexedVideo) -> bool:
    """Return whether it is an AudioSet clip as the capstone kept them: ten seconds, an address."""
    return (
        item.video.path.startswith("https://")
        and len(item.segments) == 1
        and len(item.owners) == AUDIOSET_SECONDS
    )


def _export_merged(path: Path, backbone: Backbone, weights: str, items: Items) -> Path:
    """Write all rows to one dataset, and their labels to another."""
    strips = backbone.name == "vid2img"
    of_videos = backbone.modality in (Modality.COLOR, Modality.MOTION)
    found: list[IndexedVideo] = []
    with written_whole(path) as file:
        name, dtype = ("color_vid2imgs", np.uint8) if strips else ("feature_vectors", np.float32)
        vectors = growing_array(file, name, (backbone.dim,), dtype)
        for item, block in items:
            append(vectors, _as_published(backbone, block.reshape(len(block), backbone.dim)))
            found.append(item)
        labels = [_row_label(backbone.modality, i.video) for i in found for _ in i.owners]
        write_array(file, "vid_labels" if of_videos else "feature_labels", _bytes(labels))
        write_index(file, backbone, "capstone", weights, found)
    return path


def _export_by_path(path: Path, backbone: Backbone, weights: str, items: Items) -> Path:
    """Write one dataset per video, named by its path."""
    found = []
    with written_whole(path) as file:
        for item, block in items:
            if len(block):
                write_array(file, item.video.video_id, block)
            found.append(item)
        write_index(file, backbone, "capstone", weights, found)
    return path


def _export_audioset(folder: Path, backbone: Backbone, weights: str, clips: Items) -> list[Path]:
    path = folder / AUDIOSET_FEATURES
    found = []
    with written_whole(path) as file:
        shape = (AUDIOSET_SECONDS, backbone.dim)
        levels = growing_array(file, "audio_embeddings", shape, np.float64)
        for item, rows in clips:
            append(levels, _as_published(backbone, rows)[None])
            found.append(item)
        write_index(file, backbone, "capstone", weights, found)
    labels = np.empty(len(found), object)
    for n, item in enumerate(found):
        labels[n] = _class_labels(item.video.label)
    with written_at_once(folder / AUDIOSET_LABELS) as partial, partial.open("wb") as raw:
        np.save(raw, labels, allow_pickle=True)
    return [path, folder / AUDIOSET_LABELS]


def _as_published(backbone: Backbone, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Convert rows to the capstone's units: VGGish's 0..255, as its post-processor outputs them."""
    return quantize(rows) if backbone.name == "vggish" else rows


def _row_label(modality: Modality, video: Video) -> str:
    """Return the capstone's label for a row of this modality: a stem, a path or a file's name."""
    name = PurePosixPath(video.video_id)
    if modality is Modality.COLOR:
        return name.stem
    if modality is Modality.AUDIO:
        return f"data/audio/{name.stem}.npy"
    return name.name if modality is Modality.MOTION else video.video_id


def _bytes(texts: Sequence[str]) -> npt.NDArray[np.bytes_]:
    """Encode texts as fixed-length UTF-8 byte strings, numpy's dtype ``S``."""
    return np.array([text.encode() for text in texts], dtype="S")


def _class_labels(label: str) -> npt.NDArray[Any]:
    """Return a clip's labels: AudioSet's numbers where they were kept, else their names."""
    names = label.split(LABEL_SEPARATOR)
    numbers = [name.removeprefix("label ") for name in names]
    if all(n.isascii() and n.isdigit() and f"label {n}" == name for n, name in zip(numbers, names)):
        return np.array([int(n) for n in numbers], np.int64)
    return np.array(names)
