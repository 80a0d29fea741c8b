"""Videos with random vectors, as extraction would give them, in the shards too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from vidsim.ingest.models.networks.quantization import dequantize, quantize
from vidsim.ingest.shards.home import Place, open_shards
from vidsim.ingest.shards.shard_files import Shards
from vidsim.schemas.backbones import BACKBONES, VID2IMG_SHAPE
from vidsim.schemas.embedding import EmbeddedVideo, Rows, SegmentEmbedding
from vidsim.schemas.video import Segment, Video


def embedded(
    video_id: str,
    *,
    fingerprint: str = "f0",
    backbones: Sequence[str] = ("labhist", "efficientnet_lite0"),
    segments: int = 1,
    seed: int = 0,
    label: str = "snow",
    silent: bool = False,
    dims: Mapping[str, int] = MappingProxyType({}),
) -> EmbeddedVideo:
    """A video with random vectors, as extraction would give it; `dims` are of other backbones."""
    random = np.random.default_rng(seed)
    sounds = 0 if silent else 10
    rows_a_segment = {"efficientnet_lite0": 8, "resnet50": 8, "yamnet": sounds, "vggish": sounds}
    parts, embeddings = [], []
    for i in range(segments):
        parts.append(Segment(i, 10.0 * i, 10.0 * (i + 1)))
        rows = {}
        for name in backbones:
            count = rows_a_segment.get(name, 1)
            if count:
                edges = np.linspace(10 * i, 10 * (i + 1), count + 1, dtype=np.float32)
                dim = dims.get(name) or BACKBONES[name].dim
                vectors = random.standard_normal((count, dim), np.float32)
                if name == "vggish":  # 256 levels are all that its post-processor gives
                    vectors = dequantize(quantize(vectors))
                rows[name] = Rows(vectors, edges[:-1], edges[1:])
        strip = None
        if {"labhist", "vid2img"} & set(backbones):
            strip = random.integers(0, 256, VID2IMG_SHAPE, np.uint8)
        if strip is not None and "vid2img" in backbones:
            pixels = (strip.reshape(1, -1) / 255).astype(np.float32)
            rows["vid2img"] = Rows(pixels, rows["vid2img"].start_s, rows["vid2img"].end_s)
        embeddings.append(SegmentEmbedding(rows, strip))
    library = video_id.split("/")[0]
    return EmbeddedVideo(
        video=Video(video_id, library, f"/videos/{video_id}", label, fingerprint, 100, 7),
        duration_s=10.0 * segments,
        segment_seconds=10.0,
        backbones=frozenset(backbones),
        segments=tuple(parts),
        embeddings=tuple(embeddings),
    )


def audioset_clip(video_id: str, label: str, seed: int = 0) -> EmbeddedVideo:
    """A clip as `vidsim ingest-audioset` stores it."""
    clip = embedded(video_id, backbones=("vggish",), seed=seed, label=label)
    address = f"https://www.youtube.com/watch?v={seed:011d}&t=30"
    return replace(clip, video=replace(clip.video, path=address))


def store(place: Place, *videos: EmbeddedVideo) -> Shards:
    shards = open_shards(place.home)
    for library in sorted({v.video.library for v in videos}):
        shards.write(library, [v for v in videos if v.video.library == library])
    return shards
