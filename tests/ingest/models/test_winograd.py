"""I3D by Winograd's algorithm is I3D: its embeddings of clips are in `test_precision`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from vidsim.ingest.models.networks.i3d import I3D, Conv
from vidsim.ingest.models.networks.i3d_winograd import I3DWinograd, _Stem
from vidsim.ingest.models.networks.pooling import Size3d
from vidsim.ingest.models.networks.winograd import WinogradConv, transforms


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


def filled(conv: Conv) -> Conv:
    """`conv` with weights that keep the variance, as those of a trained network do."""
    assert conv.bias is not None
    conv.weight.normal_(0, (2 / conv.weight[0].numel()) ** 0.5)
    conv.bias.normal_(0, 0.1)
    return conv


@pytest.mark.parametrize(("outputs", "taps"), [(2, 3), (4, 3), (4, 4), (7, 4)])
def test_a_tile_has_the_sums_of_its_windows(outputs: int, taps: int) -> None:
    from_points, of_taps, to_points = (torch.from_numpy(m) for m in transforms(outputs, taps))
    g = torch.randn(taps, dtype=torch.float64)
    d = torch.randn(outputs + taps - 1, dtype=torch.float64)
    found = from_points @ ((of_taps @ g) * (to_points @ d))
    torch.testing.assert_close(found, d.unfold(0, taps, 1) @ g)


@pytest.mark.parametrize("tile", [(4, 4, 4), (4, 2, 2), (2, 4, 4), (2, 3, 4)])
@pytest.mark.parametrize(
    ("inputs", "outputs", "size"),
    [(8, 16, (4, 8, 8)), (5, 7, (3, 9, 13)), (1, 3, (1, 1, 2)), (16, 8, (9, 46, 31))],
)
def test_a_convolution_is_torchs(tile: Size3d, inputs: int, outputs: int, size: Size3d) -> None:
    conv = filled(Conv(inputs, outputs, kernel=3))
    assert conv.bias is not None
    # Inputs and outputs are columns of wider rows, as they are in an Inception module.
    x = torch.randn(*size, inputs + 3).relu()[..., 1:-2]
    out = torch.full((*size, outputs + 3), 5.0)
    WinogradConv(conv.weight, conv.bias, tile)(x, out[..., 1:-2])
    torch.testing.assert_close(out[..., 1:-2], as_cells(conv(as_batch(x))), rtol=0, atol=1e-4)
    assert (out[..., [0, -2, -1]] == 5).all()


@pytest.mark.parametrize("size", [(8, 28, 16), (9, 15, 14), (1, 7, 8), (2, 226, 9)])
def test_the_first_convolution_is_torchs(size: Size3d) -> None:
    conv = filled(Conv(3, 16, kernel=7, stride=2))
    x = torch.rand(*size, 3) * 2 - 1
    found = _Stem(conv)(x)
    torch.testing.assert_close(found, as_cells(conv(as_batch(x))), rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(17, 64, 64), (1, 50, 37)])
def test_features_are_those_of_i3d(size: Size3d) -> None:
    network = I3D().eval()
    for module in network.modules():
        if isinstance(module, Conv):
            filled(module)
    clips = torch.rand(2, *size, 3).mul(2).sub(1).movedim(-1, 1)
    expected = network(clips)
    found = I3DWinograd(network)(clips)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def as_batch(x: Tensor) -> Tensor:
    """(T, H, W, C) -> (1, C, T, H, W)."""
    return x.movedim(-1, 0)[None]


def as_cells(x: Tensor) -> Tensor:
    """(1, C, T, H, W) -> (T, H, W, C)."""
    return x[0].movedim(0, -1)
