"""What I3D in 8-bit integers is made of: its embeddings are in `test_precision`."""

from __future__ import annotations

import pytest
import torch

from vidsim.ingest.models.networks import i3d_int8
from vidsim.ingest.models.networks.i3d import I3D, Conv
from vidsim.ingest.models.networks.i3d_int8 import quantize

VNNI = torch.cpu._is_vnni_supported()


def test_no_integers_where_torch_has_other_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*arguments: object) -> None:
        raise AttributeError("'_OpNamespace' 'onednn' object has no attribute 'qconv_prepack'")

    assert i3d_int8.supported() == VNNI
    monkeypatch.setattr(torch.ops.onednn, "qconv_prepack", gone)
    assert not i3d_int8.supported()


def test_no_integers_where_the_cpu_would_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    assert not i3d_int8.supported()


def test_rounded_weights_have_the_sums_of_the_weights() -> None:
    weight = torch.randn(6, 4, 3, 3, 3, generator=torch.Generator().manual_seed(0)) / 10
    rounded, steps = quantize(weight)
    assert rounded.dtype == torch.int8
    assert rounded.shape == weight.shape
    steps = steps.view(-1, 1, 1, 1, 1)
    errors = (rounded * steps - weight).flatten(1)
    near = weight.flatten(1).abs() < 120 * steps.flatten(1)  # the largest may be cut
    assert (errors.abs()[near] <= 1.01 * steps.flatten(1).expand_as(errors)[near]).all()
    cut = torch.where(near, 0, errors).sum(1)
    # Rounded one by one, 108 errors would add up to some 3 steps.
    assert ((errors.sum(1) - cut).abs() <= 1.5 * steps.flatten()).all()


@pytest.mark.parametrize("value", [0.0, 1.0, -3.0])
def test_weights_of_one_value_are_kept(value: float) -> None:
    rounded, steps = quantize(torch.full((2, 3, 1, 1, 1), value))
    torch.testing.assert_close(
        rounded * steps.view(-1, 1, 1, 1, 1),
        torch.full((2, 3, 1, 1, 1), value),
        rtol=0.01,
        atol=1e-6,
    )


@pytest.mark.parametrize(("kernel", "outputs"), [(1, 16), (3, 16), (3, 288)])
def test_a_convolution_of_integers_is_that_of_floats(kernel: int, outputs: int) -> None:
    torch.manual_seed(0)
    conv = Conv(8, outputs, kernel=kernel)
    assert conv.bias is not None
    conv.weight.data.normal_(0, 0.1)
    conv.bias.data.normal_()
    # Without VNNI, sums of two products overflow, but not of levels as small as weights are.
    levels = torch.randint(0, 256 if VNNI else 128, (2, 8, 3, 6, 5), dtype=torch.uint8)
    with torch.inference_mode():
        expected = conv(levels * i3d_int8._STEP)
        found = i3d_int8._IntegerConv(conv, i3d_int8._STEP, 0)(levels) * i3d_int8._STEP
    assert found.shape == expected.shape
    error = (found - expected.clamp(0, 255 * i3d_int8._STEP)).abs()
    assert error.mean() < i3d_int8._STEP


@pytest.mark.parametrize("size", [(8, 32, 32), (5, 17, 30), (1, 7, 9)])
def test_the_first_convolution_of_integers_is_that_of_floats(size: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    conv = Conv(3, 16, kernel=7, stride=2)
    assert conv.bias is not None
    conv.weight.data.normal_(0, 0.1)
    conv.bias.data.normal_()
    # As above.
    least, most = (0, 256) if VNNI else (0, 128)
    clips = torch.randint(least, most, (2, *size, 3), dtype=torch.uint8)
    with torch.inference_mode():
        expected = conv((clips / 127.5 - 1).movedim(-1, 1))
        found = i3d_int8._IntegerStem(conv, torch.float32)(clips).relu()
    assert found.shape == expected.shape
    assert (found - expected).abs().mean() < 0.02
    assert (found - expected).abs().max() < 0.1


def some_network() -> I3D:
    torch.manual_seed(0)
    network = I3D().requires_grad_(False).eval()
    for module in network.modules():
        if isinstance(module, Conv):
            assert module.bias is not None
            module.weight.normal_(0, 0.05)
            module.bias.normal_()
    return network


def test_prepared_weights_give_the_same_features() -> None:
    prepared = i3d_int8.prepare(some_network())
    clips = torch.randint(0, 256, (1, 9, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        # Without VNNI sums overflow, but for both alike.
        found = i3d_int8.I3DInt8.of_prepared(prepared, torch.float32)(clips)
        expected = i3d_int8.I3DInt8(some_network(), torch.float32)(clips)
    assert torch.equal(found, expected)
    assert found.abs().max() > 0


def test_channels_that_were_levelled_mean_what_they_meant() -> None:
    network = some_network()
    clips = torch.rand(1, 9, 64, 64, 3).mul(2).sub(1).movedim(-1, 1)
    expected = network(clips)
    weights = [parameter.clone() for parameter in network.parameters()]
    i3d_int8.prepare(network)
    changed = [not torch.equal(*pair) for pair in zip(weights, network.parameters(), strict=True)]
    assert sum(changed) > 2 * len(i3d_int8.OUTLIERS)
    torch.testing.assert_close(network(clips), expected, rtol=1e-4, atol=1e-4)
