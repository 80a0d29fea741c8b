"""I3D in 8-bit integers, and in whatever else a CPU computes it: the embeddings of float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vidsim.ingest.decode import DecodeRequest, SegmentMedia
from vidsim.ingest.decoders import decode_all
from vidsim.ingest.extractors import motion
from vidsim.ingest.extractors.motion import MotionExtractor
from vidsim.ingest.extractors.pixels import to_network_input
from vidsim.ingest.networks import i3d_int8
from vidsim.ingest.networks.i3d import Conv, load_i3d
from vidsim.ingest.networks.i3d_int8 import I3DInt8, quantize
from vidsim.ingest.weights import ensure
from vidsim.schemas.embedding import FloatArray, unit
from vidsim.schemas.modality import BACKBONES

CPU = torch.device("cpu")
I3D = BACKBONES["i3d"]
VNNI = torch.cpu._is_vnni_supported()


@pytest.fixture(scope="module")
def media(shared_data: Path) -> list[SegmentMedia]:
    """First segments of clips of three kinds: sports, faces up close, landscapes from above."""
    paths = [
        *sorted(shared_data.glob("ucf101_mini/*/*.avi"))[::16],
        *sorted(shared_data.glob("capstone70/*/*.mp4"))[::24],
        *sorted(shared_data.glob("drone_visible/*/*.mp4"))[::12],
    ]
    assert I3D.frames is not None
    requests = [
        (i, DecodeRequest(str(path), {"motion": I3D.frames}, False)) for i, path in enumerate(paths)
    ]
    found: dict[int, SegmentMedia] = {}
    for i, event in decode_all(requests, 2):
        if isinstance(event, SegmentMedia):
            found.setdefault(i, event)
    assert len(found) == len(paths) > 8
    return [found[i] for i in sorted(found)]


@pytest.fixture(scope="module")
def exact(media: list[SegmentMedia]) -> FloatArray:
    """The embeddings of the published network in float32."""
    assert I3D.pixels is not None
    network = load_i3d(ensure(I3D) / I3D.weights.files[0].name)  # type: ignore[union-attr]
    with torch.inference_mode():
        inputs = (to_network_input(m.frames["motion"][None], I3D.pixels, CPU) for m in media)
        return unit(torch.cat([network(x) for x in inputs]).numpy())


@pytest.mark.parametrize("integers", [False, True])
def test_motion_embeddings_are_those_of_float32(
    media: list[SegmentMedia], exact: FloatArray, integers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not integers:
        monkeypatch.setattr(motion, "supported", lambda: False)
    extractor = MotionExtractor(I3D, CPU)
    assert isinstance(extractor._network, I3DInt8) == (integers and VNNI)
    cosines = []
    for m, expected in zip(media, exact, strict=True):
        (embedding,) = extractor.embed([m])
        cosines.append((unit(embedding.rows["i3d"].vectors) @ expected).item())
    print(f"smallest cosine {min(cosines):.5f}, mean {np.mean(cosines):.5f}")
    assert min(cosines) >= 0.999


@pytest.mark.skipif(not VNNI, reason="this CPU has no integer instructions to run the network on")
def test_what_is_not_quantised_may_be_float32(media: list[SegmentMedia], exact: FloatArray) -> None:
    # As on a CPU with integer instructions and none for bfloat16.
    network = load_i3d(ensure(I3D) / I3D.weights.files[0].name)  # type: ignore[union-attr]
    with torch.inference_mode():
        features = I3DInt8(network, torch.float32)(
            torch.from_numpy(media[0].frames["motion"][None])
        )
    assert unit(features.numpy())[0] @ exact[0] >= 0.999


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


@pytest.mark.skipif(not VNNI, reason="this CPU has no integer instructions to run the network on")
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_convolution_of_integers_is_that_of_floats(kernel: int) -> None:
    torch.manual_seed(0)
    conv = Conv(8, 16, kernel=kernel)
    assert conv.bias is not None
    conv.weight.data.normal_(0, 0.1)
    conv.bias.data.normal_()
    levels = torch.randint(0, 256, (2, 8, 3, 6, 5), dtype=torch.uint8)
    with torch.inference_mode():
        expected = conv(levels * i3d_int8._STEP)
        found = i3d_int8._IntegerConv(conv, i3d_int8._STEP, 0)(levels) * i3d_int8._STEP
    assert found.shape == expected.shape
    error = (found - expected.clamp(0, 255 * i3d_int8._STEP)).abs()
    assert error.mean() < i3d_int8._STEP
