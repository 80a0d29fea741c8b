"""The torch networks against independent references: other implementations, formulas, labels."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_image

from vidsim.ingest.models.networks import efficientnet_lite, i3d
from vidsim.ingest.models.networks.padding import same_padding
from vidsim.ingest.models.weights import ensure
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.errors import WeightsError
from vidsim.schemas.modality import SHORT_SIDE

PALACE, DAISY = 698, 985
"""ImageNet-1k classes in ILSVRC's order, by WordNet id."""

ARCHERY, FILLING_EYEBROWS, MASSAGING_HEAD, PUNCHING_PERSON = 5, 126, 196, 259
"""Kinetics-400 classes, counted from 0 in the alphabetical list that was published with it."""


def weights_file(name: str) -> Path:
    """The one weight file of a backbone; fixture `weights` has pulled it."""
    backbone = BACKBONES[name]
    assert backbone.weights is not None
    (weight,) = backbone.weights.files
    return ensure(backbone) / weight.name


@pytest.fixture(scope="module")
def lite0(weights: Path) -> efficientnet_lite.EfficientNetLite0:
    return efficientnet_lite.load_efficientnet_lite0(weights_file("efficientnet_lite0"))


@pytest.fixture(scope="module")
def motion(weights: Path) -> i3d.I3D:
    return i3d.load_i3d(weights_file("i3d"))


def centre_crop(picture: np.ndarray, size: int = 224) -> np.ndarray:
    """(H, W, 3) uint8 -> (size, size, 3) float32 in [-1, 1], the short side first resized."""
    image = Image.fromarray(picture)
    scale = SHORT_SIDE / min(image.size)
    size_kept = round(image.width * scale), round(image.height * scale)
    image = image.resize(size_kept, Image.Resampling.BILINEAR)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.float32)
    return pixels / 127.5 - 1


def middle_frames(path: Path, count: int = 32) -> torch.Tensor:
    """(1, 3, count, 224, 224) float32 in [-1, 1]: the middle frames of a 25 fps clip."""
    with av.open(str(path)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    start = (len(frames) - count) // 2
    clip = np.stack([centre_crop(frame) for frame in frames[start : start + count]])
    return torch.from_numpy(clip).permute(3, 0, 1, 2)[None]


def waves(frames: int) -> torch.Tensor:
    """(1, 3, frames, 224, 224): a moving grating that any program can make again."""
    t, y, x = np.meshgrid(np.arange(frames), np.arange(224), np.arange(224), indexing="ij")
    phase = 0.05 * x + 0.03 * y + 0.4 * t
    clip = np.stack([np.sin(phase + channel) for channel in range(3)])
    return torch.from_numpy(clip.astype(np.float32))[None]


# EfficientNet-Lite0


def timm_lite0() -> Any:
    """timm's own implementation; its tensors come in the order of the published file."""
    reference = timm.create_model("tf_efficientnet_lite0").eval()
    published = torch.load(weights_file("efficientnet_lite0"), weights_only=True)
    renamed = dict(zip(reference.state_dict(), published.values(), strict=True))
    reference.load_state_dict(renamed, strict=True)
    return reference


@torch.inference_mode()
def test_lite0_agrees_with_timm(lite0: efficientnet_lite.EfficientNetLite0) -> None:
    reference = timm_lite0()
    x = torch.rand(4, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    features = lite0(x)
    expected = reference.forward_head(reference.forward_features(x), pre_logits=True)
    assert features.shape == (4, BACKBONES["efficientnet_lite0"].dim)
    assert features.dtype == torch.float32
    assert (features - expected).abs().max() < 1e-4
    assert (lite0.classify(features) - reference(x)).abs().max() < 1e-4


def test_lite0_has_as_many_parameters_as_timm_less_the_folded_scales() -> None:
    reference = timm.create_model("tf_efficientnet_lite0")
    folded = sum(
        m.weight.numel() for m in reference.modules() if isinstance(m, torch.nn.BatchNorm2d)
    )
    own = sum(p.numel() for p in efficientnet_lite.EfficientNetLite0().parameters())
    assert own == sum(p.numel() for p in reference.parameters()) - folded


@pytest.mark.parametrize(("name", "label"), [("china.jpg", PALACE), ("flower.jpg", DAISY)])
@torch.inference_mode()
def test_lite0_sees_what_is_in_the_picture(
    lite0: efficientnet_lite.EfficientNetLite0, name: str, label: int
) -> None:
    picture = torch.from_numpy(centre_crop(load_sample_image(name))).permute(2, 0, 1)[None]
    assert lite0.classify(lite0(picture)).argmax() == label


@torch.inference_mode()
def test_lite0_in_bfloat16_rounds_taps_but_not_their_sums(weights: Path) -> None:
    exact, reduced = (
        efficientnet_lite.load_efficientnet_lite0(weights_file("efficientnet_lite0"))
        for _ in range(2)
    )
    reduced.to_bfloat16()
    rounded: Any
    original: Any
    for original, rounded in zip(exact.blocks, reduced.blocks, strict=True):
        taps = original.depthwise.weight.flatten(1)
        found = rounded.depthwise.weight.float().flatten(1)
        if rounded.depthwise.weight.dtype == torch.float32:
            assert torch.equal(found, taps)
            continue
        plain = taps.bfloat16().float()
        assert (found - taps).abs().max() <= 2**-7 * taps.abs().max()
        error, plain_error = ((w.sum(1) - taps.sum(1)).abs().mean() for w in (found, plain))
        assert error < plain_error / 4


@pytest.mark.parametrize("damage", ["missing", "misshapen", "left over", "no tensors", "cut"])
def test_lite0_refuses_weights_that_do_not_fit(weights: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "weights.pth"
    state: Any = dict(torch.load(weights_file("efficientnet_lite0"), weights_only=True))
    if damage == "missing":
        del state["_blocks.3._bn1.bias"]
    elif damage == "misshapen":
        state["_conv_head.weight"] = state["_conv_head.weight"][:-1]
    elif damage == "left over":
        state["_blocks.16._bn1.bias"] = torch.zeros(3)
    elif damage == "no tensors":
        state = [1, 2]
    torch.save(state, path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="vidsim models pull"):
        efficientnet_lite.load_efficientnet_lite0(path)


# TensorFlow's SAME padding


@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_padding_yields_one_output_a_stride(kernel: int, stride: int) -> None:
    for size in range(1, 40):
        before, after = same_padding(size, kernel, stride)
        assert 0 <= before <= after <= before + 1
        windows = len(range(0, before + size + after - kernel + 1, stride))
        assert windows == len(range(0, size, stride))
        # No smaller padding would do, unless there is none.
        if before + after:
            assert len(range(0, before + size + after - kernel, stride)) < windows


def padded(x: np.ndarray, kernel: tuple[int, ...], stride: tuple[int, ...], fill: float) -> Any:
    """Windows of (T, H, W) padded as TensorFlow's documentation of SAME says.

    There the total along an axis is ``kernel - stride`` where the stride divides the size,
    else ``kernel - size % stride``, never negative, and the smaller half goes before.
    """
    pads = []
    for size, k, s in zip(x.shape, kernel, stride, strict=True):
        total = max(k - (size % s or s), 0)
        pads.append((total // 2, total - total // 2))
    wide = np.pad(x, pads, constant_values=fill)
    windows = np.lib.stride_tricks.sliding_window_view(wide, kernel)
    return windows[:: stride[0], :: stride[1], :: stride[2]]


@pytest.mark.parametrize("shape", [(8, 16, 16), (9, 15, 14), (1, 7, 8)])
@torch.inference_mode()
def test_i3d_stem_is_the_sum_over_padded_windows(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    stem: Any = i3d.I3D().layers[0]
    stem.weight.normal_(0, 0.05)
    stem.bias.normal_()
    x = torch.randn(1, 3, *shape)
    kernel, bias = stem.weight.numpy(), stem.bias.numpy()
    sums = sum(
        np.einsum(
            "thwabc,oabc->othw", padded(x[0, c].numpy(), (7, 7, 7), (2, 2, 2), 0), kernel[:, c]
        )
        for c in range(3)
    )
    expected = np.maximum(sums + bias[:, None, None, None], 0)
    np.testing.assert_allclose(stem(x)[0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(5, 7, 8), (8, 6, 6), (1, 1, 2)])
@pytest.mark.parametrize("by_axis", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride"),
    [
        ((1, 3, 3), (1, 2, 2)),
        ((3, 3, 3), (2, 2, 2)),
        ((2, 2, 2), (2, 2, 2)),
        ((3, 3, 3), (1, 1, 1)),
    ],
)
def test_pools_as_if_padded_with_minus_infinity(
    shape: tuple[int, int, int],
    by_axis: bool,
    kernel: tuple[int, int, int],
    stride: tuple[int, int, int],
) -> None:
    # Zeros would do as padding after a ReLU; pools by axis take negative values as well.
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)) - int(by_axis)
    expected = padded(x.numpy(), kernel, stride, -np.inf).max((3, 4, 5))
    pool = i3d.Pool(kernel, stride)
    pool.by_axis = by_axis
    kept = x.clone()
    np.testing.assert_array_equal(pool(x[None, None])[0, 0].numpy(), expected)
    assert torch.equal(x, kept)


def test_integers_are_pooled_as_floats_are() -> None:
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7, 8), np.uint8))
    pool = i3d.Pool((3, 3, 3), (2, 2, 2))
    expected = pool(x.float())
    pool.by_axis = True
    assert torch.equal(pool(x), expected.to(torch.uint8))


def test_i3d_is_the_same_whichever_way_it_pools(motion: i3d.I3D) -> None:
    other = i3d.I3D().eval()
    other.load_state_dict(motion.state_dict())
    other.pool_by_axis()
    with torch.inference_mode():
        x = waves(9)[..., :64, :64]
        np.testing.assert_allclose(other(x).numpy(), motion(x).numpy(), atol=1e-5)


# I3D


def test_i3d_has_the_papers_parameters() -> None:
    network = i3d.I3D()
    # Table 1 of the paper says 12 million for one stream; the classifier is 1024 x 400 + 400.
    assert round(sum(p.numel() for p in network.layers.parameters()) / 1e6) == 12
    assert sum(p.numel() for p in network.classifier.parameters()) == 410_000


@pytest.mark.acceptance
@torch.inference_mode()
def test_i3d_agrees_with_the_jax_implementation(motion: i3d.I3D) -> None:
    # Every 40th logit of the JAX/Flax port that the weights were published with, computed
    # once on `waves(17)` (JAX 0.10, CPU). 17 frames make every SAME padding in time
    # asymmetric somewhere and leave three time steps, so that the last pool matters too.
    expected = [
        4.8051,
        2.1048,
        -1.9827,
        3.3665,
        0.3825,
        -4.9125,
        -0.3153,
        -1.1068,
        -1.8093,
        -3.3067,
    ]
    features = motion(waves(17))
    assert features.shape == (1, BACKBONES["i3d"].dim)
    logits = motion.classify(features)[0]
    np.testing.assert_allclose(logits[::40].numpy(), expected, atol=2e-4)
    assert logits.topk(2).indices.tolist() == [374, 327]


@pytest.mark.parametrize("frames", [1, 8, 9, 16])
@torch.inference_mode()
def test_i3d_takes_any_number_of_frames(motion: i3d.I3D, frames: int) -> None:
    features = motion(waves(frames)[..., :64, :64])
    assert features.shape == (1, BACKBONES["i3d"].dim)
    assert features.isfinite().all()


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("clip", "label"),
    [
        ("Archery/v_Archery_g01_c03.avi", ARCHERY),
        ("ApplyEyeMakeup/v_ApplyEyeMakeup_g03_c05.avi", FILLING_EYEBROWS),
        ("HeadMassage/v_HeadMassage_g01_c01.avi", MASSAGING_HEAD),
        ("Punch/v_Punch_g01_c01.avi", PUNCHING_PERSON),
    ],
)
@torch.inference_mode()
def test_i3d_sees_what_happens(motion: i3d.I3D, shared_data: Path, clip: str, label: int) -> None:
    features = motion(middle_frames(shared_data / "ucf101_mini" / clip))
    assert motion.classify(features).argmax() == label


@torch.inference_mode()
def test_i3d_in_bfloat16_stays_close(motion: i3d.I3D) -> None:
    # Few and small pictures: a CPU without bfloat16 of its own emulates it a hundred times slower.
    x = waves(8)[..., :32, :32].contiguous(memory_format=torch.channels_last_3d)
    with torch.autocast("cpu", torch.bfloat16):
        half = motion(x)
    assert half.dtype == torch.float32
    assert torch.cosine_similarity(half, motion(x)).min() > 0.999


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_i3d_refuses_a_pickle_that_runs_code(tmp_path: Path, protocol: int) -> None:
    trap = tmp_path / "trap"
    path = tmp_path / "i3d.ckpt"
    for call in (
        Call(os.mkdir, str(trap)),
        Call(eval, f"__import__('os').mkdir({str(trap)!r})"),
        Call(np.save, str(trap), 1),
    ):
        path.write_bytes(pickle.dumps({"params": call}, protocol))
        pickle.loads(path.read_bytes())  # an ordinary reader does fall into it
        made = trap if trap.exists() else trap.with_suffix(".npy")
        made.rmdir() if made.is_dir() else made.unlink()
        with pytest.raises(WeightsError, match=r"asks for .*vidsim models pull"):
            i3d.load_i3d(path)
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "damage", ["missing", "misshapen", "left over", "no arrays", "cut", "gone"]
)
def test_i3d_refuses_weights_that_do_not_fit(weights: Path, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "i3d.ckpt"
    tree: Any = pickle.loads(weights_file("i3d").read_bytes())
    stem = tree["params"]["Conv3d_1a_7x7"]
    if damage == "missing":
        del stem["BatchNorm_0"]
    elif damage == "misshapen":
        stem["Conv_0"]["kernel"] = stem["Conv_0"]["kernel"][:-1]
    elif damage == "left over":
        stem["Conv_0"]["bias"] = np.zeros(64, np.float32)
    elif damage == "no arrays":
        tree = ["params"]
    # Protocol 4, since from 5 on numpy pickles arrays through one function more.
    data = pickle.dumps(tree, 4)
    if damage != "gone":
        path.write_bytes(data[:1000] if damage == "cut" else data)
    with pytest.raises(WeightsError, match="vidsim models pull"):
        i3d.load_i3d(path)
