"""Reads export files, vidsim's and the capstone's, and checks them before anything is kept."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NoReturn

import h5py
import numpy as np
import numpy.typing as npt

from ..schemas.embedding import EmbeddedVideo, Rows, SegmentEmbedding
from ..schemas.errors import LibraryError, MediaError, StoreError
from ..schemas.exports import (
    AUDIOSET_LABELS,
    AUDIOSET_SECONDS,
    EXPORT_FORMAT,
    INDEX,
    LAYOUT_VERSION,
)
from ..schemas.modality import BACKBONES, VID2IMG_SHAPE, Backbone
from ..schemas.video import LABEL_SEPARATOR, SEGMENT_SECONDS, Segment, Video
from .array_pickle import ArrayUnpickler
from .discover import check_id
from .export_index import IndexedVideo, read_index
from .quantization import dequantize
from .registry import adopt
from .weights import digests

Form = Literal["vectors", "levels", "strips"]
"""What rows are: as extracted, VGGish's 0..255, or colour strips."""

_PATCH_SECONDS = 0.96
"""Stretch of sound that a row of the capstone's VGGish describes (its log-mel examples)."""

_UCF_NAME = re.compile(r"v_([^_/]+)_g\d+_c\d+")
"""How UCF101 names its clips; the capstone took a clip's class from there too."""


@dataclass(frozen=True)
class Block:
    """A video of a file, and where its rows lie: items ``first:last`` of `dataset`."""

    item: IndexedVideo
    dataset: str
    first: int
    last: int


@dataclass(frozen=True)
class Source:
    """A checked export file.

    Attributes:
        path: The file.
        backbone: What its rows were computed with.
        form: What its rows are.
        weights_sha256: Of the weights they were computed with, "" where it does not say.
        blocks: Its videos by id.
    """

    path: Path
    backbone: Backbone
    form: Form
    weights_sha256: str
    blocks: dict[str, Block]


def open_export(path: Path, library: str | None) -> Source:
    """Reads what a file holds, and checks every row of it.

    Args:
        path: An export of either layout, or a file that the capstone wrote.
        library: The library's name, for files that do not say one.

    Raises:
        LibraryError: No such file, or it says no library and none was given.
        StoreError: It is damaged, no such file, or holds rows that do not fit.
    """
    if not path.is_file():
        raise LibraryError(f"There is no file {path}; give the files that an export wrote.")
    try:
        with h5py.File(path, "r") as file:
            source = _indexed(file, path) if INDEX in file else _old(file, path, library)
            for block in source.blocks.values():
                _check(_rows(file, source, block), source, block)
    except (
        OSError,
        KeyError,
        ValueError,
        TypeError,
        IndexError,
        AttributeError,
        RuntimeError,
    ) as error:
        reason = str(error).strip("'\"").splitlines()[0]
        raise StoreError(
            f"{path} is no HDF5 file that can be read ({reason}); export it again."
        ) from error
    return source


def read_videos(
    sources: Sequence[Source], video_ids: Sequence[str]
) -> Iterator[tuple[str, EmbeddedVideo]]:
    """The videos of all sources, each with the source's backbone and its colour strips.

    Yields:
        The id, and what one source has of it; ids come once a source.
    """
    for source in sources:
        with h5py.File(source.path, "r") as file:
            for video_id in video_ids:
                block = source.blocks.get(video_id)
                if block is not None:
                    yield video_id, _embedded(source, block, _rows(file, source, block))


def strip_rows(video: EmbeddedVideo) -> EmbeddedVideo:
    """`video` with the vid2img rows that follow from its strips."""
    backbone = BACKBONES["vid2img"]
    embeddings = []
    for segment, part in zip(video.segments, video.embeddings):
        rows = dict(part.rows)
        if part.vid2img is not None:
            rows[backbone.name] = Rows(
                (part.vid2img.reshape(1, backbone.dim) / 255).astype(np.float32),
                np.array([segment.start_s], np.float32),
                np.array([segment.end_s], np.float32),
            )
        embeddings.append(SegmentEmbedding(rows, part.vid2img))
    return EmbeddedVideo(
        video=video.video,
        duration_s=video.duration_s,
        segment_seconds=video.segment_seconds,
        backbones=video.backbones | {backbone.name},
        segments=video.segments,
        embeddings=tuple(embeddings),
    )


def _embedded(source: Source, block: Block, rows: npt.NDArray[Any]) -> EmbeddedVideo:
    item, name = block.item, source.backbone.name
    embeddings = []
    for n in range(len(item.segments)):
        first, last = np.searchsorted(item.owners, [n, n + 1])
        if last == first:
            embeddings.append(SegmentEmbedding({}))
        elif source.form == "strips":
            embeddings.append(SegmentEmbedding({}, rows[first]))
        else:
            part = slice(first, last)
            embeddings.append(
                SegmentEmbedding({name: Rows(rows[part], item.start_s[part], item.end_s[part])})
            )
    video = EmbeddedVideo(
        video=item.video,
        duration_s=item.duration_s,
        segment_seconds=item.segment_seconds,
        backbones=frozenset({name} if source.form != "strips" else ()),
        segments=item.segments,
        embeddings=tuple(embeddings),
    )
    return strip_rows(video) if source.form == "strips" and item.computed else video


def _rows(file: h5py.File, source: Source, block: Block) -> npt.NDArray[Any]:
    """A block's rows (n, dim) float32, or strips (n, 20, 100, 3) uint8."""
    if block.first == block.last:
        stored = np.zeros((0, source.backbone.dim), np.float32)
    else:
        stored = file[block.dataset][block.first : block.last].reshape(-1, source.backbone.dim)
    if not np.isfinite(stored).all():
        _refuse(source.path, f"{block.item.video.video_id} holds NaN or infinity")
    if source.form == "vectors":
        return stored.astype(np.float32)
    levels = np.rint(stored)
    if ((levels < 0) | (levels > 255)).any() or (
        source.form == "levels" and (levels != stored).any()
    ):
        _refuse(source.path, f"{block.item.video.video_id} holds other numbers than 0 to 255")
    if source.form == "levels":
        return dequantize(levels.astype(np.uint8))
    return levels.astype(np.uint8).reshape(-1, *VID2IMG_SHAPE)


def _check(rows: npt.NDArray[Any], source: Source, block: Block) -> None:
    item = block.item
    if len(rows) != len(item.owners):
        _refuse(source.path, f"{item.video.video_id} has {len(rows)} rows, not {len(item.owners)}")
    for times in (item.start_s, item.end_s):
        if times.shape != item.owners.shape or not np.isfinite(times).all():
            _refuse(source.path, f"{item.video.video_id} has rows without a start or end")
    if source.form == "strips" and len(set(item.owners.tolist())) != len(item.owners):
        _refuse(source.path, f"{item.video.video_id} has two strips of one segment")
    try:
        check_id(item.video.video_id)
    except MediaError as error:
        raise StoreError(
            f"{source.path} names a video {item.video.video_id!r}, whose id cannot be stored; "
            "rename it before the export."
        ) from error


def _indexed(file: h5py.File, path: Path) -> Source:
    """A file of vidsim's, in either layout."""
    attributes = file[INDEX].attrs
    found = attributes.get("format"), attributes.get("version")
    if found != (EXPORT_FORMAT, LAYOUT_VERSION):
        _refuse(path, "it is no export of this version of vidsim")
    try:
        described = adopt(str(attributes["description"])) if "description" in attributes else None
    except ValueError as error:
        _refuse(path, str(error))
    backbone = BACKBONES.get(attributes["backbone"])
    if backbone is None or described not in (None, backbone):
        _refuse(path, f"this vidsim knows no backbone {attributes['backbone']}")
    theirs, ours = str(attributes["weights_sha256"]), digests(backbone)
    if theirs and ours and theirs != ours:
        _refuse(path, f"its {backbone.name} had other weights than this vidsim's")
    items = read_index(file)
    capstone = attributes["layout"] == "capstone"
    form: Form = "strips" if backbone.name == "vid2img" else "vectors"
    if capstone and backbone.name == "vggish":
        form = "levels"
    blocks: dict[str, Block] = {}
    if capstone and not _merged_dataset(file):
        for item in items:
            name = item.video.video_id
            if len(item.owners):
                if name not in file:
                    _refuse(path, f"it has neither a dataset of all rows nor one of {name}")
                _check_shape(file[name], path, backbone, len(item.owners))
            blocks[name] = Block(item, name, 0, len(item.owners))
        return Source(path, backbone, form, theirs, blocks)
    dataset = (_merged_dataset(file) if capstone else None) or "vectors"
    if dataset not in file:
        _refuse(path, f"it has no dataset {dataset}")
    counts = [1 if capstone and file[dataset].ndim == 3 else len(i.owners) for i in items]
    edges = np.cumsum([0, *counts]).tolist()
    _check_shape(file[dataset], path, backbone, edges[-1])
    for item, first, last in zip(items, edges, edges[1:]):
        blocks[item.video.video_id] = Block(item, dataset, first, last)
    return Source(path, backbone, form, theirs, blocks)


def _merged_dataset(file: h5py.File) -> str | None:
    """The dataset that holds all rows in the capstone's layout; None where each video has one."""
    names = ("color_vid2imgs", "feature_vectors", "audio_embeddings")
    return next((n for n in names if isinstance(file.get(n), h5py.Dataset)), None)


def _check_shape(data: Any, path: Path, backbone: Backbone, rows: int) -> None:
    """Raises StoreError unless `data` has `rows` items that fit the backbone."""
    fitting: list[tuple[int, ...]] = [(rows, backbone.dim)]
    if backbone.name == "vid2img":
        fitting.append((rows, *VID2IMG_SHAPE))
    if backbone.name == "vggish":
        fitting.append((rows, AUDIOSET_SECONDS, backbone.dim))
    if not isinstance(data, h5py.Dataset) or data.dtype.kind not in "fu":
        kind = data.dtype if isinstance(data, h5py.Dataset) else "a group"
        _refuse(path, f"{data.name} is {kind}, not an array of numbers")
    if data.shape not in fitting:
        _refuse(path, f"{data.name} is {data.shape}, not {fitting[0]} as {backbone.name} has it")


# --- files that the capstone itself wrote ---


def _old(file: h5py.File, path: Path, library: str | None) -> Source:
    if library is None:
        raise LibraryError(f"{path} does not say which library it is of; name one with --library.")
    name = _merged_dataset(file)
    if name == "audio_embeddings":
        return _old_audioset(file, path, library)
    if name is None:
        return _old_by_path(file, path, library)
    labels_name = "feature_labels" if "feature_labels" in file else "vid_labels"
    if labels_name not in file:
        _refuse(path, f"beside {name} there is neither vid_labels nor feature_labels")
    data = file[name]
    dim = data.shape[1] if data.ndim == 2 else None
    wanted = {
        ("color_vid2imgs", "vid_labels"): ("vid2img",),
        ("feature_vectors", "vid_labels"): ("resnet34_3d",),
        ("feature_vectors", "feature_labels"): ("resnet50", "vggish"),
    }.get((name, labels_name))
    if wanted is None:
        _refuse(path, f"{name} lies beside {labels_name}, as in no file of the capstone")
    fitting = [BACKBONES[b] for b in wanted if BACKBONES[b].dim == dim]
    if data.ndim == 4 and wanted == ("vid2img",):
        fitting = [BACKBONES["vid2img"]]
    if not fitting:
        known = " or ".join(f"{BACKBONES[b].dim} ({b})" for b in wanted)
        _refuse(path, f"{name} is {data.shape}, and the capstone's rows are of {known}")
    (backbone,) = fitting
    labels = [
        text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        for text in file[labels_name][:].tolist()
    ]
    _check_shape(data, path, backbone, len(labels))
    edges = [i for i, t in enumerate(labels) if i == 0 or t != labels[i - 1]] + [len(labels)]
    blocks: dict[str, Block] = {}
    for first, last in pairwise(edges):
        item = _old_item(labels[first], library, backbone, last - first)
        if item.video.video_id in blocks:
            _refuse(path, f"{labels_name} names {labels[first]} twice")
        blocks[item.video.video_id] = Block(item, name, first, last)
    form: Form = "vectors"
    if backbone.name in ("vid2img", "vggish"):
        form = "strips" if backbone.name == "vid2img" else "levels"
    return Source(path, backbone, form, "", blocks)


def _old_by_path(file: h5py.File, path: Path, library: str) -> Source:
    found: list[str] = []
    file.visititems(lambda key, data: found.append(key) if isinstance(data, h5py.Dataset) else None)
    backbone = BACKBONES["resnet50"]
    if not found or any(file[key].ndim != 2 for key in found):
        _refuse(path, "it has none of the datasets that an export has")
    blocks: dict[str, Block] = {}
    for key in found:
        rows = len(file[key])
        _check_shape(file[key], path, backbone, rows)
        item = _old_item(key, library, backbone, rows)
        if item.video.video_id in blocks:
            _refuse(path, f"it names {key} twice")
        blocks[item.video.video_id] = Block(item, key, 0, rows)
    return Source(path, backbone, "vectors", "", blocks)


def _old_item(label: str, library: str, backbone: Backbone, rows: int) -> IndexedVideo:
    """A video of which only the capstone's label is known: a path, a file's name or a stem.

    The four modalities name one video in four ways; what they share is the stem, which is
    unique in UCF101. Elsewhere the folder goes before it.
    """
    path = PurePosixPath(label.lstrip("/"))
    ucf = _UCF_NAME.fullmatch(path.stem)
    name = path.stem if ucf else path.with_suffix("").as_posix()
    start_s = np.zeros(rows, np.float32)
    seconds = _PATCH_SECONDS if backbone.name == "vggish" else 0.0
    return IndexedVideo(
        video=Video(
            video_id=f"{library}/{name}",
            library=library,
            path=name,
            label=ucf.group(1) if ucf else path.parent.name,
            fingerprint="",
            size=0,
            mtime_ns=0,
        ),
        duration_s=0.0,
        segment_seconds=SEGMENT_SECONDS,
        segments=(Segment(0, 0.0, 0.0),),  # the same for all modalities, so that they join
        computed=True,
        owners=np.zeros(rows, np.int32),
        start_s=start_s + np.arange(rows, dtype=np.float32) * np.float32(seconds),
        end_s=start_s + np.arange(1, rows + 1, dtype=np.float32) * np.float32(seconds),
    )


def _old_audioset(file: h5py.File, path: Path, library: str) -> Source:
    backbone, data = BACKBONES["vggish"], file["audio_embeddings"]
    count = len(data)
    _check_shape(data, path, backbone, count)
    if data.ndim != 3:
        _refuse(path, f"audio_embeddings is {data.shape}, not (n, 10, 128)")
    labels = _read_labels(path.with_name(AUDIOSET_LABELS))
    if len(labels) != count:
        _refuse(path, f"{AUDIOSET_LABELS} beside it names {len(labels)} clips, not {count}")
    seconds = np.arange(AUDIOSET_SECONDS + 1, dtype=np.float32)
    blocks = {}
    for n, label in enumerate(labels):
        name = f"{n:06d}"
        # Another file has other clips under the same numbers; only what they hold tells them apart.
        content = data[n].astype("<f4").tobytes() + label.encode()
        fingerprint = hashlib.sha256(content).hexdigest()
        item = IndexedVideo(
            video=Video(f"{library}/{name}", library, name, label, fingerprint, 0, 0),
            duration_s=float(AUDIOSET_SECONDS),
            segment_seconds=SEGMENT_SECONDS,
            segments=(Segment(0, 0.0, float(AUDIOSET_SECONDS)),),
            computed=True,
            owners=np.zeros(AUDIOSET_SECONDS, np.int32),
            start_s=seconds[:-1],
            end_s=seconds[1:],
        )
        blocks[item.video.video_id] = Block(item, "audio_embeddings", n, n + 1)
    return Source(path, backbone, "levels", "", blocks)


def _read_labels(path: Path) -> list[str]:
    """The labels of each clip, named as the AudioSet importer names them without a class list."""
    try:
        with path.open("rb") as raw:
            version = np.lib.format.read_magic(raw)
            read = np.lib.format.read_array_header_1_0
            if version != (1, 0):
                read = np.lib.format.read_array_header_2_0
            shape, _, dtype = read(raw)
            if dtype.hasobject:
                lists = ArrayUnpickler(io.BytesIO(raw.read())).load()
            else:
                lists = np.fromfile(raw, dtype).reshape(shape)
        return [
            LABEL_SEPARATOR.join(
                str(n) if isinstance(n, str) else f"label {int(n)}" for n in np.asarray(of).tolist()
            )
            for of in lists
        ]
    except FileNotFoundError as error:
        raise StoreError(f"There is no {path}; put the labels beside the features.") from error
    except (OSError, ValueError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise StoreError(
            f"{path} holds no lists of labels ({error}); get it anew or export it again."
        ) from error


def _refuse(path: Path, reason: str) -> NoReturn:
    raise StoreError(f"{path} cannot be imported: {reason}; give a file that an export wrote.")
