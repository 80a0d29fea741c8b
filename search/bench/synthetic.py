"""A synthetic library of UCF101's size: clustered vectors, the same in every run."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...schemas.backbones import VID2IMG_SHAPE, Backbone
from ...schemas.embedding import EmbeddedVideo, FloatArray, Rows, SegmentEmbedding
from ...schemas.modality import Modality
from ...schemas.video import SEGMENT_SECONDS, Segment, Video

UCF101_VIDEOS = 13_320
"""Clips of UCF101 (Soomro, Zamir and Shah, 2012)."""

LIBRARY = "ucf101"

_CLASS_VIDEOS = 132
_GROUP_VIDEOS = 5
_GROUPS = -(-_CLASS_VIDEOS // _GROUP_VIDEOS)
"""UCF101 has 101 classes of some 25 groups each; a group is the clips cut from one long video."""

_SECONDS = 7.2
"""UCF101's clips last 7.2 s on average."""

_AUDIO_ROWS = 7
"""Patches of 0.96 s per clip."""

_LATENT = 24
_GROUP, _VIDEO, _ROW, _NOISE = 0.5, 0.25, 0.25, 0.2
_BIAS = 0.6
"""A vector is a random projection of 24 numbers, those of its class (normal, of deviation 1) and
deviations of its group, video and row, with some noise, clipped at zero. Chosen so that the
similarities of random pairs have about the mean and deviation of real clips': see `TYPICAL` in
`search.likeness`."""


@dataclass(frozen=True)
class _Space:
    """The latent space of one backbone's vectors.

    Attributes:
        projection: (_LATENT, dim) float32.
        classes: (classes, _LATENT) float32.
        groups: (classes, _GROUPS, _LATENT) float32.
    """

    projection: FloatArray
    classes: FloatArray
    groups: FloatArray


def make_videos(
    count: int, backbones: Sequence[Backbone], first: int = 0
) -> Iterator[EmbeddedVideo]:
    """Yield `count` embedded videos of one segment each; every other group is silent.

    They are the same at every call, and a larger library begins with the videos of a smaller one;
    the `first` ones are skipped.
    """
    spaces = {b.name: _space(b, count) for b in backbones}
    for number in range(first, count):
        yield _make(number, backbones, spaces)


def _space(backbone: Backbone, videos: int) -> _Space:
    seed = zlib.crc32(backbone.name.encode())
    draws = [np.random.default_rng([seed, i]) for i in range(3)]
    classes = videos // _CLASS_VIDEOS + 1
    return _Space(
        projection=draws[0].standard_normal((_LATENT, backbone.dim), np.float32) / _LATENT**0.5,
        classes=draws[1].standard_normal((classes, _LATENT), np.float32),
        groups=_GROUP * draws[2].standard_normal((classes, _GROUPS, _LATENT), np.float32),
    )


def _make(number: int, backbones: Sequence[Backbone], spaces: dict[str, _Space]) -> EmbeddedVideo:
    random = np.random.default_rng(number)
    kind, member = divmod(number, _CLASS_VIDEOS)
    group, clip = divmod(member, _GROUP_VIDEOS)
    label = f"Action{kind + 1:03}"
    name = f"{label}/v_{label}_g{group + 1:02}_c{clip + 1:02}.avi"
    rows, strip = {}, None
    for backbone in backbones:
        count = _row_count(backbone)
        space = spaces[backbone.name]
        latent = space.classes[kind] + space.groups[kind, group]
        vectors = _vectors(latent, count, space.projection, random)
        if backbone.modality is Modality.AUDIO and group % 2:
            continue
        if backbone.name == "vid2img":
            strip = (255 * np.clip(vectors / 4, 0, 1)).astype(np.uint8).reshape(VID2IMG_SHAPE)
            vectors = np.asarray(strip.reshape(1, -1) / 255, np.float32)
        edges = np.linspace(0, _SECONDS, count + 1, dtype=np.float32)
        rows[backbone.name] = Rows(vectors, edges[:-1], edges[1:])
    return EmbeddedVideo(
        video=Video(
            video_id=f"{LIBRARY}/{name}",
            library=LIBRARY,
            path=f"/data/{LIBRARY}/{name}",
            label=label,
            fingerprint=f"{number:032x}",
            size=500_000,
            mtime_ns=0,
        ),
        duration_s=_SECONDS,
        segment_seconds=SEGMENT_SECONDS,
        backbones=frozenset(b.name for b in backbones),
        segments=(Segment(0, 0.0, _SECONDS),),
        embeddings=(SegmentEmbedding(rows, strip),),
    )


def _row_count(backbone: Backbone) -> int:
    if backbone.modality is Modality.FRAME:
        assert backbone.frames
        return backbone.frames.count
    return _AUDIO_ROWS if backbone.modality is Modality.AUDIO else 1


def _vectors(
    latent: FloatArray, count: int, projection: FloatArray, random: np.random.Generator
) -> FloatArray:
    """Return (count, dim) float32, non-negative as histograms and rectified features are."""
    own = latent + _VIDEO * random.standard_normal(_LATENT, np.float32)
    rows = own + _ROW * random.standard_normal((count, _LATENT), np.float32)
    noise = _NOISE * random.standard_normal((count, projection.shape[1]), np.float32)
    return np.asarray(np.maximum(_BIAS + rows @ projection + noise, 0), np.float32)
