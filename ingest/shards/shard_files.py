"""Shards: HDF5 files that hold every embedding, and the catalog of their contents.

A shard is written to a temporary file, synced, and renamed into place, so it exists whole or not
at all. The shards of a library are numbered; where two hold the same video, the later one counts.
`Shards.drop` removes videos from the oldest shard first, so an interrupted run never brings an
outdated entry back.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ... import __version__
from ...schemas.backbones import BACKBONES, VID2IMG_SHAPE, Backbones, sound_backbones
from ...schemas.embedding import NO_DAMAGE, Damage, EmbeddedVideo, Rows, SegmentEmbedding, Version
from ...schemas.errors import StoreError
from ...schemas.exports import LAYOUT_VERSION, SHARD_FORMAT, VIDEO_NUMBERS, VIDEO_STRINGS
from ...schemas.video import Segment, Video
from ..system.atomic_file import whole_file
from ..system.unreadable import listed, told, unwritten
from .open_shard import is_shard, read_video_table, reading_shard

if TYPE_CHECKING:  # a query may read no shard, and then need not load HDF5
    import h5py


@dataclass(frozen=True)
class CatalogEntry:
    """A stored video without its vectors.

    Attributes:
        rows: Rows by backbone, 0 for one that was computed and gave none.
        described: Segments that have rows, by backbone.
        shards: By backbone, the file that holds its rows.
        weights: By backbone, the SHA-256 of the weights that its rows were computed with,
            "" where it has none or they are unknown.
        damage: What of it did not decode.
        audio_track: Number of its audio track, from 1; None for the picture's own.
    """

    video: Video
    duration_s: float
    segment_seconds: float
    segments: int
    rows: dict[str, int] = field(default_factory=dict)
    described: dict[str, int] = field(default_factory=dict)
    shards: dict[str, Path] = field(default_factory=dict)
    weights: dict[str, str] = field(default_factory=dict)
    damage: Damage = NO_DAMAGE
    audio_track: int | None = None

    @property
    def version(self) -> Version:
        """The values that are equal for two entries of the same file, cut the same way."""
        return self.video.fingerprint, self.segment_seconds, self.video.path


class Shards:
    """All shards under one directory, one folder per library."""

    def __init__(self, directory: Path, backbones: Backbones = BACKBONES) -> None:
        """Open `directory`, without creating it yet; its rows are those of `backbones`."""
        self.directory = directory
        self.backbones = backbones
        self._read: dict[str, tuple[list[tuple[Path, int, int, int]], dict[str, CatalogEntry]]] = {}

    def libraries(self) -> list[str]:
        """Return the names of the libraries that have a shard.

        Raises:
            StoreError: A folder of shards cannot be listed.
        """
        folders = listed(self.directory, f"The folder {self.directory}")
        return [folder.name for folder in folders if self.files(folder.name)]

    def files(self, library: str) -> list[Path]:
        """Return the shards of `library`, oldest first.

        Raises:
            StoreError: Their folder cannot be listed.
        """
        folder = self.directory / library
        found = listed(folder, f"The folder {folder}")
        return [path for path in found if is_shard(path.name)]

    def catalog(self, library: str) -> dict[str, CatalogEntry]:
        """Return the entries of `library` by video id, in order of first appearance.

        It is read again only if the shards have changed.

        Raises:
            StoreError: A shard cannot be read.
        """
        files = self.files(library)
        with told(f"A shard of {library}"):
            stamp = [(p, s.st_ino, s.st_mtime_ns, s.st_size) for p in files for s in [p.stat()]]
        if library not in self._read or self._read[library][0] != stamp:
            entries: dict[str, CatalogEntry] = {}
            for path in files:
                add_entries(entries, path)
            self._read[library] = stamp, entries
        return dict(self._read[library][1])

    def write(
        self,
        library: str,
        videos: Sequence[EmbeddedVideo],
        weights: Mapping[str, str] | None = None,
    ) -> Path:
        """Write `videos` as one new shard and return its path.

        `weights` are the SHA-256 of the backbones' weights, None for the installed ones.

        Raises:
            StoreError: The disk is full or cannot be written.
        """
        directory = self.directory / library
        try:
            directory.mkdir(parents=True, exist_ok=True)
            for stale in directory.glob("*.partial"):
                stale.unlink()
            files = self.files(library)
            number = int(files[-1].stem) + 1 if files else 1
            path = directory / f"{number:06d}.h5"
            if weights is None:
                from ..models.weights import (
                    digests,  # archives and downloads, which reading does not need
                )

                names = set().union(*(v.backbones for v in videos))
                weights = {n: digests(self.backbones[n]) for n in names}
            self._write_whole(path, library, videos, weights)
        except OSError as error:
            raise StoreError(unwritten(f"The shard in {directory}", error)) from error
        return path

    def read(
        self,
        library: str,
        entries: Collection[CatalogEntry],
        backbones: Collection[str] | None = None,
    ) -> Iterator[EmbeddedVideo]:
        """Yield the stored `entries` with their vectors, shard by shard.

        A video whose backbones lie in several shards comes once per shard.

        Args:
            library: The library of all `entries`.
            entries: From `catalog`.
            backbones: Rows to load; None for all.
        """
        wanted: dict[Path, dict[str, set[str]]] = {}
        for entry in entries:
            for backbone, path in entry.shards.items():
                if backbones is None or backbone in backbones:
                    wanted.setdefault(path, {}).setdefault(entry.video.video_id, set()).add(
                        backbone
                    )
        for path in sorted(wanted):
            yield from _read_videos(path, library, wanted[path])

    def weights(self, library: str, backbone: str) -> str:
        """Return the SHA-256 of the weights that a library's rows of `backbone` were computed with.

        See `stored_weights`; "" where there are no such rows.
        """
        return stored_weights(self.catalog(library)).get(backbone, "")

    def drop(self, library: str, keep: Mapping[str, Version | None]) -> None:
        """Remove videos from the shards permanently.

        Raises:
            StoreError: A shard cannot be read or written.

        Args:
            library: The library to change.
            keep: By video id, the version to keep: the id's entries of other versions are
                removed. None keeps none. Other ids are left alone.
        """
        for path in self.files(library):
            entries = _read_entries(path)
            staying = [
                e
                for e in entries
                if e.video.video_id not in keep or keep[e.video.video_id] == e.version
            ]
            if len(staying) == len(entries):
                continue
            names = {e.video.video_id: set(e.rows) for e in staying}
            videos = list(_read_videos(path, library, names)) if staying else []
            weights = _read_weights(path)
            try:
                if staying:
                    self._write_whole(path, library, videos, weights)
                else:
                    path.unlink()
            except OSError as error:
                raise StoreError(unwritten(f"The shard {path}", error)) from error
        directory = self.directory / library
        with suppress(OSError):  # it is not empty, or a file manager holds it
            directory.rmdir()

    def _write_whole(
        self,
        path: Path,
        library: str,
        videos: Sequence[EmbeddedVideo],
        weights: Mapping[str, str],
    ) -> None:
        """Write a shard; `weights` are the SHA-256 of its backbones' weights."""
        import h5py

        with (
            whole_file(path, sync=True) as partial,
            partial.open("w+b") as raw,
            h5py.File(raw, "w", libver="latest") as file,
        ):
            _write(file, library, videos, weights, self.backbones)


def add_entries(catalog: dict[str, CatalogEntry], path: Path) -> None:
    """Add the entries of the newest shard to a catalog.

    Raises:
        StoreError: The shard cannot be read.
    """
    for new in _read_entries(path):
        old = catalog.get(new.video.video_id)
        if old and old.version == new.version:
            new = replace(
                new,
                rows={**old.rows, **new.rows},
                described={**old.described, **new.described},
                shards={**old.shards, **new.shards},
                weights={**old.weights, **new.weights},
                damage=old.damage.then(new.damage, new.rows),
                audio_track=(new if sound_backbones(new.rows) else old).audio_track,
            )
        catalog[new.video.video_id] = new


def stored_weights(catalog: Mapping[str, CatalogEntry]) -> dict[str, str]:
    """Return, by backbone, the SHA-256 of the weights that a library's rows were computed with.

    Commas join several files of one set of weights; semicolons join different sets, which an older
    vidsim let mix. "" where there are none, or they are unknown.
    """
    found: dict[str, set[str]] = {}
    for entry in catalog.values():
        for backbone, digest in entry.weights.items():
            found.setdefault(backbone, set()).add(digest)
    return {backbone: ";".join(sorted(of - {""})) for backbone, of in found.items()}


def _write(
    file: h5py.File,
    library: str,
    videos: Sequence[EmbeddedVideo],
    weights: Mapping[str, str],
    backbones: Backbones,
) -> None:
    file.attrs.update(
        format=SHARD_FORMAT,
        version=LAYOUT_VERSION,
        library=library,
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        vidsim=__version__,
    )
    import h5py

    text = h5py.string_dtype("utf-8")
    table = file.create_group("videos")
    for name in VIDEO_STRINGS:
        table.create_dataset(name, data=[getattr(v.video, name) for v in videos], dtype=text)
    table["size"] = np.array([v.video.size for v in videos], np.int64)
    table["mtime_ns"] = np.array([v.video.mtime_ns for v in videos], np.int64)
    table["duration_s"] = np.array([v.duration_s for v in videos], np.float64)
    table["segment_seconds"] = np.array([v.segment_seconds for v in videos], np.float64)
    table.create_dataset("damage", data=[v.damage.picture for v in videos], dtype=text)
    table.create_dataset("sound_damage", data=[v.damage.sound for v in videos], dtype=text)
    table["audio_track"] = np.array([v.audio_track or 0 for v in videos], np.int32)

    pieces = [(i, s, e) for i, v in enumerate(videos) for s, e in zip(v.segments, v.embeddings)]
    segments = file.create_group("segments")
    segments["video"] = np.array([i for i, _, _ in pieces], np.int32)
    segments["index"] = np.array([s.index for _, s, _ in pieces], np.int32)
    segments["start_s"] = np.array([s.start_s for _, s, _ in pieces], np.float64)
    segments["end_s"] = np.array([s.end_s for _, s, _ in pieces], np.float64)

    strips = [(n, e.vid2img) for n, (_, _, e) in enumerate(pieces) if e.vid2img is not None]
    color = file.create_group("vid2img")
    color["segment"] = np.array([n for n, _ in strips], np.int32)
    color["strips"] = np.array([strip for _, strip in strips], np.uint8).reshape(-1, *VID2IMG_SHAPE)

    for name in sorted(set().union(*(v.backbones for v in videos))):
        backbone = backbones[name]
        rows = [(n, e.rows[name]) for n, (_, _, e) in enumerate(pieces) if name in e.rows]
        group = file.create_group(f"rows/{name}")
        group.attrs.update(modality=backbone.modality.value, weights_sha256=weights[name])
        group["videos"] = np.array(
            [i for i, v in enumerate(videos) if name in v.backbones], np.int32
        )
        group["segment"] = np.repeat(
            np.array([n for n, _ in rows], np.int32), [len(r.vectors) for _, r in rows]
        )
        empty = [np.zeros((0, backbone.dim), np.float32)]
        group["vectors"] = np.concatenate(empty + [r.vectors for _, r in rows])
        group["start_s"] = np.concatenate([np.zeros(0, np.float32)] + [r.start_s for _, r in rows])
        group["end_s"] = np.concatenate([np.zeros(0, np.float32)] + [r.end_s for _, r in rows])


def _read_weights(path: Path) -> dict[str, str]:
    """Read, by backbone, the SHA-256 of the weights that a shard's rows were computed with."""
    with reading_shard(path) as file:
        groups = file.get("rows", {})
        return {name: str(group.attrs["weights_sha256"]) for name, group in groups.items()}


def _read_entries(path: Path) -> list[CatalogEntry]:
    with reading_shard(path) as file:
        library = str(file.attrs["library"])
        videos = read_video_table(file, library)
        numbers = {name: file["videos"][name][:] for name in VIDEO_NUMBERS}
        told = _read_told(file)
        owner = file["segments/video"][:]
        counts = np.bincount(owner, minlength=len(videos))
        rows: list[dict[str, int]] = [{} for _ in videos]
        described: list[dict[str, int]] = [{} for _ in videos]
        weights: dict[str, str] = {}
        for name, group in file.get("rows", {}).items():
            weights[name] = str(group.attrs["weights_sha256"])
            of_row = group["segment"][:]
            of_video = np.bincount(owner[of_row], minlength=len(videos))
            with_rows = np.bincount(owner[np.unique(of_row)], minlength=len(videos))
            for i in group["videos"][:]:
                rows[i][name] = int(of_video[i])
                described[i][name] = int(with_rows[i])
        return [
            CatalogEntry(
                video=video,
                duration_s=float(numbers["duration_s"][i]),
                segment_seconds=float(numbers["segment_seconds"][i]),
                segments=int(counts[i]),
                rows=rows[i],
                described=described[i],
                shards=dict.fromkeys(rows[i], path),
                weights={name: weights[name] for name in rows[i]},
                damage=told[i][0],
                audio_track=told[i][1],
            )
            for i, video in enumerate(videos)
        ]


def _read_told(file: h5py.File) -> list[tuple[Damage, int | None]]:
    """Read the damage and audio track of each video of a shard; older shards lack them."""
    table = file["videos"]
    none = [""] * len(table["video_id"])
    picture, sound = (
        [str(text) for text in table[name].asstr()[:]] if name in table else none
        for name in ("damage", "sound_damage")
    )
    tracks = table["audio_track"][:].tolist() if "audio_track" in table else [0] * len(none)
    return [(Damage(*of), track or None) for *of, track in zip(picture, sound, tracks)]


def _read_videos(path: Path, library: str, wanted: dict[str, set[str]]) -> Iterator[EmbeddedVideo]:
    """Yield the `wanted` videos of one shard, each with the backbones named for it."""
    with reading_shard(path) as file:
        videos = read_video_table(file, library)
        numbers = {name: file["videos"][name][:] for name in VIDEO_NUMBERS}
        told = _read_told(file)
        table = {name: file["segments"][name][:] for name in file["segments"]}
        strips = dict(zip(file["vid2img/segment"][:].tolist(), file["vid2img/strips"][:]))
        groups: dict[str, dict[str, np.ndarray]] = {}
        for name in set().union(*wanted.values()):
            groups[name] = {key: data[:] for key, data in file[f"rows/{name}"].items()}
        for i, video in enumerate(videos):
            if video.video_id not in wanted:
                continue
            names = wanted[video.video_id]
            segments, embeddings = [], []
            for n in np.flatnonzero(table["video"] == i).tolist():
                segments.append(
                    Segment(
                        int(table["index"][n]),
                        float(table["start_s"][n]),
                        float(table["end_s"][n]),
                    )
                )
                embeddings.append(_read_embedding(groups, names, n, strips.get(n)))
            yield EmbeddedVideo(
                video=video,
                duration_s=float(numbers["duration_s"][i]),
                segment_seconds=float(numbers["segment_seconds"][i]),
                backbones=frozenset(names),
                segments=tuple(segments),
                embeddings=tuple(embeddings),
                damage=told[i][0],
                audio_track=told[i][1],
            )


def _read_embedding(
    groups: dict[str, dict[str, np.ndarray]],
    names: Collection[str],
    segment: int,
    strip: np.ndarray | None,
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
