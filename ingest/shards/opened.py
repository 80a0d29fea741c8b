"""One open shard, read at random: a few videos' rows, and what searches compare with, in place."""

from __future__ import annotations

import logging
import mmap
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...schemas.backbones import Backbone
from ...schemas.embedding import FloatArray, Version, from_index, index_dim, to_index
from ...schemas.errors import StoreError
from ...schemas.rows import StoredRow
from ...schemas.video import Video, row_id
from ..system.unreadable import hindrance
from .layout import SearchedRows, searched_rows, weights_in
from .open_shard import DAMAGE, damaged, open_shard, read_video_table

if TYPE_CHECKING:
    import h5py

_log = logging.getLogger(__name__)

FoundRows = tuple[list[StoredRow], FloatArray]
"""Rows of one video in order of segment and row, and vectors (n, dim) as Milvus returns them."""


@dataclass(frozen=True)
class _Group:
    """A shard's rows of one backbone; the vectors stay in the file.

    Attributes:
        videos: Numbers of the videos for which it was computed.
        of_row: (n,) number of each row's segment within the shard, ascending.
        start_s: (n,) float32 start of what each row describes, seconds.
        end_s: (n,) float32 its end.
        vectors: (n, dim) float32.
    """

    videos: frozenset[int]
    of_row: npt.NDArray[np.int32]
    start_s: FloatArray
    end_s: FloatArray
    vectors: h5py.Dataset


@dataclass(frozen=True)
class OpenShard:
    """An open shard, with an index of where each video lies; made by `opened`.

    Attributes:
        path: Where it was.
        file: The open file.
        videos: In order.
        segment_seconds: (videos,) segment length that each was cut with.
        owner: (segments,) number of each segment's video, ascending.
        numbers: (segments,) number of each segment within its video.
        weights: By backbone, the SHA-256 of the weights of its rows.
        row_counts: Its rows by backbone.
        groups: Groups requested before, by backbone; None where the shard has none.
    """

    path: Path
    file: h5py.File
    videos: list[Video]
    segment_seconds: npt.NDArray[np.float64]
    owner: npt.NDArray[np.int32]
    numbers: npt.NDArray[np.int32]
    weights: dict[str, str]
    row_counts: dict[str, int]
    groups: dict[str, _Group | None] = field(default_factory=dict)

    def version(self, place: int) -> Version:
        """Return the `CatalogEntry.version` of the video at `place`."""
        video = self.videos[place]
        return video.fingerprint, float(self.segment_seconds[place]), video.path

    def computed(self, backbone: str) -> frozenset[int]:
        """Return the places of the videos that a backbone was computed for."""
        group = self._group(backbone)
        return group.videos if group else frozenset()

    def rows(self, backbone: Backbone, place: int) -> FoundRows | None:
        """Return the rows of a backbone for the video at `place`; None where not computed."""
        group = self._group(backbone.name)
        if group is None or place not in group.videos:
            return None
        video = self.videos[place]
        begin, end = np.searchsorted(
            group.of_row, np.searchsorted(self.owner, [place, place + 1])
        ).tolist()
        segments = group.of_row[begin:end]
        within = np.arange(begin, end) - np.searchsorted(group.of_row, segments)
        rows = [
            StoredRow(
                id=row_id(video.video_id, number, i),
                video_id=video.video_id,
                library=video.library,
                path=video.path,
                label=video.label,
                segment=number,
                start_s=start_s,
                end_s=end_s,
                fingerprint=video.fingerprint,
            )
            for number, i, start_s, end_s in zip(
                self.numbers[segments].tolist(),
                within.tolist(),
                group.start_s[begin:end].tolist(),
                group.end_s[begin:end].tolist(),
            )
        ]
        return rows, from_index(backbone, to_index(backbone, group.vectors[begin:end]))

    def searched(self, backbone: Backbone) -> SearchedRows:
        """Return what searches of `backbone` compare with, mapped into memory where it is whole.

        Raises:
            StoreError: Neither it nor the rows that it comes from can be read.
        """
        group = self.file.get(f"searched/{backbone.name}")
        if group is not None:
            of_row, start_s, end_s = (group[name][:] for name in ("segment", "start_s", "end_s"))
            vectors = self._mapped(group["vectors"])
            if vectors is not None and vectors.shape == (len(of_row), index_dim(backbone)):
                return SearchedRows(of_row, start_s, end_s, vectors)
            _log.warning(
                "%s: what is searched of %s is damaged; it is computed from its rows again.",
                self.path,
                backbone.name,
            )
        rows = self._group(backbone.name)
        if rows is None:
            raise StoreError(f"{self.path} has no rows of {backbone.name}.")
        return searched_rows(backbone, rows.of_row, rows.vectors[:], rows.start_s, rows.end_s)

    def _mapped(self, dataset: h5py.Dataset) -> FloatArray | None:
        """Map the bytes of a dataset that lies in one piece; None where they are not as written."""
        if not dataset.size:
            return np.empty(dataset.shape, np.float32)
        offset = dataset.id.get_offset()
        if offset is None or offset + dataset.nbytes > len(self._memory):
            return None
        found = np.frombuffer(self._memory, np.float32, dataset.size, offset)
        if zlib.crc32(found.data.cast("B")) != int(dataset.attrs["crc32"]):
            return None
        return found.reshape(dataset.shape)

    @cached_property
    def _memory(self) -> mmap.mmap:
        """The whole file, which may have been replaced at its path since it was opened."""
        return mmap.mmap(self.file.id.get_vfd_handle(), 0, access=mmap.ACCESS_READ)

    def _group(self, name: str) -> _Group | None:
        if name not in self.groups:
            found = self.file.get(f"rows/{name}")
            self.groups[name] = found and _Group(
                frozenset(found["videos"][:].tolist()),
                found["segment"][:],
                found["start_s"][:],
                found["end_s"][:],
                found["vectors"],
            )
        return self.groups[name]


def opened(path: Path, patience_s: float | None = None) -> OpenShard:
    """Open a shard, once no other program holds it; `patience_s` as for `open_shard`.

    Raises:
        StoreError: It cannot be read, is damaged, or is not a shard of this version.
    """
    file = open_shard(path, patience_s)
    try:
        return OpenShard(
            path,
            file,
            read_video_table(file),
            file["videos/segment_seconds"][:],
            file["segments/video"][:],
            file["segments/index"][:],
            weights_in(file),
            {name: len(file[f"rows/{name}/segment"]) for name in list(file.get("rows", {}))},
        )
    except BaseException as error:
        file.close()
        if (found := hindrance(error)) is not None:
            raise StoreError(found.sentence(f"The shard {path}")) from error
        if isinstance(error, DAMAGE):
            raise damaged(path, error) from error
        raise
