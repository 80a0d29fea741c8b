"""The classic preset's picture networks and timm's, on checkpoints made here.

Their publishers are out of reach of the machines that run these tests, so every checkpoint
is made with the publisher's names and shapes and random numbers.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn
from torch.nn import functional
from torchvision.models import ResNet50_Weights, resnet50
from torchvision.models.video import R3D_18_Weights, r3d_18

from vidsim.cli import main
from vidsim.ingest.decode.events import SegmentMedia
from vidsim.ingest.decode.picture import fit
from vidsim.ingest.exchange.export import export
from vidsim.ingest.extract.embed import EmbedOptions
from vidsim.ingest.extract.pixels import to_network_input
from vidsim.ingest.extract.scheduler import Extraction
from vidsim.ingest.models.networks import resnet3d
from vidsim.ingest.models.networks.loading import load_network
from vidsim.ingest.models.registry import register_timm
from vidsim.ingest.models.weights import add, digests, ensure, locate, status
from vidsim.ingest.pipeline import ingest
from vidsim.ingest.shards.home import Place
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES, Backbone
from vidsim.schemas.errors import ModelError, StoreError, WeightsError
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import DEFAULT_PRESET, PRESETS
from vidsim.schemas.video import Segment
from vidsim.schemas.weights import PinnedArchive, PublishedFiles

CPU = torch.device("cpu")
SMALL = "resnet10t"
"""A small network of timm's."""


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """`network` with normalisation that does something, as if it had been trained."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean = torch.rand(module.num_features, generator=generator) - 0.5
            module.running_var = torch.rand(module.num_features, generator=generator) + 0.5
    return network.eval().requires_grad_(False)


BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "resnet50": resnet50,
    "r3d18": r3d_18,
    "resnet34_3d": resnet3d.ResNet34,
    f"timm_{SMALL}": partial(timm.create_model, SMALL),
}


def publish(folder: Path, name: str, state: dict[str, torch.Tensor]) -> Path:
    """Writes a checkpoint as its publisher did."""
    content: Any = state
    if name == "resnet34_3d":
        prefixed = {f"module.{n}": t for n, t in state.items() if "num_batches" not in n}
        content = {"arch": "resnet-34", "epoch": 151, "state_dict": prefixed, "optimizer": {}}
    path = folder / f"{name}.pth"
    # Hara's file is older than PyTorch's zip format.
    torch.save(content, path, _use_new_zipfile_serialization=name != "resnet34_3d")
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[nn.Module, Path]]:
    """By backbone: a network made by an independent builder, and its checkpoint."""
    folder = tmp_path_factory.mktemp("published")
    torch.manual_seed(0)
    built = {name: randomised(build()) for name, build in BUILDERS.items()}
    return {name: (n, publish(folder, name, n.state_dict())) for name, n in built.items()}


@pytest.fixture(scope="module")
def uniform(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By backbone: a checkpoint whose every tensor repeats one number, hence a small file."""
    folder = tmp_path_factory.mktemp("uniform")
    found = {}
    for name, build in BUILDERS.items():
        with torch.device("meta"):
            state = build().state_dict()
        # A hundredth keeps every activation finite.
        repeated = {n: torch.tensor(0.01).to(t.dtype).expand(t.shape) for n, t in state.items()}
        found[name] = publish(folder, name, repeated)
    return found


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache and a home of their own, and no hub in reach."""
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VIDSIM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")  # Milvus Lite answers there


def unpublished(backbone: Backbone) -> Backbone:
    """A backbone whose checksum is not told, as if its publisher told none."""
    assert isinstance(backbone.weights, PublishedFiles)
    files = tuple(replace(f, checksum="") for f in backbone.weights.files)
    return replace(backbone, weights=replace(backbone.weights, files=files))


def said_by(call: Any, *arguments: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        call(*arguments)
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith(".")
    return said


def kept(tmp_path: Path) -> list[str]:
    found = (tmp_path / "cache").rglob("*")
    return sorted(p.name for p in found if p.is_file() and p.suffix != ".lock")


# --- architecture


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("name", "shape"), [("resnet50", (2, 3, 96, 96)), ("r3d18", (2, 3, 8, 56, 56))]
)
@torch.inference_mode()
def test_the_network_is_torchvisions_without_its_classifier(
    made: Any, tmp_path: Path, name: str, shape: tuple[int, ...]
) -> None:
    twin, path = made[name]
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    features = load_network(BACKBONES[name], add(unpublished(BACKBONES[name]), [path]))(x)
    assert features.shape == (2, BACKBONES[name].dim)
    torch.testing.assert_close(twin.fc(features), twin(x))


@pytest.mark.parametrize(
    ("name", "published"),
    [("resnet50", ResNet50_Weights.IMAGENET1K_V1), ("r3d18", R3D_18_Weights.KINETICS400_V1)],
)
def test_facts_are_torchvisions_own(name: str, published: Any) -> None:
    backbone, transforms = BACKBONES[name], published.transforms()
    assert isinstance(backbone.weights, PublishedFiles)
    (file,) = backbone.weights.files
    assert file.url == published.url
    assert f"-{file.checksum.removeprefix('sha256:')[:8]}.pth" in published.url
    assert file.is_pinned
    assert backbone.pixels is not None
    np.testing.assert_allclose(backbone.pixels.mean, np.array(transforms.mean) * 255)
    np.testing.assert_allclose(backbone.pixels.std, np.array(transforms.std) * 255)
    assert backbone.frames is not None
    assert backbone.frames.size == transforms.crop_size[0]


def test_3d_resnet_has_the_parameters_of_torchvisions_twin() -> None:
    """R3D-18 of the same stage widths, with the blocks of ResNet-34 and no projections."""
    from torchvision.models.video.resnet import BasicBlock, Conv3DSimple, VideoResNet

    class Stem(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Conv3d(3, 64, 7, (1, 2, 2), 3, bias=False), nn.BatchNorm3d(64))

    with torch.device("meta"):  # shapes alone
        twin = VideoResNet(BasicBlock, [Conv3DSimple] * 4, [3, 4, 6, 3], Stem)
        ours = resnet3d.ResNet34()
    projections = sum(p.numel() for n, p in twin.named_parameters() if ".downsample." in n)
    expected = sum(p.numel() for p in twin.parameters()) - projections
    assert sum(p.numel() for p in ours.parameters()) == expected


@pytest.mark.acceptance
@torch.inference_mode()
def test_3d_resnet_agrees_with_its_formula(made: Any) -> None:
    """The whole network written down a second time, as functions of the checkpoint."""
    _, path = made["resnet34_3d"]
    state = torch.load(path, weights_only=True)["state_dict"]
    x = torch.randn(1, 3, 16, 112, 112, generator=torch.Generator().manual_seed(1)) * 50

    def normalised(y: torch.Tensor, name: str) -> torch.Tensor:
        weight, bias, mean, var = (
            state[f"module.{name}.{part}"][:, None, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (y - mean) / torch.sqrt(var + 1e-5) * weight + bias

    def convolved(y: torch.Tensor, name: str, stride: Any, padding: int) -> torch.Tensor:
        return functional.conv3d(y, state[f"module.{name}.weight"], None, stride, padding)

    expected = normalised(convolved(x, "conv1", (1, 2, 2), 3), "bn1").clamp_min(0)
    expected = functional.max_pool3d(expected, 3, 2, 1)
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for i in range(blocks):
            name, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            inner = normalised(convolved(expected, f"{name}.conv1", stride, 1), f"{name}.bn1")
            inner = normalised(convolved(inner.clamp_min(0), f"{name}.conv2", 1, 1), f"{name}.bn2")
            # Type A: average pooling with a window of one cell, and channels of zeros.
            shortcut = functional.avg_pool3d(expected, 1, stride)
            zeros = torch.zeros(1, inner.shape[1] - shortcut.shape[1], *shortcut.shape[2:])
            expected = (inner + torch.cat([shortcut, zeros], 1)).clamp_min(0)
    assert expected.shape == (1, 512, 1, 4, 4)
    expected = functional.avg_pool3d(expected, (1, 4, 4)).flatten(1)
    torch.testing.assert_close(resnet3d.load_resnet34_3d(path)(x), expected, rtol=1e-3, atol=1e-4)


# --- preprocessing


@pytest.mark.parametrize("name", ["resnet50", "r3d18"])
def test_preprocessing_is_torchvisions(name: str) -> None:
    backbone = BACKBONES[name]
    picture = load_sample_image("china.jpg")
    assert backbone.frames is not None
    assert backbone.pixels is not None
    own = to_network_input(fit(picture, backbone.frames)[None], backbone.pixels, CPU)[0]
    if name == "resnet50":
        transforms = ResNet50_Weights.IMAGENET1K_V1.transforms()
        transforms.resize_size = [224, 224]  # as the capstone did: the whole picture, no crop
        expected = transforms(Image.fromarray(picture))
    else:
        video = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None]
        expected = R3D_18_Weights.KINETICS400_V1.transforms()(video)[:, 0]
    assert own.shape == expected.shape
    # Averaging, as we shrink, lies between torchvision's antialiased bilinear (pictures) and its
    # plain one (videos); a crop one pixel off would be twice as far from the latter.
    assert (own - expected).abs().mean() < (0.05 if name == "resnet50" else 0.18)


def test_hara_subtracts_the_mean_from_bytes_in_the_order_rgb() -> None:
    backbone = BACKBONES["resnet34_3d"]
    assert backbone.pixels is not None
    clip = np.zeros((1, 16, 112, 112, 3), np.uint8)
    clip[..., 0] = 200
    x = to_network_input(clip, backbone.pixels, CPU)
    assert x.shape == (1, 3, 16, 112, 112)
    np.testing.assert_allclose(x[0, :, 3, 5, 7], [200 - 114.7748, -107.7354, -99.4750], rtol=1e-5)


def test_a_short_side_is_kept_in_shape_and_cut_in_the_middle() -> None:
    ramp = np.broadcast_to(np.arange(512, dtype=np.uint16)[None, :, None] // 2, (256, 512, 3))
    frames = BACKBONES["resnet34_3d"].frames
    assert frames is not None
    cut = fit(ramp.astype(np.uint8), frames)
    assert cut.shape == (112, 112, 3)
    # 112 of 224 pixels around the middle: a quarter from each side is gone.
    assert abs(int(cut[0, 0, 0]) - 64) <= 1
    assert abs(int(cut[0, -1, 0]) - 191) <= 1


# --- every backbone keeps to one contract

PICTURES = [b.name for b in BACKBONES.values() if b.modality is not Modality.AUDIO]
"""Audio runs TensorFlow in a process of its own: see test_yamnet and test_vggish."""


DEFAULTS = PRESETS[DEFAULT_PRESET].values()
PULLED = [name for name in PICTURES if isinstance(BACKBONES[name].weights, PinnedArchive)]
LONG = [
    pytest.param(name, marks=() if name in DEFAULTS else pytest.mark.acceptance)
    for name in PICTURES
    if name not in PULLED
]


@pytest.mark.parametrize("name", [*LONG, f"timm_{SMALL}"])
def test_every_backbone_gives_the_rows_it_promises(made: Any, tmp_path: Path, name: str) -> None:
    if name.startswith("timm_"):
        backbone = register_timm(tmp_path / "home", f"timm:{SMALL}")
    else:
        backbone = BACKBONES[name]
    if isinstance(backbone.weights, PublishedFiles):
        backbone = unpublished(backbone)
        add(backbone, [made[name][1]])
    gives_the_rows_it_promises(backbone)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "efficientnet_lite0" else pytest.mark.acceptance)
        for name in PULLED
    ],
)
def test_every_pulled_backbone_gives_the_rows_it_promises(
    weights: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("VIDSIM_CACHE", str(weights))
    gives_the_rows_it_promises(BACKBONES[name])


def gives_the_rows_it_promises(backbone: Backbone) -> None:
    name = backbone.name
    assert backbone.frames is not None
    random = np.random.default_rng(0)
    shape = (backbone.frames.count, backbone.frames.size, backbone.frames.size, 3)
    # Squares of four pixels: pictures have fewer colours than pixels.
    squares = random.integers(0, 256, (2, shape[0], shape[1] // 4, shape[2] // 4, 3), np.uint8)
    pixels = squares.repeat(4, axis=2).repeat(4, axis=3)
    assert pixels.shape == (2, *shape)
    media = [
        SegmentMedia(Segment(i, 10.0 * i, 10.0 * i + 10), {backbone.modality: pixels[i]})
        for i in range(2)
    ]
    with Extraction({backbone.modality: backbone}, "cpu", threads=1) as extraction:
        both = [embedding.rows[name] for embedding in extraction.embed(media)]
        alone, again = (extraction.embed(media[1:])[0].rows[name].vectors for _ in range(2))
    rows = 8 if backbone.modality is Modality.FRAME else 1
    for found, m in zip(both, media, strict=True):
        assert found.vectors.shape == (rows, backbone.dim)
        assert found.vectors.dtype == np.float32
        assert found.start_s[0] == m.segment.start_s
        assert found.end_s[-1] == m.segment.end_s
    np.testing.assert_array_equal(alone, again)
    first, second = (found.vectors for found in both)
    tolerance = 0.02 if backbone.network == "i3d" else 1e-4  # bfloat16, where the CPU has it
    assert np.abs(second - alone).max() <= tolerance * np.abs(second).max()
    assert not np.allclose(first, second)


# --- added by hand


class Trap:
    """Pickles as a call that leaves a folder behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("name", ["resnet50", "r3d18", "resnet34_3d"])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("missing", "no tensor layer2.0.conv1.weight"),
        ("misshapen", "layer2.0.conv1.weight is"),
        ("left over", "1 tensors too many, such as layer9"),
        ("another", "resnet"),
        ("code", "UnpicklingError while reading"),
        ("cut", "while reading"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    uniform: Any, tmp_path: Path, name: str, damage: str, reason: str
) -> None:
    content = torch.load(uniform[name], weights_only=True)
    state = content["state_dict"] if name == "resnet34_3d" else content
    prefix = "module." if name == "resnet34_3d" else ""
    tensor = next(n for n in state if n.startswith(f"{prefix}layer2.0.conv1"))
    if damage == "missing":
        del state[tensor]
    elif damage == "misshapen":
        state[tensor] = state[tensor][:-1]
    elif damage == "left over":
        state[f"{prefix}layer9.weight"] = torch.zeros(2)
    elif damage == "another":
        other = "resnet34_3d" if name != "resnet34_3d" else "resnet50"
        content = torch.load(uniform[other], weights_only=True)
        reason = "no tensor" if name != "resnet34_3d" else "its arch is None, not 'resnet-34'"
    elif damage == "code":
        content["more"] = Trap(tmp_path / "trap")
    path = tmp_path / "got by hand.pth"
    torch.save(content, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    said = said_by(add, unpublished(BACKBONES[name]), [path])
    assert said.startswith(f"Nothing was added: {path} does not hold ")
    assert reason.replace("layer2.0.conv1.weight", tensor.removeprefix(prefix)) in said
    assert kept(tmp_path) == []
    assert not (tmp_path / "trap").exists()
    assert status(BACKBONES[name]) == "missing"


def test_another_depth_of_the_same_family_is_told_by_its_arch(uniform: Any, tmp_path: Path) -> None:
    content = torch.load(uniform["resnet34_3d"], weights_only=True) | {"arch": "resnet-18"}
    torch.save(content, tmp_path / "resnet-34-kinetics.pth")
    said = said_by(add, BACKBONES["resnet34_3d"], [tmp_path / "resnet-34-kinetics.pth"])
    assert "its arch is 'resnet-18', not 'resnet-34'" in said


def test_the_published_checksum_counts_before_the_tensors(uniform: Any, tmp_path: Path) -> None:
    said = said_by(add, BACKBONES["resnet50"], [uniform["resnet50"]])
    assert said.startswith(f"Nothing was added: {uniform['resnet50']} is not the file vidsim knows")
    assert "(SHA-256 " in said
    assert "instead of 0676ba61" in said
    assert "https://download.pytorch.org/models/resnet50-0676ba61.pth" in said
    assert kept(tmp_path) == []


def test_files_of_another_name_or_number(tmp_path: Path) -> None:
    said = said_by(add, BACKBONES["vggish"], [tmp_path / "vggish_model.ckpt"])
    assert "vggish_model.ckpt and vggish_pca_params.npz" in said
    said = said_by(add, BACKBONES["resnet50"], [tmp_path / "not there"])
    assert "cannot be copied" in said
    assert "vidsim models pull yamnet" in said_by(
        add, BACKBONES["yamnet"], [tmp_path / "a", tmp_path / "b"]
    )
    assert kept(tmp_path) == []


@pytest.mark.acceptance
def test_a_sound_network_is_tried_in_its_own_process(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("vggish_model.ckpt", "vggish_pca_params.npz")]
    for file in files:
        file.write_text("no weights")
    said = said_by(add, unpublished(BACKBONES["vggish"]), files)
    assert said.startswith(f"Nothing was added: {files[1]} does not hold VGGish's PCA (")
    assert kept(tmp_path) == []


def test_what_is_added_is_kept_and_later_damage_is_noticed(uniform: Any, tmp_path: Path) -> None:
    backbone, path = BACKBONES["resnet34_3d"], uniform["resnet34_3d"]
    assert digests(backbone) == ""
    folder = add(backbone, [path])
    taken = ["SHA256SUMS", "resnet-34-kinetics.pth", "resnet34_3d.first-taken"]
    assert kept(tmp_path) == taken
    assert status(backbone) == "pulled"
    assert locate(backbone) == ensure(backbone) == folder
    assert digests(backbone) == hashlib.sha256(path.read_bytes()).hexdigest()
    subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, check=True, capture_output=True)
    with (folder / "resnet-34-kinetics.pth").open("r+b") as file:
        file.seek(1000)
        file.write(b"!")
    assert status(backbone) == "damaged"
    assert "fails its SHA-256" in said_by(locate, backbone)
    add(backbone, [path])
    assert status(backbone) == "pulled"


def test_another_file_than_the_first_is_refused_where_none_is_pinned(
    made: Any, uniform: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    backbone, first = BACKBONES["resnet34_3d"], uniform["resnet34_3d"]
    folder = add(backbone, [first])
    assert "resnet-34-kinetics.pth is not pinned" in caplog.text
    shutil.rmtree(folder)
    said = said_by(add, backbone, [made["resnet34_3d"][1]])
    assert "is another file than the one that was taken first" in said
    record = folder.parent / "resnet34_3d.first-taken"
    assert f"delete {record}" in said
    assert status(backbone) == "missing"
    caplog.clear()
    add(backbone, [first])
    assert caplog.text == "", "it is known by now"
    record.unlink()  # as of an earlier version, which noted it in the folder alone
    assert "taken first" in said_by(add, backbone, [made["resnet34_3d"][1]])
    (folder / "SHA256SUMS").unlink()
    add(backbone, [made["resnet34_3d"][1]])
    assert status(backbone) == "pulled"


def test_another_file_from_an_address_is_refused_where_none_is_pinned(
    publisher: Any, uniform: Any, made: Any, tmp_path: Path
) -> None:
    folder = ensure(publisher(uniform["r3d18"].read_bytes()))
    shutil.rmtree(folder)
    said = said_by(ensure, publisher(made["r3d18"][1].read_bytes()))
    assert "is another file than the one that was taken first" in said
    assert "first-taken" in said


def test_a_file_put_there_past_models_add_is_not_trusted(uniform: Any, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "weights" / "resnet34_3d"
    folder.mkdir(parents=True)
    (folder / "resnet-34-kinetics.pth").write_bytes(uniform["resnet34_3d"].read_bytes())
    assert status(BACKBONES["resnet34_3d"]) == "missing"


def run(*arguments: object) -> int:
    sys.argv = ["vidsim", *map(str, arguments)]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_models_add_on_the_command_line(
    uniform: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    assert run("models", "add", "resnet34_3d", uniform["resnet50"]) == 1
    told = capsys.readouterr()
    given = uniform["resnet50"]
    assert told.err.startswith(f"Error: Nothing was added: {given} does not hold")
    assert not told.out
    assert run("models", "add", "resnet34_3d", uniform["resnet34_3d"]) == 0
    assert "Here: resnet34_3d" in capsys.readouterr().err
    assert run("models", "path", "resnet34_3d") == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "cache" / "weights" / "resnet34_3d")


# --- fetched from their publishers


class Publisher(BaseHTTPRequestHandler):
    content = b""
    cut = False

    def do_GET(self) -> None:
        if not self.path.endswith(".pth"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: 1000 if self.cut else None])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A publisher on this machine, and how it publishes R3D-18."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Server", (Publisher,), {}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"

    def publish(content: bytes, name: str = "r3d_18.pth", checksum: str = "") -> Backbone:
        server.RequestHandlerClass.content = content
        weights = BACKBONES["r3d18"].weights
        assert isinstance(weights, PublishedFiles)
        file = replace(weights.files[0], url=f"{address}/{name}", checksum=checksum)
        return replace(BACKBONES["r3d18"], weights=replace(weights, files=(file,)))

    publish.handler = server.RequestHandlerClass  # type: ignore[attr-defined]
    yield publish
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_a_file_is_pulled_from_its_address_and_checked(
    publisher: Any, tmp_path: Path, algorithm: str
) -> None:
    content = b"weights" * 100_000
    digits = hashlib.new(algorithm, content).hexdigest()
    checksum = f"{algorithm}:{digits[:8] if algorithm == 'sha256' else digits}"
    told: list[tuple[int, int | None]] = []
    backbone = publisher(content, checksum=checksum)
    folder = ensure(backbone, lambda *amount: told.append(amount))
    assert (folder / "r3d_18-b3b3357e.pth").read_bytes() == content
    assert told[-1] == (len(content), len(content))
    assert digests(backbone) == hashlib.sha256(content).hexdigest()
    publisher(b"something else")
    assert ensure(backbone) == folder, "what is here is not asked for again"


def test_nothing_is_kept_of_what_is_not_the_published_file(publisher: Any, tmp_path: Path) -> None:
    said = said_by(ensure, publisher(b"weights", checksum="sha256:b3b3357e"))
    assert said.startswith("r3d_18-b3b3357e.pth is not the file vidsim knows (SHA-256 ")
    assert "vidsim models add r3d18 r3d_18-b3b3357e.pth" in said
    said = said_by(ensure, publisher(b"weights", name="gone"))
    assert "/gone is out of reach (" in said
    assert "vidsim models add r3d18" in said
    said = said_by(ensure, publisher(b"weights"))  # no checksum, and no network either
    assert said.startswith("r3d_18-b3b3357e.pth does not hold R3D-18 (")
    assert ", so nothing was kept; try again, or get r3d_18-b3b3357e.pth from " in said
    backbone = publisher(b"weights" * 10_000)
    publisher.handler.cut = True
    assert "broke off after 1000 of 70000 bytes" in said_by(ensure, backbone)
    assert kept(tmp_path) == []


def test_a_hub_out_of_reach_is_one_sentence_and_breaks_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    assert run("models", "pull", "resnet50") == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "https://download.pytorch.org/models/resnet50-0676ba61.pth is out of reach" in line
    assert "vidsim models add resnet50 resnet50-0676ba61.pth" in line
    assert run("models", "pull", "resnet34_3d") == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "github.com/kenshohara/3D-ResNets-PyTorch" in line
    assert "vidsim models add resnet34_3d resnet-34-kinetics.pth" in line
    assert run("models", "list") == 0
    assert "resnet34_3d" in capsys.readouterr().out


# --- any network of timm


@pytest.mark.acceptance
def test_a_timm_network_goes_the_whole_way(
    made: Any, tmp_path: Path, place: Place, make_clip: Any, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    twin, path = made[f"timm_{SMALL}"]
    videos = tmp_path / "lib"
    videos.mkdir()
    for n in range(2):
        grey = np.full((48, 64, 3), 90 * n + 30, np.uint8)
        make_clip(f"lib/{n}.mkv", times=[i / 10 for i in range(20)], images=[grey])
    chosen = ("-m", "frame", "--model", f"frame=timm:{SMALL}", "--device", "cpu")
    assert run("ingest", videos, *chosen) == 1
    (line,) = [t for t in capsys.readouterr().err.splitlines() if t.startswith("Error")]
    assert "huggingface.co/timm/resnet10t.c3_in1k/resolve/main/model.safetensors is out of" in line
    assert f"vidsim models add timm_{SMALL} model.safetensors" in line
    assert run("models", "add", f"timm:{SMALL}", path) == 0
    assert run("ingest", videos, *chosen) == 0
    (file,) = export(place.home, tmp_path / "out", [], Silent())
    with h5py.File(file) as stored:
        assert stored.attrs["backbone"] == f"timm_{SMALL}"
        assert stored.attrs["weights_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        vector = stored["vectors"][0]
    config = twin.pretrained_cfg
    mean, std = (torch.tensor(config[key])[:, None, None] for key in ("mean", "std"))
    picture = ((30 / 255 - mean) / std).expand(1, 3, *config["input_size"][1:])
    with torch.inference_mode():
        expected = twin.forward_head(twin.forward_features(picture), pre_logits=True)[0]
    assert np.corrcoef(vector, expected)[0, 1] > 0.99
    # Another process: neither timm nor torch is needed to search, to index or to export.
    code = (
        "import sys\n"
        "class Never:\n"
        "    def find_spec(self, name, *_):\n"
        "        assert name not in ('timm', 'torch'), name\n"
        "sys.meta_path.insert(0, Never())\n"
        "from vidsim.cli import main\n"
        "sys.argv = ['vidsim', *sys.argv[1:]]\n"
        "main()\n"
    )
    for command in (
        ("query", "lib/0.mkv", "--model", f"frame=timm:{SMALL}"),
        ("reindex",),
        ("export", str(tmp_path / "again")),
        ("query", "lib/1.mkv"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "lib/0.mkv" in done.stdout


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "mobilenetv3_small_050", "resnet10t.c3_in1k"]
)
@torch.inference_mode()
def test_a_timm_network_is_described_by_its_own_configuration(tmp_path: Path, name: str) -> None:
    backbone = register_timm(tmp_path / "home", f"timm:{name}")
    network = timm.create_model(name, num_classes=0).eval()
    config = timm.data.resolve_model_data_config(network)
    assert backbone.frames is not None
    assert backbone.pixels is not None
    size = backbone.frames.size
    assert (3, size, size) == config["input_size"]
    assert backbone.frames.resize == int(size / config["crop_pct"])
    np.testing.assert_allclose(np.array(backbone.pixels.mean) / 255, config["mean"])
    np.testing.assert_allclose(np.array(backbone.pixels.std) / 255, config["std"])
    assert network(torch.zeros(1, 3, size, size)).shape == (1, backbone.dim)
    assert backbone.name.replace("_", "").isalnum()


def test_what_timms_hub_gives_is_kept_only_if_it_fits(
    made: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    backbone = register_timm(tmp_path / "home", f"timm:{SMALL}")
    published_at = "vidsim.ingest.models.networks.timm_network.published_at"
    monkeypatch.setattr(published_at, lambda _: (made["resnet50"][1], ""))
    said = said_by(ensure, backbone)
    assert said.startswith(f"model.safetensors does not hold timm's {SMALL} (")
    assert f"run 'vidsim models add timm_{SMALL} model.safetensors'" in said
    assert kept(tmp_path) == []
    assert status(backbone) == "missing"
    monkeypatch.setattr(published_at, lambda _: (made[f"timm_{SMALL}"][1], ""))
    ensure(backbone)
    assert status(backbone) == "pulled"


@pytest.mark.parametrize("name", ["hf-hub:timm/resnet10t.c3_in1k", "local-dir:/tmp/model"])
def test_a_timm_network_of_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=f"'{name}' is no name of timm's own"):
        register_timm(tmp_path / "home", f"timm:{name}")
    assert not (tmp_path / "home").exists()


def test_a_timm_network_is_written_down_once_its_weights_are_here(
    made: Any, uniform: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(sys, "argv", sys.argv)
    described = tmp_path / "home" / "backbones" / f"timm_{SMALL}.json"
    assert run("models", "add", f"timm:{SMALL}", uniform["resnet50"]) == 1
    assert run("models", "pull", f"timm:{SMALL}") == 1  # no hub is in reach
    assert not described.exists()
    assert run("models", "add", f"timm:{SMALL}", made[f"timm_{SMALL}"][1]) == 0
    assert described.exists()


def test_what_timm_does_not_have_or_a_file_of_another_network(uniform: Any, tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(ModelError, match="no network called 'resnet10x'"):
        register_timm(home, "timm:resnet10x")
    assert not home.exists()
    backbone = register_timm(home, f"timm:{SMALL}")
    said = said_by(add, backbone, [uniform["resnet50"]])
    assert f"does not hold timm's {SMALL}" in said
    torch.save({"weight": Trap(tmp_path / "trap")}, tmp_path / "trap.pth")
    said_by(add, backbone, [tmp_path / "trap.pth"])
    assert not (tmp_path / "trap").exists()
    assert kept(tmp_path) == []
    (home / "backbones" / f"timm_{SMALL}.json").write_text("{}")
    with pytest.raises(StoreError, match="is damaged; delete it"):
        register_timm(home, f"timm:{SMALL}")


# --- the preset


@pytest.mark.acceptance
def test_a_library_keeps_the_hash_of_the_weights_it_was_made_with(
    uniform: Any, tmp_path: Path, place: Place, make_clip: Any
) -> None:
    make_clip("lib.mkv", times=[i / 10 for i in range(20)])
    backbone = BACKBONES["resnet34_3d"]
    folder = add(backbone, [uniform["resnet34_3d"]])
    options = EmbedOptions({Modality.MOTION: backbone}, device="cpu", workers=1)
    report = ingest(tmp_path / "lib.mkv", place, options, Silent(), library="lib")
    assert report.rows == {"motion": 1}
    noted = digests(backbone)
    for file in folder.iterdir():
        file.unlink()
    (exported,) = export(place.home, tmp_path / "out", [], Silent())
    with h5py.File(exported) as stored:
        assert stored.attrs["weights_sha256"] == noted
        assert stored["vectors"].shape == (1, 512)
