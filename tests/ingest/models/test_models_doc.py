"""docs/models.md says of every backbone what the table in schemas/backbones.py does."""

from __future__ import annotations

from urllib.parse import urlsplit

import numpy as np
import pytest
from torchvision.models import ResNet50_Weights
from torchvision.models.video import R3D_18_Weights

from vidsim.ingest.models.networks.timm_network import describe
from vidsim.schemas.backbones import BACKBONES, Backbone, timm_name
from vidsim.schemas.modality import SIGNED_UNIT, FrameSampling, PixelScale
from vidsim.schemas.presets import PRESETS
from vidsim.schemas.weights import PinnedArchive

from ...helpers.repository import ROOT

TEXT = (ROOT / "docs" / "models.md").read_text()
OWN = {name: b for name, b in BACKBONES.items() if timm_name(b) is None}
SCALES = {
    "ImageNet mean and deviation": ResNet50_Weights.IMAGENET1K_V1.transforms(),
    "Kinetics mean and deviation of torchvision": R3D_18_Weights.KINETICS400_V1.transforms(),
}


def table(*header: str) -> list[list[str]]:
    """The rows of the table whose header begins like this, cell by cell."""
    lines = iter(TEXT.splitlines())
    wanted = f"| {' | '.join(header)} |"
    assert any(line.startswith(wanted) for line in lines), wanted
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip(" `") for cell in line.strip("|").split("|")])
    return rows


def test_every_backbone_is_documented() -> None:
    rows = {cells[0]: cells[1:] for cells in table("backbone", "modality", "dim", "licence")}
    assert list(rows) == list(OWN)
    files: list[object] = []
    for name, backbone in OWN.items():
        modality, dim, licence, about = rows[name]
        assert (modality, dim) == (backbone.modality, f"{backbone.dim:,}")
        assert licence == (backbone.weights.licence if backbone.weights else "none")
        shared = backbone.weights is not None and backbone.weights in files
        assert about.rpartition("; ")[2] == ("the same files" if shared else origin(backbone))
        files.append(backbone.weights)


def origin(backbone: Backbone) -> str:
    """Where its weights come from."""
    if backbone.weights is None:
        return "no weights"
    if isinstance(backbone.weights, PinnedArchive):
        return "package index"
    (host,) = {urlsplit(file.url or "//by hand").netloc for file in backbone.weights.files}
    return host


def test_what_networks_are_fed_is_documented() -> None:
    listed = table("backbone", "frames a segment")
    rows = {name: cells for names, *cells in listed for name in names.split(", ")}
    assert set(rows) == {n for n, b in OWN.items() if b.frames} | {"timm:NAME"}
    assert rows.pop("timm:NAME")[0] == frames(describe("resnet10t").frames)
    for name, (sampled, picture, scale) in rows.items():
        assert sampled == frames(OWN[name].frames)
        assert picture.removesuffix(", as the capstone did") == resized(OWN[name].frames)
        check_scale(scale, OWN[name].pixels)


def frames(sampling: FrameSampling | None) -> str:
    """How many frames, and where from."""
    assert sampling is not None
    if sampling.fps is None:
        return f"{sampling.count}, evenly"
    return f"{sampling.count} in the middle, {sampling.fps:g} a second"


def resized(sampling: FrameSampling | None) -> str:
    """How a frame is brought to its size."""
    assert sampling is not None
    if sampling.fit == "stretch":
        return f"stretched to {sampling.size}x{sampling.size}"
    if isinstance(sampling.resize, int):
        return f"short side {sampling.resize}, centre {sampling.size}"
    height, width = sampling.resize
    return f"stretched to {width}x{height}, centre {sampling.size}"


def check_scale(said: str, pixels: PixelScale | None) -> None:
    """Asserts that `said` is what is made of pixels in 0..255."""
    if said in SCALES:
        assert pixels is not None
        np.testing.assert_allclose(pixels.mean, np.array(SCALES[said].mean) * 255)
        np.testing.assert_allclose(pixels.std, np.array(SCALES[said].std) * 255)
    elif pixels is None or pixels == SIGNED_UNIT:
        assert said == ("-1..1" if pixels else "pixels in 0..255")
    else:
        mean = ", ".join(f"{value:.4f}" for value in pixels.mean)
        assert said == f"mean {mean} subtracted from RGB in 0..255"
        assert pixels.std == (1, 1, 1)


def test_weights_that_the_package_index_carries_have_been_run_and_no_others() -> None:
    ((real, made),) = table("with real weights", "only with checkpoints made in the tests")
    pinned = [n for n, b in OWN.items() if isinstance(b.weights, PinnedArchive)]
    assert sorted(real.split(", ")) == sorted(pinned)
    published = {n for n, b in OWN.items() if b.weights} - set(pinned)
    assert set(made.split(", ")) == published | {"timm's"}


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_documented(preset: str) -> None:
    names = ", ".join(PRESETS[preset].values())
    assert f"`{preset}` ({names})" in " ".join(TEXT.split())
