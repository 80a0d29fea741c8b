"""Files that the capstone itself wrote, identified by their datasets and labels."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from itertools import pairwise
from pathlib import Path, PurePosixPath

import numpy as np

from ...schemas.backbones import BACKBONES, Backbone
from ...schemas.errors import LibraryError, StoreError
from ...schemas.exports import AUDIOSET_LABELS, AUDIOSET_SECONDS
from ...schemas.video import LABEL_SEPARATOR, SEGMENT_SECONDS, Segment, Video
from ..models.networks.array_pickle import ArrayUnpickler
from ..system.unreadable import hindrance
from .h5_reader import H5File
from .layout import IndexedVideo
from .source import Block, Form, Source, check_shape, merged_dataset, refuse

_PATCH_SECONDS = 0.96
"""Stretch of sound that a row of the capstone's VGGish describes (its log-mel examples)."""

_UCF_NAME = re.compile(r"v_([^_/]+)_g\d+_c\d+")
"""How UCF101 names its clips; the capstone took a clip's class from there too."""


def read_capstone(file: H5File, library: str | None) -> Source:
    """Read what a file holds, without checking its rows yet.

    Args:
        file: A file without the index that vidsim adds.
        library: The library's name.

    Raises:
        LibraryError: No library was given.
        StoreError: It is not in a format that the capstone wrote.
    """
    path = file.path
    if library is None:
        raise LibraryError(f"{path} does not say which library it is of; name one with --library.")
    name = merged_dataset(file)
    if name == "audio_embeddings":
        return _read_audioset(file, library)
    if name is None:
        return _read_by_path(file, library)
    labels_name = "feature_labels" if "feature_labels" in file.datasets else "vid_labels"
    if labels_name not in file.datasets:
        refuse(path, f"beside {name} there is neither vid_labels nor feature_labels")
    shape = file.datasets[name].shape
    dim = shape[1] if len(shape) == 2 else None
    wanted = {
        ("color_vid2imgs", "vid_labels"): ("vid2img",),
        ("feature_vectors", "vid_labels"): ("resnet34_3d",),
        ("feature_vectors", "feature_labels"): ("resnet50", "vggish"),
    }.get((name, labels_name))
    if wanted is None:
        refuse(path, f"{name} lies beside {labels_name}, as in no file of the capstone")
    fitting = [BACKBONES[b] for b in wanted if BACKBONES[b].dim == dim]
    if len(shape) == 4 and wanted == ("vid2img",):
        fitting = [BACKBONES["vid2img"]]
    if not fitting:
        known = " or ".join(f"{BACKBONES[b].dim} ({b})" for b in wanted)
        refuse(path, f"{name} is {shape}, and the capstone's rows are of {known}")
    (backbone,) = fitting
    labels = file.texts(labels_name, "replace")
    check_shape(file, name, backbone, len(labels))
    edges = [i for i, t in enumerate(labels) if i == 0 or t != labels[i - 1]] + [len(labels)]
    blocks: dict[str, Block] = {}
    for first, last in pairwise(edges):
        item = _item(labels[first], library, backbone, last - first)
        if item.video.video_id in blocks:
            refuse(path, f"{labels_name} names {labels[first]} twice")
        blocks[item.video.video_id] = Block(item, name, first, last)
    form: Form = "vectors"
    if backbone.name in ("vid2img", "vggish"):
        form = "strips" if backbone.name == "vid2img" else "levels"
    return Source(file, backbone, form, "", blocks)


def _read_by_path(file: H5File, library: str) -> Source:
    path, backbone = file.path, BACKBONES["resnet50"]
    if not file.datasets or any(len(data.shape) != 2 for data in file.datasets.values()):
        refuse(path, "it has none of the datasets that an export has")
    blocks: dict[str, Block] = {}
    for key, data in file.datasets.items():
        rows = data.shape[0]
        check_shape(file, key, backbone, rows)
        item = _item(key, library, backbone, rows)
        if item.video.video_id in blocks:
            refuse(path, f"it names {key} twice")
        blocks[item.video.video_id] = Block(item, key, 0, rows)
    return Source(file, backbone, "vectors", "", blocks)


def _item(label: str, library: str, backbone: Backbone, rows: int) -> IndexedVideo:
    """Create a video from the capstone's label alone: a path, a file's name or a stem.

    The four modalities name a video in four ways; they share the stem, which is unique in
    UCF101. Elsewhere the folder precedes it.
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


def _read_audioset(file: H5File, library: str) -> Source:
    path, backbone, dataset = file.path, BACKBONES["vggish"], "audio_embeddings"
    shape = file.datasets[dataset].shape
    if len(shape) != 3:
        refuse(path, f"{dataset} is {shape}, not (n, 10, 128)")
    count = shape[0]
    check_shape(file, dataset, backbone, count)
    labels = _read_labels(path.with_name(AUDIOSET_LABELS))
    if len(labels) != count:
        refuse(path, f"{AUDIOSET_LABELS} beside it names {len(labels)} clips, not {count}")
    seconds = np.arange(AUDIOSET_SECONDS + 1, dtype=np.float32)
    blocks = {}
    read = file.read((dataset, n, n + 1) for n in range(count))
    for n, (label, levels) in enumerate(zip(labels, read, strict=True)):
        name = f"{n:06d}"
        # Another file has other clips under the same numbers; only their contents distinguish them.
        content = levels[0].astype("<f4").tobytes() + label.encode()
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
        blocks[item.video.video_id] = Block(item, dataset, n, n + 1)
    return Source(file, backbone, "levels", "", blocks)


def _read_labels(path: Path) -> list[str]:
    """Read the labels of each clip, named as the AudioSet importer does without a class list."""
    try:
        # numpy parses the header as a literal of Python, which may warn.
        with path.open("rb") as raw, warnings.catch_warnings():
            warnings.simplefilter("ignore")
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
    except Exception as error:  # a damaged header or pickle may raise almost anything
        if (found := hindrance(error)) is not None:
            raise StoreError(found.sentence(str(path))) from error
        raise StoreError(
            f"{path} holds no lists of labels ({error}); get it anew or export it again."
        ) from error
