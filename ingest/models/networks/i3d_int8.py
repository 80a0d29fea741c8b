"""I3D in 8-bit integers, for CPUs that multiply them (AVX512-VNNI).

Nearly all of the network's multiplications run on integers, twice as fast as in bfloat16, and
the activations take half the memory. The embeddings keep a cosine of 0.9993 or more to float32 on
76 real clips, mean 0.9997. This requires, by ablation (docs/models.md has the figures):

* The pixels are already integers and enter the first convolution unchanged.
* The outputs of the first two convolutions are not rounded to integers: their few channels carry
  the whole picture. Nor are the last modules quantised, whose values are few and large.
* The weights of an output are rounded with error diffusion: the rounding errors of neighbouring
  weights cancel, since neighbouring pixels and activations are similar.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Self, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .bfloat16 import rounded_to_bfloat16
from .i3d import I3D, Conv, Inception, mean_features
from .padding import same_padding

Rounded = tuple[Tensor, Tensor]
"""Quantised weights and their steps, as `quantize` gives them."""

_SECOND = "Conv3d_2b_1x1"
"""The second convolution, which is not quantised."""

_FIRST_WIDE = "Mixed_5b"

_PIXEL_STEP = 1 / 127.5
"""Size of a pixel's step in the network's input, ``pixel / 127.5 - 1``."""

_PIXEL_ZERO = 128
"""The integer next to 127.5, the network's zero; the first bias absorbs the half."""

LARGEST = 10
"""The largest activation. Batch normalisation leaves a standard deviation of 1 around means of at
most 2.2, so few values saturate. On 76 real clips the smallest cosine to float32 is 0.9992 for 8,
0.9993 for 10 and for 12."""

_STEP = LARGEST / 255
"""Size of an activation's step."""

OUTLIERS: Mapping[str, Mapping[int, float]] = {
    "Mixed_4c.branch_2.1": {30: 1.3},
    "Mixed_4e.branch_1.0": {97: 1.7},
    "Mixed_4e.branch_1.1": {94: 3.7, 98: 1.3},
    "Mixed_4f.branch_1.0": {36: 1.8, 70: 3.0, 71: 1.8, 129: 2.8},
    "Mixed_4f.branch_1.1": {
        26: 1.2, 42: 1.2, 54: 1.6, 66: 1.9, 83: 1.7, 177: 1.4, 180: 1.4, 255: 2.4, 272: 3.1
    },
}  # fmt: skip
"""Channels that exceed `LARGEST`, by convolution, and by how much over 229 real clips (`python
docs/measure_precision.py --outliers`). They are divided by it, and what reads them multiplies. In
small pictures one that saturates weighs much: at 160 pixels a cosine of 0.995 becomes 0.9994."""

_LARGEST_WEIGHT = 126.5
"""Diffused errors, up to half a step, may push a weight from here to the largest int8."""


_MANY_OUTPUTS = 256
_OUTPUTS_BLOCK = 64
"""A larger number of outputs is padded to a multiple of this block. On one core, oneDNN 3.12 blocks
Mixed_4e's 288 by 48, and needs nine times as long for them as for 256, 272, 304 or 320."""


_STEM_WIDTH = 8
"""Pixels of a window of the first convolution: its 7, and one of weight zero, for 24 channels:
instructions take 4 of them at a time."""


def supported() -> bool:
    """Return whether this CPU multiplies 8-bit integers and this torch supports it.

    The operators are those of torch's own quantised models, but not a public interface, so they
    are tested on a small convolution first.
    """
    if not torch.cpu._is_vnni_supported():  # without it, oneDNN's sums of products overflow
        return False
    conv = Conv(4, 4)
    conv.weight.data.copy_(torch.eye(4)[..., None, None, None])
    conv.bias.data.zero_()  # type: ignore[union-attr]
    levels = torch.arange(0, 256, 51, dtype=torch.uint8).expand(1, 4, 1, 1, 6)
    try:
        kept = _IntegerConv(conv, _STEP, 0)(levels)
    except (AttributeError, RuntimeError, TypeError):
        return False
    return bool((kept.int() - levels.int()).abs().max() <= 2)


class I3DInt8(nn.Module):
    """I3D for inference on a CPU, from pixels to features."""

    def __init__(
        self, network: I3D, wide: torch.dtype, rounded: Mapping[str, Tensor] | None = None
    ) -> None:
        """Take ownership of `network`, and modify it.

        Args:
            network: In float32, on the CPU.
            wide: Dtype of the unquantised parts: bfloat16 where the CPU computes it, else float32.
            rounded: What `prepare` made of the same weights; `network` may lack what is in it.
        """
        super().__init__()
        self._wide = wide
        if rounded is None:
            _level_outliers(network)
        names = {conv: name for name, conv in network.named_modules()}
        network.pool_by_axis()  # torch's own pools do not support integers
        layers = dict(network.layers.named_children())
        split = list(layers).index(_FIRST_WIDE)
        stem, self._stem_pool, second, *integer = list(layers.values())[:split]
        assert isinstance(stem, Conv)
        assert isinstance(second, Conv)

        def integers(conv: Conv) -> Rounded | None:
            return None if rounded is None else _named(rounded, names[conv])

        self._stem = _IntegerStem(stem, wide, integers(stem))
        # Its outputs are in steps, ready for rounding, which includes the ReLU.
        weight = second.weight.detach() / _STEP
        if wide is torch.bfloat16:
            weight = rounded_to_bfloat16(weight)
        self._second_weight = weight.to(wide)
        self._second_bias = (cast(Tensor, second.bias).detach() / _STEP).to(wide)
        self._integer = nn.Sequential(*integer)
        _quantize_convolutions(self._integer, integers)
        self._last = nn.Sequential(*list(layers.values())[split:])
        self._last.to(wide).to(memory_format=torch.channels_last_3d)

    @classmethod
    def of_prepared(cls, prepared: Mapping[str, Tensor], wide: torch.dtype) -> Self:
        """Build the network of what `prepare` gave, on the CPU and without gradients."""
        network = I3D().requires_grad_(False).eval()
        for name, parameter in network.named_parameters():
            if name in prepared:
                parameter.copy_(prepared[name])
        return cls(network, wide, prepared)

    def forward(self, clips: Tensor) -> Tensor:
        """Compute features (N, 1024) float32 of clips (N, T, 224, 224, 3) uint8 RGB."""
        x = self._stem_pool(self._stem(clips)).relu_()
        x = functional.conv3d(x, self._second_weight, self._second_bias)
        x = self._integer(x.round_().clamp_(0, 255).to(torch.uint8))
        return mean_features(self._last(x.to(self._wide).mul_(_STEP)))


class _IntegerConv(nn.Module):
    """A convolution of uint8 with int8 weights; sums are exact, and rounded once."""

    def __init__(
        self,
        conv: Conv,
        step: float,
        zero: int,
        wide: torch.dtype | None = None,
        rounded: Rounded | None = None,
    ) -> None:
        """Quantise the weights.

        Args:
            conv: In float32.
            step: Size of the input's step.
            zero: The integer that represents the input's zero.
            wide: The outputs' dtype if they are floats; ReLU is then left to the caller.
            rounded: What `_rounded` gives of `conv`, if that was computed before.
        """
        super().__init__()
        bias = cast(Tensor, conv.bias).detach()
        self._outputs = len(bias)
        bias = functional.pad(bias, (0, _filled(conv)))
        weights, self._weight_steps = rounded or _rounded(conv)
        stride, padding = list(conv.stride), list(cast(tuple[int, ...], conv.padding))
        self._step, self._zero, self._wide = step, zero, wide
        if zero == _PIXEL_ZERO:
            sums = weights.sum((1, 2, 3, 4)) * self._weight_steps
            bias = bias + sums * (_PIXEL_ZERO * _PIXEL_STEP - 1)
            weights, stride[2] = _width_as_channels(weights), 1
        self._bias = bias
        self._sizes = stride, padding, [1, 1, 1], 1
        self._weight_zeros = torch.zeros(len(weights), dtype=torch.int64)
        self._packed = torch.ops.onednn.qconv_prepack(
            weights, self._weight_steps, step, zero, *self._sizes, None
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, ...) uint8 -> (N, outputs, ...), uint8 in steps of `_STEP` or floats."""
        y = cast(
            Tensor,
            torch.ops.onednn.qconv_pointwise(
                x,
                self._step,
                self._zero,
                self._packed,
                self._weight_steps,
                self._weight_zeros,
                self._bias,
                *self._sizes,
                1.0 if self._wide else _STEP,
                0,
                self._wide or torch.uint8,  # which saturates at 0 and so is the ReLU
                "none",
                [],
                "",
            ),
        )
        return y[:, : self._outputs]


def prepare(network: I3D) -> dict[str, Tensor]:
    """Return all that `I3DInt8.of_prepared` needs of `network`: to keep for the next process.

    It takes ownership of `network`, and modifies it.

    By name: ``NAME.levels`` (int8, padded) and ``NAME.steps`` (float32) of each quantised
    convolution, ``NAME.weight`` (float32) of the others, ``NAME.bias`` (float32) of all.
    """
    prepared: dict[str, Tensor] = {}
    _level_outliers(network)
    wide = False
    for layer, module in network.layers.named_children():
        wide |= layer == _FIRST_WIDE
        for name, conv in module.named_modules(prefix=f"layers.{layer}"):
            if not isinstance(conv, Conv):
                continue
            if wide or layer == _SECOND:
                prepared[f"{name}.weight"] = conv.weight.detach()
            else:
                prepared[f"{name}.levels"], prepared[f"{name}.steps"] = _rounded(conv)
            prepared[f"{name}.bias"] = cast(Tensor, conv.bias).detach()
    return prepared


def _level_outliers(network: I3D) -> None:
    """Divide the channels of `OUTLIERS`, and multiply the weights that read them."""
    modules = [(n, m) for n, m in network.layers.named_children() if isinstance(m, Inception)]
    for (name, module), (_, following) in pairwise(modules):
        reading = [following.branch_0, following.branch_1[0], following.branch_2[0]]
        reading.append(following.branch_3[1])
        first = 0
        for branch in ("branch_0", "branch_1", "branch_2", "branch_3"):
            convs = [c for c in getattr(module, branch).modules() if isinstance(c, Conv)]
            for i, conv in enumerate(convs):
                named = f"{name}.{branch}.{i}"
                last = conv is convs[-1]
                for channel, factor in OUTLIERS.get(named, {}).items():
                    conv.weight[channel] /= factor
                    cast(Tensor, conv.bias)[channel] /= factor
                    for reader in reading if last else [convs[i + 1]]:
                        cast(Conv, reader).weight[:, channel + first * last] *= factor
            first += convs[-1].out_channels


def _named(prepared: Mapping[str, Tensor], name: str) -> Rounded:
    return prepared[f"{name}.levels"], prepared[f"{name}.steps"]


def _filled(conv: Conv) -> int:
    """Return with how many outputs a convolution is padded."""
    outputs = conv.out_channels
    return -outputs % _OUTPUTS_BLOCK if outputs > _MANY_OUTPUTS else 0


def _rounded(conv: Conv) -> Rounded:
    """Return the quantised weights of a convolution, padded."""
    return quantize(functional.pad(conv.weight.detach(), (0,) * 9 + (_filled(conv),)))


def quantize(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise weights so that the errors of neighbours cancel.

    Args:
        weight: (outputs, inputs, T, H, W) float.

    Returns:
        int8 of the same shape, and float32 steps (outputs,) to multiply them by.
    """
    flat = weight.detach().flatten(1)
    whole_range = flat.abs().amax(1, keepdim=True).clamp_min(1e-12) / _LARGEST_WEIGHT
    steps = whole_range
    least = torch.full_like(steps, torch.inf)
    # Clipping a few outliers is better than a coarser step for all weights.
    for part in torch.linspace(0.4, 1, 13):
        tried = whole_range * part
        cut = (flat / tried).clamp_(-_LARGEST_WEIGHT, _LARGEST_WEIGHT).round_()
        error = cut.mul_(tried).sub_(flat).square_().sum(1, keepdim=True)
        steps = torch.where(error < least, tried, steps)
        least = torch.minimum(error, least)
    cut = (flat.double() / steps).clamp_(-_LARGEST_WEIGHT, _LARGEST_WEIGHT)
    # Differences of rounded running sums: each weight absorbs the error accumulated so far.
    sums = cut.cumsum(1).round()
    whole = torch.diff(sums, dim=1, prepend=torch.zeros_like(sums[:, :1]))
    return whole.to(torch.int8).view_as(weight), steps.flatten()


def _quantize_convolutions(module: nn.Module, integers: Callable[[Conv], Rounded | None]) -> None:
    """Replace the convolutions within `module`, whose weights `integers` gives if it has them."""
    for name, child in module.named_children():
        if isinstance(child, Conv):
            setattr(module, name, _IntegerConv(child, _STEP, 0, None, integers(child)))
        else:
            _quantize_convolutions(child, integers)


class _IntegerStem(_IntegerConv):
    """The first convolution, of 7x7x7 at stride 2, of pixels.

    Instructions multiply 4 neighbouring channels at a time (VNNI) or 64 (AMX), and a picture has
    3. So `_STEM_WIDTH` pixels that lie side by side are taken as 24 channels, which leaves a
    convolution of 7x7x1. The sums are the same, as they are of integers.
    """

    def __init__(self, conv: Conv, wide: torch.dtype, rounded: Rounded | None = None) -> None:
        """Take `rounded`, or round the weights of `conv`; outputs are of dtype `wide`."""
        super().__init__(conv, _PIXEL_STEP, _PIXEL_ZERO, wide, rounded)
        self._taps = conv.kernel_size[0]

    def forward(self, clips: Tensor) -> Tensor:
        """(N, T, H, W, 3) uint8 -> (N, outputs, T / 2, H / 2, W / 2), rounded up, without ReLU."""
        time, height, width = (same_padding(size, self._taps, 2) for size in clips.shape[1:4])
        spare = _STEM_WIDTH - self._taps  # of weights that are zero
        filled = functional.pad(
            clips, (0, 0, width[0], width[1] + spare, *height, *time), value=_PIXEL_ZERO
        )
        # numpy copies the pixels of a window at once; torch number by number, which takes longer.
        pixels = filled.numpy()
        window = np.dtype((np.void, _STEM_WIDTH * pixels.shape[-1]))
        *strides, step, _ = pixels.strides
        count = (pixels.shape[3] - _STEM_WIDTH) // 2 + 1
        windows = np.ndarray(
            (*pixels.shape[:3], count), window, pixels, strides=(*strides, 2 * step)
        )
        channels = np.ascontiguousarray(windows)[..., None].view(np.uint8)
        return super().forward(torch.from_numpy(channels).movedim(-1, 1))


def _width_as_channels(weights: Tensor) -> Tensor:
    """(outputs, inputs, T, H, W) -> (outputs, `_STEM_WIDTH` * inputs, T, H, 1)."""
    spare = _STEM_WIDTH - weights.shape[4]
    channels = functional.pad(weights, (0, spare)).permute(0, 4, 1, 2, 3)
    return channels.flatten(1, 2)[..., None].contiguous()
