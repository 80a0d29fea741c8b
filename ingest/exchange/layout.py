"""The index of an export: its videos' data beside the vectors, for an import to restore."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import numpy.typing as npt

from ... import __version__
from ...schemas.backbones import VID2IMG_SHAPE, Backbone
from ...schemas.embedding import ByteArray, EmbeddedVideo, FloatArray
from ...schemas.errors import LibraryError, StoreError
from ...schemas.exports import (
    EXPORT_FORMAT,
    INDEX,
    LAYOUT_VERSION,
    VIDEO_NUMBERS,
    VIDEO_STRINGS,
)
from ...schemas.modality import Modality
from ...schemas.video import Segment, Video
from ..models.registry import description_of
from ..shards.shard_files import Shards
from ..system.atomic_file import whole_file
from ..system.checked_h5 import encoded, write_array
from ..system.unknown_names import unknown_library
from ..system.written_h5 import written_h5
from .h5_reader import H5File

Layout = Literal["native", "capstone"]

ATTRIBUTES_DIGEST = "attributes_sha256"
"""Attribute of the index with the digest of the others; exports of vidsim 0.2 have none."""

_FORMATS = ("v110", "v110")
"""HDF5 1.10 and later read them, and check the file's own structure, which older formats cannot."""


@dataclass(frozen=True)
class IndexedVideo:
    """A video of an export, without its vectors.

    Attributes:
        video: The file.
        duration_s: Seconds.
        segment_seconds: The segment length it was cut with.
        segments: The stretches it was cut into.
        computed: Whether the backbone was computed for it; False where only its colour strip
            was kept.
        owners: (n,) int32, for each row the position of its segment in `segments`.
        start_s: (n,) float32, start of each row, seconds.
        end_s: (n,) float32, its end.
    """

    video: Video
    duration_s: float
    segment_seconds: float
    segments: tuple[Segment, ...]
    computed: bool
    owners: npt.NDArray[np.int32]
    start_s: FloatArray
    end_s: FloatArray


def choose_libraries(shards: Shards, libraries: Sequence[str]) -> list[str]:
    """Return the libraries to export: those named, or all.

    Raises:
        LibraryError: A library does not exist, or there is none at all.
    """
    known = shards.libraries()
    for name in libraries:
        if name not in known:
            raise unknown_library(name, known)
    if not known:
        raise LibraryError("Nothing is stored yet; run 'vidsim ingest FOLDER' first.")
    return list(dict.fromkeys(libraries or known))


def stored_backbones(shards: Shards, libraries: Sequence[str]) -> list[Backbone]:
    """Return the backbones in an export of `libraries`.

    vid2img is among them wherever there is color: its strips are kept with every backbone.
    """
    names = {n for library in libraries for e in shards.catalog(library).values() for n in e.rows}
    if any(shards.backbones[name].modality is Modality.COLOR for name in names):
        names.add("vid2img")
    return [b for b in shards.backbones.values() if b.name in names]


def read_indexed(
    shards: Shards, libraries: Sequence[str], backbone: Backbone
) -> Iterator[tuple[IndexedVideo, npt.NDArray[Any]]]:
    """Yield every video of `libraries` that `backbone` was computed for, with its rows.

    Rows are (n, dim) float32, for vid2img the strips (n, 20, 100, 3) uint8; n may be 0.
    """
    for library in libraries:
        catalog = shards.catalog(library)
        if backbone.name == "vid2img":
            yield from _read_strips(shards, library)
            continue
        entries = [e for e in catalog.values() if backbone.name in e.rows]
        for item in shards.read(entries, [backbone.name]):
            found = [(i, e.rows.get(backbone.name)) for i, e in enumerate(item.embeddings)]
            rows = [(i, r) for i, r in found if r is not None]
            empty = np.zeros(0, np.float32)
            yield (
                _index(
                    item,
                    computed=True,
                    owners=[i for i, r in rows for _ in r.vectors],
                    start_s=np.concatenate([empty, *(r.start_s for _, r in rows)]),
                    end_s=np.concatenate([empty, *(r.end_s for _, r in rows)]),
                ),
                np.concatenate(
                    [np.zeros((0, backbone.dim), np.float32), *(r.vectors for _, r in rows)]
                ),
            )


def _read_strips(shards: Shards, library: str) -> Iterator[tuple[IndexedVideo, npt.NDArray[Any]]]:
    """Yield videos with colour strips, or for which vid2img found none (a sound file)."""
    catalog = shards.catalog(library)
    color = [b.name for b in shards.backbones.values() if b.modality is Modality.COLOR]
    without: dict[str, EmbeddedVideo] = {}
    done: set[str] = set()
    # A video comes once per shard; with several color backbones its strip comes twice.
    for item in shards.read(list(catalog.values()), color):
        video_id = item.video.video_id
        kept = [(i, e.vid2img) for i, e in enumerate(item.embeddings) if e.vid2img is not None]
        if kept and video_id not in done:
            done.add(video_id)
            yield _index_strips(item, "vid2img" in catalog[video_id].rows, kept)
        elif not kept and "vid2img" in catalog[video_id].rows:
            without[video_id] = item
    for video_id, item in without.items():
        if video_id not in done:
            yield _index_strips(item, True, [])


def _index_strips(
    item: EmbeddedVideo, computed: bool, kept: Sequence[tuple[int, ByteArray]]
) -> tuple[IndexedVideo, npt.NDArray[Any]]:
    strips = np.array([strip for _, strip in kept], np.uint8).reshape(-1, *VID2IMG_SHAPE)
    segments = [item.segments[i] for i, _ in kept]
    start_s = np.array([s.start_s for s in segments], np.float32)
    end_s = np.array([s.end_s for s in segments], np.float32)
    return _index(item, computed, [i for i, _ in kept], start_s, end_s), strips


def _index(
    item: EmbeddedVideo,
    computed: bool,
    owners: Sequence[int],
    start_s: FloatArray,
    end_s: FloatArray,
) -> IndexedVideo:
    return IndexedVideo(
        video=item.video,
        duration_s=item.duration_s,
        segment_seconds=item.segment_seconds,
        segments=item.segments,
        computed=computed,
        owners=np.array(owners, np.int32),
        start_s=start_s,
        end_s=end_s,
    )


@contextmanager
def written_at_once(path: Path) -> Iterator[Path]:
    """Provide a temporary path whose file moves to `path` once complete.

    Raises:
        StoreError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            yield partial
    except OSError as error:
        raise StoreError(f"{path} cannot be written ({error}); choose another folder.") from error


@contextmanager
def written_whole(path: Path) -> Iterator[h5py.File]:
    """Create an HDF5 file that appears at `path` once complete.

    Raises:
        StoreError: It cannot be written.
    """
    with written_at_once(path) as partial, written_h5(partial, libver=_FORMATS) as file:
        yield file


def exported_weights(shards: Shards, libraries: Sequence[str], backbone: Backbone) -> str:
    """Return the SHA-256 of the weights of `backbone` in the shards, joined as `Shards.weights`."""
    noted = (shards.weights(library, backbone.name) for library in libraries)
    return ";".join(dict.fromkeys(filter(None, noted)))


def attributes_digest(attributes: Mapping[str, str | int | float]) -> str:
    """Return the SHA-256 of an index's attributes, which HDF5 has no checksum of."""
    told = {name: value for name, value in attributes.items() if name != ATTRIBUTES_DIGEST}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def write_index(
    file: h5py.File,
    backbone: Backbone,
    layout: Layout,
    weights_sha256: str,
    items: Sequence[IndexedVideo],
) -> None:
    """Write the index that `read_index` reads; rows are those of `items`, in their order."""
    group = file.create_group(INDEX)
    told: dict[str, str | int | float] = {
        "format": EXPORT_FORMAT,
        "version": LAYOUT_VERSION,
        "layout": layout,
        "vidsim": __version__,
        "modality": backbone.modality.value,
        "backbone": backbone.name,
        "weights_sha256": weights_sha256,
    }
    if description := description_of(backbone):
        told["description"] = description
    group.attrs.update(told, **{ATTRIBUTES_DIGEST: attributes_digest(told)})
    videos = group.create_group("videos")
    for name in (*VIDEO_STRINGS, "library"):
        write_array(videos, name, encoded([getattr(i.video, name) for i in items]))
    for name in ("size", "mtime_ns"):
        write_array(videos, name, np.array([getattr(i.video, name) for i in items], np.int64))
    for name in ("duration_s", "segment_seconds"):
        write_array(videos, name, np.array([getattr(i, name) for i in items], np.float64))
    write_array(videos, "computed", np.array([i.computed for i in items], np.uint8))

    pieces = [(n, s) for n, i in enumerate(items) for s in i.segments]
    segments = group.create_group("segments")
    write_array(segments, "video", np.array([n for n, _ in pieces], np.int32))
    write_array(segments, "index", np.array([s.index for _, s in pieces], np.int32))
    write_array(segments, "start_s", np.array([s.start_s for _, s in pieces], np.float64))
    write_array(segments, "end_s", np.array([s.end_s for _, s in pieces], np.float64))

    first = np.cumsum([0] + [len(i.segments) for i in items])
    owners = [start + i.owners for start, i in zip(first.tolist(), items)]
    rows = group.create_group("rows")
    of_row = np.concatenate([np.zeros(0, np.int32), *owners]).astype(np.int32)
    write_array(rows, "segment", of_row)
    for name in ("start_s", "end_s"):
        parts = [getattr(i, name) for i in items]
        write_array(rows, name, np.concatenate([np.zeros(0, np.float32), *parts]))


def read_index(file: H5File) -> list[IndexedVideo]:
    """Read the videos of an export, in the order of their rows.

    Raises:
        KeyError, ValueError, TypeError, IndexError: The index is damaged.
        StoreError, OSError: It cannot be read.
    """

    def table(group: str, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
        return {name: file.numbers(f"{INDEX}/{group}/{name}") for name in names}

    texts = {name: file.texts(f"{INDEX}/videos/{name}") for name in (*VIDEO_STRINGS, "library")}
    videos = table("videos", (*VIDEO_NUMBERS, "computed"))
    segments = table("segments", ("video", "index", "start_s", "end_s"))
    rows = table("rows", ("segment", "start_s", "end_s"))
    count = len(videos["size"])
    # Segments are in the order of their videos, and rows in that of their segments.
    edges = np.searchsorted(segments["video"], np.arange(count + 1))
    row_edges = np.searchsorted(rows["segment"], edges)
    if row_edges[-1] != len(rows["segment"]):
        raise ValueError("rows of no video")
    items = []
    for n in range(count):
        first, last = edges[n], edges[n + 1]
        part = slice(row_edges[n], row_edges[n + 1])
        items.append(
            IndexedVideo(
                video=Video(
                    **{name: of[n] for name, of in texts.items()},
                    size=int(videos["size"][n]),
                    mtime_ns=int(videos["mtime_ns"][n]),
                ),
                duration_s=float(videos["duration_s"][n]),
                segment_seconds=float(videos["segment_seconds"][n]),
                segments=tuple(
                    Segment(
                        int(segments["index"][s]),
                        float(segments["start_s"][s]),
                        float(segments["end_s"][s]),
                    )
                    for s in range(first, last)
                ),
                computed=bool(videos["computed"][n]),
                owners=(rows["segment"][part] - first).astype(np.int32),
                start_s=rows["start_s"][part],
                end_s=rows["end_s"][part],
            )
        )
    return items
