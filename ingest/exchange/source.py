"""A checked export file, and access to its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from ...schemas.backbones import BACKBONES, VID2IMG_SHAPE, Backbone
from ...schemas.embedding import EmbeddedVideo, Rows, SegmentEmbedding
from ...schemas.errors import MediaError, StoreError
from ...schemas.exports import AUDIOSET_SECONDS
from ..discover.videos import check_id
from ..models.networks.quantization import dequantize
from .h5_reader import H5File
from .layout import IndexedVideo

Form = Literal["vectors", "levels", "strips"]
"""Form of rows: as extracted, VGGish's 0..255, or colour strips."""


@dataclass(frozen=True)
class Block:
    """A video of a file, and the place of its rows: items ``first:last`` of `dataset`.

    Attributes:
        item: The video.
        dataset: Its name.
        first: The first item.
        last: The one after the last.
        content: `content_hash` of its rows, where the video has no fingerprint; "" elsewhere,
            and before `checked`.
    """

    item: IndexedVideo
    dataset: str
    first: int
    last: int
    content: str = ""


@dataclass(frozen=True)
class Source:
    """A checked export file.

    Attributes:
        file: The file.
        backbone: What its rows were computed with.
        form: What its rows are.
        weights_sha256: SHA-256 of the weights they were computed with, "" where not stated.
        blocks: Its videos by id.
    """

    file: H5File
    backbone: Backbone
    form: Form
    weights_sha256: str
    blocks: dict[str, Block]

    @property
    def path(self) -> Path:
        """The file's path."""
        return self.file.path


def read_videos(
    sources: Sequence[Source], video_ids: Sequence[str]
) -> Iterator[tuple[str, EmbeddedVideo]]:
    """Read the videos of all sources, each with the source's backbone and its colour strips.

    Yields:
        The id and one source's part of the video; ids come once per source.
    """
    for source in sources:
        blocks = [source.blocks[i] for i in video_ids if i in source.blocks]
        for block, rows in _read(source, blocks):
            yield block.item.video.video_id, _embedded(source, block, rows)


def strip_rows(video: EmbeddedVideo) -> EmbeddedVideo:
    """Return `video` with the vid2img rows computed from its strips."""
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


def merged_dataset(file: H5File) -> str | None:
    """Return the dataset of all rows in the capstone's layout; None where each video has one."""
    names = ("color_vid2imgs", "feature_vectors", "audio_embeddings")
    return next((n for n in names if n in file.datasets), None)


def check_shape(file: H5File, name: str, backbone: Backbone, rows: int) -> None:
    """Raise StoreError unless a dataset has `rows` items that fit the backbone."""
    data = file.datasets.get(name)
    fitting: list[tuple[int, ...]] = [(rows, backbone.dim)]
    if backbone.name == "vid2img":
        fitting.append((rows, *VID2IMG_SHAPE))
    if backbone.name == "vggish":
        fitting.append((rows, AUDIOSET_SECONDS, backbone.dim))
    if data is None or data.kind != "numbers" or data.dtype.startswith("int"):
        kind = data.dtype if data else "no dataset"
        refuse(file.path, f"{name} is {kind}, not an array of numbers")
    if data.shape not in fitting:
        refuse(file.path, f"{name} is {data.shape}, not {fitting[0]} as {backbone.name} has it")


def content_hash(rows: npt.NDArray[Any]) -> str:
    """Hash rows (or strips) of one video and backbone, to tell them from others."""
    return hashlib.blake2b(rows.tobytes(), digest_size=16).hexdigest()


def checked(source: Source) -> Source:
    """Check that all rows fit, and return the source with hashes of content where needed.

    Raises:
        StoreError: They do not, or a video's id cannot be stored.
    """
    blocks = _read(source, list(source.blocks.values()))
    found = {b.item.video.video_id: _checked(source, b, rows) for b, rows in blocks}
    return replace(source, blocks=found)


def _checked(source: Source, block: Block, rows: npt.NDArray[Any]) -> Block:
    item = block.item
    if len(rows) != len(item.owners):
        refuse(source.path, f"{item.video.video_id} has {len(rows)} rows, not {len(item.owners)}")
    for times in (item.start_s, item.end_s):
        if times.shape != item.owners.shape or not np.isfinite(times).all():
            refuse(source.path, f"{item.video.video_id} has rows without a start or end")
    if source.form == "strips" and len(set(item.owners.tolist())) != len(item.owners):
        refuse(source.path, f"{item.video.video_id} has two strips of one segment")
    try:
        check_id(item.video.video_id)
    except MediaError as error:
        raise StoreError(
            f"{source.path} names a video {item.video.video_id!r}, whose id cannot be stored; "
            "rename it before the export."
        ) from error
    return block if item.video.fingerprint else replace(block, content=content_hash(rows))


def refuse(path: Path, reason: str) -> NoReturn:
    """Raise StoreError that the file at `path` is not imported, with a reason of a few words."""
    raise StoreError(f"{path} cannot be imported: {reason}; give a file that an export wrote.")


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


def _read(source: Source, blocks: Sequence[Block]) -> Iterator[tuple[Block, npt.NDArray[Any]]]:
    """Yield blocks with their rows: (n, dim) float32, or strips (n, 20, 100, 3) uint8."""
    full = [b for b in blocks if b.first < b.last]  # others may lack their dataset
    read = source.file.read((b.dataset, b.first, b.last) for b in full)
    for block in blocks:
        stored = next(read) if block.first < block.last else np.zeros(0, np.float32)
        yield block, _rows(source, block, stored.reshape(-1, source.backbone.dim))


def _rows(source: Source, block: Block, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Check stored numbers (n, dim), and return the rows or strips that they are."""
    if not np.isfinite(stored).all():
        refuse(source.path, f"{block.item.video.video_id} holds NaN or infinity")
    if source.form == "vectors":
        return stored.astype(np.float32)
    levels = np.rint(stored)
    if ((levels < 0) | (levels > 255)).any() or (
        source.form == "levels" and (levels != stored).any()
    ):
        refuse(source.path, f"{block.item.video.video_id} holds other numbers than 0 to 255")
    if source.form == "levels":
        return dequantize(levels.astype(np.uint8))
    strips: npt.NDArray[Any] = levels.astype(np.uint8).reshape(-1, *VID2IMG_SHAPE)
    return strips
