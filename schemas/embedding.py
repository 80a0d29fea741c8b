"""Embeddings with the stretch of video each row describes, and their form in Milvus."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from .backbones import Backbone, sound_backbones
from .video import Segment, Video

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]

Version = tuple[str, float, str]
"""Fingerprint, segment length and path of a video's entry."""


@dataclass(frozen=True)
class Rows:
    """The rows that one backbone computed for one segment.

    Attributes:
        vectors: (n, dim) float32, as the network output them; n is 0 for silence.
        start_s: (n,) float32, start of the stretch each row describes, seconds.
        end_s: (n,) float32, its end.
    """

    vectors: FloatArray
    start_s: FloatArray
    end_s: FloatArray

    def __post_init__(self) -> None:
        """Raise ValueError where shapes differ or a number is not finite."""
        n = len(self.vectors)
        if self.vectors.ndim != 2 or self.start_s.shape != (n,) or self.end_s.shape != (n,):
            raise ValueError(
                f"rows of different length: {self.vectors.shape}, {self.start_s.shape}"
            )
        if not np.isfinite(self.vectors).all():
            raise ValueError("an embedding holds NaN or infinity")


@dataclass(frozen=True)
class SegmentEmbedding:
    """All embeddings of one segment.

    Attributes:
        rows: Rows by backbone name.
        vid2img: (20, 100, 3) uint8 colour strip, None where color was not requested.
        flat: Backbones whose rows here come from flat frames only; not stored.
    """

    rows: dict[str, Rows]
    vid2img: ByteArray | None = None
    flat: frozenset[str] = frozenset()


def unit(vectors: FloatArray) -> FloatArray:
    """L2-normalise rows (..., dim); a zero row stays zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), dtype=np.float32)


def segment_means(
    backbone: Backbone, vectors: FloatArray, first: npt.NDArray[np.int64]
) -> FloatArray:
    """Return the mean of each segment's rows, by which videos are compared.

    Args:
        backbone: Its rows are normalised before and after, where cosines compare them.
        vectors: (n, dim) float32 rows, segment by segment.
        first: (segments,) where each segment's rows begin, ascending from 0.

    Returns:
        (segments, dim) float32.
    """
    cosine = backbone.similarity == "cosine"
    rows = unit(vectors) if cosine else vectors
    counts = np.diff(first, append=len(rows))
    means = (np.add.reduceat(rows, first, axis=0) / counts[:, None]).astype(np.float32)
    return unit(means) if cosine else means


def index_dim(backbone: Backbone) -> int:
    """Return the dimension of the vectors that Milvus holds for `backbone`."""
    return backbone.dim + (backbone.similarity == "l2")


def to_index(backbone: Backbone, vectors: FloatArray) -> FloatArray:
    """Convert rows (n, dim) to Milvus' form, to be searched by inner product.

    Cosine backbones are L2-normalised. For a true L2 ranking x becomes [x, |x|^2 / 2]:
    with the query [q, -1] the inner product is (|q|^2 - |q - x|^2) / 2.
    """
    if backbone.similarity == "cosine":
        return unit(vectors)
    half_squares = 0.5 * np.einsum("nd,nd->n", vectors, vectors)[:, None]
    return np.hstack([vectors, half_squares]).astype(np.float32)


def to_query(backbone: Backbone, vectors: FloatArray) -> FloatArray:
    """Convert vectors (n, dim) to queries for `to_index` rows."""
    if backbone.similarity == "cosine":
        return unit(vectors)
    return np.hstack([vectors, np.full((len(vectors), 1), -1, np.float32)]).astype(np.float32)


def from_index(backbone: Backbone, stored: FloatArray) -> FloatArray:
    """Convert Milvus' rows to (n, dim): normalised for cosine backbones, as extracted for L2."""
    return stored[:, : backbone.dim]


@dataclass(frozen=True)
class Damage:
    """What of a file did not decode, in words; "" where no loss is known.

    Attributes:
        picture: Losses of the picture.
        sound: Losses of the sound, or why it was left out.
    """

    picture: str = ""
    sound: str = ""

    def describe(self) -> str:
        """Return both in one line, each fact once."""
        facts = [fact for text in (self.picture, self.sound) for fact in text.split("; ")]
        return "; ".join(dict.fromkeys(filter(None, facts)))

    def then(self, later: Damage, computed: Collection[str]) -> Damage:
        """Return the damage known after a later run that computed the named backbones."""
        sound = sound_backbones(computed)
        picture = set(computed) - sound
        return Damage(
            later.picture if picture else self.picture,
            later.sound if sound or later.sound else self.sound,
        )


NO_DAMAGE = Damage()


@dataclass(frozen=True)
class EmbeddedVideo:
    """A video with everything extracted from it, as a shard stores it.

    Attributes:
        video: The file.
        duration_s: Seconds from its first frame or sample to the end of its last.
        segment_seconds: The segment length it was cut with.
        backbones: Computed backbones, including those that gave no rows (silence).
        segments: The stretches it was cut into.
        embeddings: One per segment.
        damage: What of it did not decode.
        audio_track: Number of its audio track, from 1; None for the picture's own.
        stored_at: When its newest rows were first stored, seconds since the epoch; 0 where they
            are not yet.
    """

    video: Video
    duration_s: float
    segment_seconds: float
    backbones: frozenset[str]
    segments: tuple[Segment, ...]
    embeddings: tuple[SegmentEmbedding, ...]
    damage: Damage = NO_DAMAGE
    audio_track: int | None = None
    stored_at: int = field(default=0, compare=False)

    @property
    def version(self) -> Version:
        """The values that are equal for two entries of the same file, cut the same way."""
        return self.video.fingerprint, self.segment_seconds, self.video.path

    def row_counts(self) -> dict[str, int]:
        """Return the number of rows by backbone, 0 for one that was computed and gave none."""
        return {
            name: sum(len(e.rows[name].vectors) for e in self.embeddings if name in e.rows)
            for name in sorted(self.backbones)
        }


def merge(first: EmbeddedVideo, second: EmbeddedVideo) -> EmbeddedVideo:
    """Merge two videos; what the second was computed for replaces all that the first has of it.

    Segments match by their number: their ends may differ after a later decode.
    """
    parts = {}
    for segment, old in zip(first.segments, first.embeddings, strict=True):
        kept = {name: rows for name, rows in old.rows.items() if name not in second.backbones}
        parts[segment.index] = (segment, replace(old, rows=kept))
    for segment, new in zip(second.segments, second.embeddings, strict=True):
        known, old = parts.get(segment.index, (segment, SegmentEmbedding({})))
        strip = new.vid2img if new.vid2img is not None else old.vid2img
        parts[segment.index] = (known, SegmentEmbedding({**old.rows, **new.rows}, strip))
    ordered = [parts[index] for index in sorted(parts)]
    return replace(
        first,
        backbones=first.backbones | second.backbones,
        segments=tuple(segment for segment, _ in ordered),
        embeddings=tuple(embedding for _, embedding in ordered),
        damage=first.damage.then(second.damage, second.backbones),
        audio_track=second.audio_track if sound_backbones(second.backbones) else first.audio_track,
        stored_at=second.stored_at and max(first.stored_at, second.stored_at),
    )
