"""EfficientNet-Lite0: the image network of the frame modality.

The architecture is that of EfficientNet-B0 (Tan and Le, "EfficientNet: Rethinking Model
Scaling for Convolutional Neural Networks", 2019, table 1) as changed by the Lite model card
(Google, 2020): no squeeze-and-excitation, ReLU6 instead of swish, stem and head of fixed
width. Batch normalisation is folded into the convolutions when weights are loaded: the
network only runs inference, and one operation less per layer saves memory traffic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn
from torch.nn import functional

from ....schemas.backbones import BACKBONES
from ....schemas.errors import WeightsError
from ...system.unreadable import unread_weights
from .bfloat16 import rounded_to_bfloat16
from .padding import same_padding

FEATURES = BACKBONES["efficientnet_lite0"].dim
"""Channels of the head, the length of an embedding (paper, table 1)."""

CLASSES = 1000
"""Classes of ImageNet-1k (ILSVRC 2012)."""

BN_EPSILON = 1e-3
"""Batch normalisation's epsilon, TensorFlow's default that the weights were trained with."""

_STEM = 32
"""Channels of the stem (paper, table 1; Lite keeps it whatever the scale)."""

_STAGES = (
    # repeats, kernel, stride, expansion, channels (paper, table 1, stages 2 to 8)
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


_EARLY = 3
"""Early blocks, where a picture's activations take megabytes and the weights kilobytes; later it
is the reverse. The same three must compute in float32 (`EfficientNetLite0.to_bfloat16`)."""


_Edges = tuple[int, int, int, int]
"""Pixels left, right, above and below."""


class _Conv(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding and a bias (the folded normalisation)."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        # SAME is symmetric for odd kernels at stride 1; only there may torch do the padding.
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups)

    def reset_parameters(self) -> None:
        """Leave them unset: random ones take as long as reading the published ones."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""
        edges = self.edges(x)
        return super().forward(functional.pad(x, edges) if any(edges) else x)

    def edges(self, x: Tensor) -> _Edges:
        """Return what the picture `x` lacks at each side, where torch does not pad it."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        if stride == 1:
            return 0, 0, 0, 0
        height, width = (same_padding(size, kernel, stride) for size in x.shape[2:])
        return (*width, *height)

    def of_padded(self, x: Tensor) -> Tensor:
        """Convolve what has its `edges` already."""
        return super().forward(x)


class _Block(nn.Module):
    """An inverted bottleneck: expand 1x1, depthwise, project 1x1 without activation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = _Conv(inputs, wide) if expansion > 1 else None
        self.depthwise = _Conv(wide, wide, kernel, stride, groups=wide)
        self.project = _Conv(wide, outputs)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, ceil(H / stride), ceil(W / stride))."""
        x = x.to(self.project.weight.dtype)
        y = self.depthwise(x) if self.expand is None else self._expanded(self.expand, x)
        projected: Tensor = self.project(_relu6(y))
        return x + projected if self.residual else projected

    def _expanded(self, expand: _Conv, x: Tensor) -> Tensor:
        """Expand `x`, then convolve each channel."""
        edges = self.depthwise.edges(x)
        y: Tensor
        if not any(edges):
            y = self.depthwise(_relu6(expand(x)))
            return y
        # To pad the few channels of `x` copies a sixth of what it would take afterwards. What lies
        # beyond the picture is then the bias, not zero.
        y = _relu6(expand(functional.pad(x, edges)))
        left, right, top, bottom = edges
        for axis, before, after in ((3, left, right), (2, top, bottom)):
            y.narrow(axis, 0, before).zero_()
            y.narrow(axis, y.shape[axis] - after, after).zero_()
        return self.depthwise.of_padded(y)


def _relu6(x: Tensor) -> Tensor:
    return functional.relu6(x, inplace=not torch.is_grad_enabled())


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 for inference: convolutions with folded normalisation."""

    def __init__(self) -> None:
        """Build the layers with unset weights, which `load_efficientnet_lite0` fills."""
        super().__init__()
        self.stem = _Conv(3, _STEM, kernel=3, stride=2)
        blocks = []
        inputs = _STEM
        for repeats, kernel, stride, expansion, outputs in _STAGES:
            for i in range(repeats):
                blocks.append(_Block(inputs, outputs, kernel, 1 if i else stride, expansion))
                inputs = outputs
        self.blocks = nn.ModuleList(blocks)
        self.head = _Conv(inputs, FEATURES)
        self.classifier = nn.Linear(FEATURES, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Compute pooled features of pictures.

        Args:
            x: (N, 3, 224, 224) float RGB in [-1, 1], i.e. ``pixel / 127.5 - 1``.

        Returns:
            (N, 1280) float32, each value in [0, 6].
        """
        # One picture per thread, whose activations stay in the CPU cache; then all pictures with
        # one read of the weights. A third faster than either throughout.
        at_once = torch.get_num_threads() if x.device.type == "cpu" else len(x)
        x = torch.cat([self._early(part) for part in torch.split(x, max(1, at_once))])
        for block in self.blocks[_EARLY:]:
            x = block(x)
        x = _relu6(self.head(x.to(self.head.weight.dtype)))
        # The 8 bits of bfloat16 would round the mean of 49 cells.
        return x.float().mean((2, 3))

    def _early(self, x: Tensor) -> Tensor:
        x = _relu6(self.stem(x))
        for block in self.blocks[:_EARLY]:
            x = block(x)
        return x

    def to_bfloat16(self) -> None:
        """Convert all but the first blocks to bfloat16.

        On 608 frames of 76 real clips the smallest cosine to float32 is 0.9993, the mean 0.9997.
        With every block in bfloat16 the smallest is 0.977: pictures of one colour depend on the
        sums of a few taps of the first depthwise convolutions.
        """
        for block in self.blocks[_EARLY:]:
            assert isinstance(block, _Block)
            block.depthwise.weight.copy_(rounded_to_bfloat16(block.depthwise.weight))
            block.to(torch.bfloat16)
        self.head.to(torch.bfloat16)

    def classify(self, features: Tensor) -> Tensor:
        """Return ImageNet logits (N, 1000) of features (N, 1280)."""
        logits: Tensor = self.classifier(features)
        return logits


def load_efficientnet_lite0(path: Path) -> EfficientNetLite0:
    """Read the published PyTorch weights.

    Args:
        path: ``efficientnet-lite0-57934424.pth``, a dictionary of tensors.

    Returns:
        The network in eval mode, on the CPU, without gradients.

    Raises:
        WeightsError: The file cannot be read, or a tensor is missing, left over or misshapen.
    """
    try:
        # weights_only: tensors alone; a pickle that would run code is rejected.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises almost anything on a damaged file
        _refuse(path, f"{type(error).__name__} while reading", error)
    if not isinstance(state, Mapping):
        _refuse(path, "no dictionary of tensors")
    left = {k: v for k, v in state.items() if not str(k).endswith("num_batches_tracked")}

    def take(name: str, like: Tensor) -> Tensor:
        tensor = left.pop(name, None)
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            _refuse(path, f"no tensor {name}")
        if tensor.shape != like.shape:
            _refuse(path, f"{name} is {tuple(tensor.shape)}, not {tuple(like.shape)}")
        return tensor

    network = EfficientNetLite0().requires_grad_(False).eval()
    for conv, kernel_name, bn_name in _published_names(network):
        assert conv.bias is not None
        gamma, beta, mean, variance = (
            take(f"{bn_name}.{part}", conv.bias).double()
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / torch.sqrt(variance + BN_EPSILON)
        kernel = take(kernel_name, conv.weight).double()
        conv.weight.copy_(kernel * scale[:, None, None, None])
        conv.bias.copy_(beta - mean * scale)
    network.classifier.weight.copy_(take("_fc.weight", network.classifier.weight))
    network.classifier.bias.copy_(take("_fc.bias", network.classifier.bias))
    if left:
        _refuse(path, f"{len(left)} tensors too many, such as {next(iter(left))}")
    return network


def _published_names(network: EfficientNetLite0) -> Iterator[tuple[_Conv, str, str]]:
    """Yield every convolution with its kernel's published name and its normalisation's prefix."""
    yield network.stem, "_conv_stem.weight", "_bn0"
    for i, block in enumerate(network.blocks):
        assert isinstance(block, _Block)
        prefix = f"_blocks.{i}"
        if block.expand is not None:
            yield block.expand, f"{prefix}._expand_conv.weight", f"{prefix}._bn0"
        yield block.depthwise, f"{prefix}._depthwise_conv.weight", f"{prefix}._bn1"
        yield block.project, f"{prefix}._project_conv.weight", f"{prefix}._bn2"
    yield network.head, "_conv_head.weight", "_bn1"


def _refuse(path: Path, why: str, cause: Exception | None = None) -> NoReturn:
    if said := unread_weights(path, cause):
        raise WeightsError(said) from cause
    raise WeightsError(
        f"{path} does not hold EfficientNet-Lite0 ({why}); "
        "delete it and run 'vidsim models pull' to fetch it again."
    ) from cause
