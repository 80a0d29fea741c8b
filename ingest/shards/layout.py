"""The content of one shard: written with checksums, and read back as videos.

Datasets and texts are checked as `system.checked_h5` says. The vectors that searches compare with
are mapped into memory instead, and have one CRC-32 each.
"""

from __future__ import annotations

import secrets
import time
import zlib
from calendar import timegm
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ... import __version__
from ...schemas.backbones import VID2IMG_SHAPE, Backbone, Backbones
from ...schemas.collections import levels
from ...schemas.embedding import (
    NO_DAMAGE,
    Damage,
    EmbeddedVideo,
    FloatArray,
    Rows,
    SegmentEmbedding,
    segment_means,
    to_index,
)
from ...schemas.exports import SHARD_FORMAT, SHARD_VERSION, VIDEO_NUMBERS, VIDEO_STRINGS
from ...schemas.video import Segment
from ..models.registry import description_of
from ..system.checked_h5 import encoded, write_array
from .catalog import CatalogEntry, StoredRows
from .open_shard import read_video_table, text_of, texts

if TYPE_CHECKING:  # a query may read no shard, and then need not load HDF5
    import h5py

ALIGNMENT = 4096
"""Searched vectors begin at a page, as mapping them does."""

_MOMENT = "%Y-%m-%dT%H:%M:%SZ"
"""When a shard was written, in UTC; merging or thinning it writes it anew."""


def write_shard(
    file: h5py.File,
    library: str,
    videos: Sequence[EmbeddedVideo],
    weights: Mapping[str, str],
    backbones: Backbones,
) -> None:
    """Write videos to a new shard, which is open as `ALIGNMENT` and ``libver="latest"`` say.

    Args:
        file: The empty file.
        library: Library of all videos.
        videos: The videos, each id once.
        weights: SHA-256 of the weights by backbone.
        backbones: The backbones known here.
    """
    now = int(time.time())
    _write_texts(
        file.attrs,
        format=SHARD_FORMAT,
        library=library,
        created=time.strftime(_MOMENT, time.gmtime(now)),
        vidsim=__version__,
        id=secrets.token_hex(16),
    )
    file.attrs["version"] = SHARD_VERSION
    table = file.create_group("videos")
    for name in VIDEO_STRINGS:
        write_array(table, name, encoded([getattr(v.video, name) for v in videos]))
    write_array(table, "size", np.array([v.video.size for v in videos], np.int64))
    write_array(table, "mtime_ns", np.array([v.video.mtime_ns for v in videos], np.int64))
    write_array(table, "duration_s", np.array([v.duration_s for v in videos], np.float64))
    write_array(table, "segment_seconds", np.array([v.segment_seconds for v in videos], np.float64))
    write_array(table, "damage", encoded([v.damage.picture for v in videos]))
    write_array(table, "sound_damage", encoded([v.damage.sound for v in videos]))
    write_array(table, "audio_track", np.array([v.audio_track or 0 for v in videos], np.int32))
    write_array(table, "stored_at", np.array([v.stored_at or now for v in videos], np.int64))

    pieces = [(i, s, e) for i, v in enumerate(videos) for s, e in zip(v.segments, v.embeddings)]
    segments = file.create_group("segments")
    write_array(segments, "video", np.array([i for i, _, _ in pieces], np.int32))
    write_array(segments, "index", np.array([s.index for _, s, _ in pieces], np.int32))
    write_array(segments, "start_s", np.array([s.start_s for _, s, _ in pieces], np.float64))
    write_array(segments, "end_s", np.array([s.end_s for _, s, _ in pieces], np.float64))

    strips = [(n, e.vid2img) for n, (_, _, e) in enumerate(pieces) if e.vid2img is not None]
    color = file.create_group("vid2img")
    write_array(color, "segment", np.array([n for n, _ in strips], np.int32))
    pictures = np.array([strip for _, strip in strips], np.uint8)
    write_array(color, "strips", pictures.reshape(-1, *VID2IMG_SHAPE))

    for name in sorted(set().union(*(v.backbones for v in videos))):
        backbone = backbones[name]
        computed = [i for i, v in enumerate(videos) if name in v.backbones]
        rows = [(n, e.rows[name]) for n, (_, _, e) in enumerate(pieces) if name in e.rows]
        of_row = np.repeat(
            np.array([n for n, _ in rows], np.int32), [len(r.vectors) for _, r in rows]
        )
        empty = [np.zeros((0, backbone.dim), np.float32)]
        none = [np.zeros(0, np.float32)]
        vectors = np.concatenate(empty + [r.vectors for _, r in rows])
        start_s = np.concatenate(none + [r.start_s for _, r in rows])
        end_s = np.concatenate(none + [r.end_s for _, r in rows])
        group = file.create_group(f"rows/{name}")
        _write_texts(group.attrs, modality=backbone.modality.value, weights_sha256=weights[name])
        if (description := description_of(backbone)) is not None:
            _write_texts(group.attrs, description=description)
        write_array(group, "videos", np.array(computed, np.int32))
        write_array(group, "segment", of_row)
        write_array(group, "vectors", vectors)
        write_array(group, "start_s", start_s)
        write_array(group, "end_s", end_s)
        _write_searched(
            file.create_group(f"searched/{name}"),
            searched_rows(backbone, of_row, vectors, start_s, end_s),
        )


@dataclass(frozen=True)
class SearchedRows:
    """What searches of one backbone compare with: one row per segment, as Milvus holds it.

    Attributes:
        of_row: (n,) number of each row's segment within the shard, ascending.
        start_s: (n,) float32 start of what each row describes, seconds.
        end_s: (n,) float32 its end.
        vectors: (n, `index_dim`) float32 in the form of `to_index`.
    """

    of_row: npt.NDArray[np.int32]
    start_s: FloatArray
    end_s: FloatArray
    vectors: FloatArray


def searched_rows(
    backbone: Backbone,
    of_row: npt.NDArray[np.int32],
    vectors: FloatArray,
    start_s: FloatArray,
    end_s: FloatArray,
) -> SearchedRows:
    """Return what is searched of rows as extracted: themselves, or their means per segment."""
    if levels(backbone)[-1] == "segments" and len(of_row):
        first = np.flatnonzero(np.diff(of_row, prepend=-1))
        vectors = segment_means(backbone, vectors, first)
        of_row = of_row[first]
        start_s, end_s = np.minimum.reduceat(start_s, first), np.maximum.reduceat(end_s, first)
    return SearchedRows(of_row, start_s, end_s, to_index(backbone, vectors))


def _write_searched(group: h5py.Group, searched: SearchedRows) -> None:
    write_array(group, "segment", searched.of_row)
    write_array(group, "start_s", searched.start_s)
    write_array(group, "end_s", searched.end_s)
    vectors = np.ascontiguousarray(searched.vectors, np.float32)
    mapped = group.create_dataset("vectors", data=vectors)  # in one piece
    mapped.attrs["crc32"] = np.uint32(zlib.crc32(vectors.tobytes()))


def _write_texts(attrs: h5py.AttributeManager, **values: str) -> None:
    for name, value in values.items():
        attrs[name] = np.bytes_(value.encode() or b"\0")


def weights_in(file: h5py.File) -> dict[str, str]:
    """Return, by backbone, the SHA-256 of the weights that an open shard's rows come from."""
    groups = file.get("rows", {})
    return {name: text_of(groups[name].attrs["weights_sha256"]) for name in list(groups)}


def entries_in(file: h5py.File, path: Path) -> list[CatalogEntry]:
    """Return the entries of an open shard, which lies at `path`."""
    videos = read_video_table(file)
    table = file["videos"]
    durations, cuts = (table[name][:].tolist() for name in ("duration_s", "segment_seconds"))
    owner = file["segments/video"][:]
    segments = np.bincount(owner, minlength=len(videos)).tolist()
    return [
        CatalogEntry(*of)
        for of in zip(
            videos,
            durations,
            cuts,
            segments,
            _stored_rows(file, path, owner, len(videos)),
            *_read_told(file),
            strict=True,
        )
    ]


def _stored_rows(
    file: h5py.File, path: Path, owner: npt.NDArray[np.int32], videos: int
) -> list[StoredRows]:
    """Return what is stored of each video of a shard; those of the same numbers share it."""
    names = list(file.get("rows", {}))  # not its items(): h5py holds its lock while it yields them
    numbers = np.full((videos, 2 * len(names)), -1, np.int64)
    for n, name in enumerate(names):
        of_row = file[f"rows/{name}/segment"][:]
        computed = file[f"rows/{name}/videos"][:]
        rows = np.bincount(owner[of_row], minlength=videos)
        described = np.bincount(owner[np.unique(of_row)], minlength=videos)
        numbers[computed, 2 * n] = rows[computed]
        numbers[computed, 2 * n + 1] = described[computed]
    weights = weights_in(file)
    kinds: dict[tuple[int, ...], StoredRows] = {}
    found = []
    for of in map(tuple, numbers.tolist()):
        if of not in kinds:
            there = {name: (of[2 * n], of[2 * n + 1]) for n, name in enumerate(names)}
            there = {name: both for name, both in there.items() if both[0] >= 0}
            kinds[of] = StoredRows(
                rows={name: rows for name, (rows, _) in there.items()},
                described={name: described for name, (_, described) in there.items()},
                shards=dict.fromkeys(there, path),
                weights={name: weights[name] for name in there},
            )
        found.append(kinds[of])
    return found


def _read_told(file: h5py.File) -> tuple[list[Damage], list[int | None], list[int]]:
    """Read the damage, audio track and moment of each video of a shard; older shards lack them."""
    table = file["videos"]
    none = [""] * len(table["video_id"])
    picture, sound = (
        texts(table[name]) if name in table else none for name in ("damage", "sound_damage")
    )
    tracks = table["audio_track"][:].tolist() if "audio_track" in table else [0] * len(none)
    damage = [Damage(*of) if any(of) else NO_DAMAGE for of in zip(picture, sound)]
    if "stored_at" in table:
        moments = table["stored_at"][:].tolist()
    else:
        moments = [_written_at(file)] * len(none)
    return damage, [track or None for track in tracks], moments


def _written_at(file: h5py.File) -> int:
    """Return when a shard was written, seconds since the epoch; 0 where it does not say."""
    with suppress(ValueError):
        return timegm(time.strptime(text_of(file.attrs.get("created", "")), _MOMENT))
    return 0


def videos_in(file: h5py.File, wanted: Mapping[str, Collection[str]]) -> Iterator[EmbeddedVideo]:
    """Yield the `wanted` videos of an open shard, each with the backbones named for it."""
    videos = read_video_table(file)
    numbers = {name: file["videos"][name][:] for name in VIDEO_NUMBERS}
    damage, tracks, moments = _read_told(file)
    table = {name: file["segments"][name][:] for name in list(file["segments"])}
    strips = dict(zip(file["vid2img/segment"][:].tolist(), file["vid2img/strips"][:]))
    groups: dict[str, dict[str, npt.NDArray[Any]]] = {}
    for name in set().union(*wanted.values()):
        group = file[f"rows/{name}"]
        groups[name] = {key: group[key][:] for key in list(group)}
    for i, video in enumerate(videos):
        if video.video_id not in wanted:
            continue
        names = wanted[video.video_id]
        segments, embeddings = [], []
        for n in np.flatnonzero(table["video"] == i).tolist():
            start_s, end_s = float(table["start_s"][n]), float(table["end_s"][n])
            segments.append(Segment(int(table["index"][n]), start_s, end_s))
            embeddings.append(_read_embedding(groups, names, n, strips.get(n)))
        yield EmbeddedVideo(
            video=video,
            duration_s=float(numbers["duration_s"][i]),
            segment_seconds=float(numbers["segment_seconds"][i]),
            backbones=frozenset(names),
            segments=tuple(segments),
            embeddings=tuple(embeddings),
            damage=damage[i],
            audio_track=tracks[i],
            stored_at=moments[i],
        )


def _read_embedding(
    groups: Mapping[str, Mapping[str, npt.NDArray[Any]]],
    names: Collection[str],
    segment: int,
    strip: npt.NDArray[np.uint8] | None,
) -> SegmentEmbedding:
    rows = {}
    for name in names:
        group = groups[name]
        # Rows are in the order of their segments, so a segment's rows are one slice.
        first, last = np.searchsorted(group["segment"], [segment, segment + 1])
        if last > first:
            rows[name] = Rows(
                group["vectors"][first:last],
                group["start_s"][first:last],
                group["end_s"][first:last],
            )
    return SegmentEmbedding(rows=rows, vid2img=strip)
