"""I3D: the motion network, an Inception-v1 inflated to three dimensions.

Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics
Dataset" (2017), figure 3; the widths of the Inception modules are those of Szegedy et al.,
"Going Deeper with Convolutions" (2015), table 1. Batch normalisation, which I3D trains
without scale, is folded into the convolutions when weights are loaded: the network only
runs inference.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ....schemas.errors import WeightsError
from ...system.unreadable import unread_weights
from .array_pickle import ArrayUnpickler
from .padding import same_padding
from .pooling import Size3d, max_pool_by_axis

CLASSES = 400
"""Classes of Kinetics-400."""

BN_EPSILON = 1e-3
"""Batch normalisation's epsilon, the default of Sonnet, which trained the weights."""

_MODULES = {
    # name: (1x1, 1x1 before 3x3x3, 3x3x3, 1x1 before 3x3x3, 3x3x3, 1x1 after the pool);
    # the second 3x3x3 stands for Inception's 5x5 (I3D paper, figure 3)
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}


class Conv(nn.Conv3d):
    """A convolution with SAME padding and a bias (the folded normalisation), then ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1) -> None:
        """Build with unset weights and bias."""
        # SAME is symmetric for odd kernels at stride 1; only there may torch do the padding.
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding)

    def reset_parameters(self) -> None:
        """Leave them unset: random ones take a tenth of a second, and are replaced."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, T, H, W) -> (N, outputs, ...), each axis divided by stride, rounded up."""
        if self.stride[0] > 1:
            x = _pad_same(x, (self.kernel_size[0],) * 3, (self.stride[0],) * 3)
        return functional.relu(super().forward(x), inplace=not torch.is_grad_enabled())


class Pool(nn.Module):
    """A max pool with SAME padding.

    Attributes:
        by_axis: Whether to pool one axis at a time, which is faster on a CPU.
    """

    def __init__(self, kernel: Size3d, stride: Size3d) -> None:
        """Set the sizes."""
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.by_axis = False

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) of non-negative values -> each axis divided by its stride."""
        if self.by_axis:
            return max_pool_by_axis(x, self.kernel, self.stride)
        if self.stride == (1, 1, 1):  # symmetric for odd kernels: torch pads with minus infinity
            return functional.max_pool3d(x, self.kernel, 1, tuple(k // 2 for k in self.kernel))
        # The output of a ReLU is never below the padding zeros, so these give the same maxima as
        # TensorFlow's minus infinity.
        return functional.max_pool3d(
            _pad_same(x, self.kernel, self.stride), self.kernel, self.stride
        )


class Inception(nn.Module):
    """Four branches over the same input, concatenated along channels."""

    def __init__(self, inputs: int, widths: tuple[int, int, int, int, int, int]) -> None:
        """Build with unset weights, for `widths` as in `_MODULES`."""
        super().__init__()
        a, b_in, b, c_in, c, d = widths
        self.branch_0 = Conv(inputs, a)
        self.branch_1 = nn.Sequential(Conv(inputs, b_in), Conv(b_in, b, kernel=3))
        self.branch_2 = nn.Sequential(Conv(inputs, c_in), Conv(c_in, c, kernel=3))
        self.branch_3 = nn.Sequential(Pool((3, 3, 3), (1, 1, 1)), Conv(inputs, d))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, T, H, W) -> (N, a + b + c + d, T, H, W)."""
        branches = (self.branch_0, self.branch_1, self.branch_2, self.branch_3)
        return torch.cat([branch(x) for branch in branches], dim=1)


class I3D(nn.Module):
    """I3D on RGB for inference: convolutions with folded normalisation."""

    def __init__(self) -> None:
        """Build the layers; `load_i3d` fills them."""
        super().__init__()
        layers: dict[str, nn.Module] = {
            "Conv3d_1a_7x7": Conv(3, 64, kernel=7, stride=2),
            "MaxPool3d_2a_3x3": Pool((1, 3, 3), (1, 2, 2)),
            "Conv3d_2b_1x1": Conv(64, 64),
            "Conv3d_2c_3x3": Conv(64, 192, kernel=3),
            "MaxPool3d_3a_3x3": Pool((1, 3, 3), (1, 2, 2)),
        }
        inputs = 192
        for name, widths in _MODULES.items():
            if name == "Mixed_4b":
                layers["MaxPool3d_4a_3x3"] = Pool((3, 3, 3), (2, 2, 2))
            elif name == "Mixed_5b":
                layers["MaxPool3d_5a_2x2"] = Pool((2, 2, 2), (2, 2, 2))
            layers[name] = Inception(inputs, widths)
            inputs = widths[0] + widths[2] + widths[4] + widths[5]
        self.layers = nn.Sequential()
        for name, layer in layers.items():
            self.layers.add_module(name, layer)
        self.classifier = nn.Linear(inputs, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Compute pooled features of clips.

        Args:
            x: (N, 3, T, 224, 224) float RGB in [-1, 1], i.e. ``pixel / 127.5 - 1``; T frames
                at 25 per second.

        Returns:
            (N, 1024) float32, non-negative: the paper's 2x7x7 average pool at stride 1, then
            the mean over the time steps left. The paper takes that mean after its linear
            1x1x1 classifier, which gives the same logits.
        """
        return mean_features(self.layers(x))

    def pool_by_axis(self) -> None:
        """Make the max pools work one axis at a time, which is faster on a CPU."""
        for module in self.modules():
            if isinstance(module, Pool):
                module.by_axis = True

    def classify(self, features: Tensor) -> Tensor:
        """Return Kinetics-400 logits (N, 400) of features (N, 1024)."""
        logits: Tensor = self.classifier(features)
        return logits


def _pad_same(x: Tensor, kernel: Size3d, stride: Size3d) -> Tensor:
    """Pad time, height and width of (N, C, T, H, W) with zeros as TensorFlow's SAME does."""
    before_after: list[int] = []
    for axis in (2, 1, 0):  # functional.pad counts axes from the last one
        before_after += same_padding(x.shape[2 + axis], kernel[axis], stride[axis])
    return functional.pad(x, before_after) if any(before_after) else x


def mean_features(x: Tensor) -> Tensor:
    """Pool the last module's output, (N, C, T, H, W) of any float, to features (N, C) float32."""
    # Under autocast x is bfloat16, whose 8 bits would round a mean of so many cells (and the
    # CPU has no average pool for it). 7x7 is the whole of a 224-pixel picture.
    steps = x.float().mean((3, 4))
    if steps.shape[2] > 1:  # eight frames or fewer leave one time step, nothing to pair
        steps = (steps[:, :, 1:] + steps[:, :, :-1]) / 2
    return steps.mean(2)


def load_i3d(path: Path) -> I3D:
    """Read the published weights, a pickle of nested dictionaries of numpy arrays.

    Args:
        path: ``i3d-kinetics-400.ckpt``: ``params`` (kernels DHWIO, biases) and
            ``batch_stats`` (means and variances, (1, 1, 1, 1, C)), all float32.

    Returns:
        The network in eval mode, on the CPU, without gradients.

    Raises:
        WeightsError: The file cannot be read, asks to run code, or an array is missing, left
            over or misshapen.
    """
    try:
        tree = ArrayUnpickler(io.BytesIO(path.read_bytes())).load()
        left = dict(_flatten(tree, ""))
    except pickle.UnpicklingError as error:
        _refuse(path, str(error), error)
    except Exception as error:  # a damaged pickle may raise almost anything
        _refuse(path, f"{type(error).__name__} while reading", error)

    def take(name: str, shape: tuple[int, ...]) -> Tensor:
        array = left.pop(name, None)
        if not isinstance(array, np.ndarray) or array.dtype != np.float32:
            _refuse(path, f"no float32 array {name}")
        if array.shape != shape:
            _refuse(path, f"{name} is {array.shape}, not {shape}")
        return torch.from_numpy(array.astype(np.float64))

    network = I3D().requires_grad_(False).eval()
    for conv, name in _published_names(network):
        assert conv.bias is not None
        outputs, inputs = conv.weight.shape[:2]
        kernel = take(f"params/{name}/Conv_0/kernel", (*conv.kernel_size, inputs, outputs))
        beta = take(f"params/{name}/BatchNorm_0/bias", (outputs,))
        mean = take(f"batch_stats/{name}/BatchNorm_0/mean", (1, 1, 1, 1, outputs)).flatten()
        variance = take(f"batch_stats/{name}/BatchNorm_0/var", (1, 1, 1, 1, outputs)).flatten()
        scale = 1 / torch.sqrt(variance + BN_EPSILON)
        conv.weight.copy_((kernel * scale).permute(4, 3, 0, 1, 2))
        conv.bias.copy_(beta - mean * scale)
    logits = "params/Logits/Conv3d_0c_1x1/Conv_0"
    features = network.classifier.in_features
    kernel = take(f"{logits}/kernel", (1, 1, 1, features, CLASSES))
    network.classifier.weight.copy_(kernel[0, 0, 0].T)
    network.classifier.bias.copy_(take(f"{logits}/bias", (CLASSES,)))
    if left:
        _refuse(path, f"{len(left)} arrays too many, such as {next(iter(left))}")
    return network


def _flatten(tree: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested dictionaries, their names joined by slashes."""
    if not isinstance(tree, dict):
        yield prefix, tree
        return
    for name, value in tree.items():
        yield from _flatten(value, f"{prefix}/{name}" if prefix else str(name))


def _published_names(network: I3D) -> Iterator[tuple[Conv, str]]:
    """Yield every normalised convolution with its name in the checkpoint."""
    for name, layer in network.layers.named_children():
        if isinstance(layer, Conv):
            yield layer, name
        elif isinstance(layer, Inception):
            yield layer.branch_0, f"{name}/Branch_0/Conv3d_0a_1x1"
            for i, branch in ((1, layer.branch_1), (2, layer.branch_2)):
                for conv, part in zip(branch, ("Conv3d_0a_1x1", "Conv3d_0b_3x3"), strict=True):
                    assert isinstance(conv, Conv)
                    yield conv, f"{name}/Branch_{i}/{part}"
            last = layer.branch_3[1]
            assert isinstance(last, Conv)
            yield last, f"{name}/Branch_3/Conv3d_0b_1x1"


def _refuse(path: Path, why: str, cause: Exception | None = None) -> NoReturn:
    if said := unread_weights(path, cause):
        raise WeightsError(said) from cause
    raise WeightsError(
        f"{path} does not hold I3D ({why}); "
        "delete it and run 'vidsim models pull' to fetch it again."
    ) from cause
