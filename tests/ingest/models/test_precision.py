"""Networks that compute with fewer bits on a CPU give the embeddings of float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vidsim.ingest.decode.events import SegmentMedia
from vidsim.ingest.decode.pool import decode_all
from vidsim.ingest.decode.segments import DecodeRequest
from vidsim.ingest.extract import motion
from vidsim.ingest.extract.frame import FrameExtractor
from vidsim.ingest.extract.motion import MotionExtractor
from vidsim.ingest.extract.pixels import computes_bfloat16, to_network_input
from vidsim.ingest.models.networks.i3d_int8 import I3DInt8, supported
from vidsim.ingest.models.networks.i3d_winograd import I3DWinograd
from vidsim.ingest.models.networks.loading import load_network
from vidsim.ingest.models.weights import ensure
from vidsim.schemas.backbones import Backbone
from vidsim.schemas.embedding import FloatArray, unit
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones

pytestmark = pytest.mark.acceptance  # float32 networks, a minute where a CPU has no AVX-512

CPU = torch.device("cpu")
BACKBONES = choose_backbones([Modality.FRAME, Modality.MOTION])
FRAME, MOTION = BACKBONES[Modality.FRAME], BACKBONES[Modality.MOTION]


@pytest.fixture(scope="module")
def media(weights: Path, shared_data: Path) -> list[SegmentMedia]:
    """First segments of clips of three kinds: sports, faces up close, landscapes from above."""
    paths = [
        *sorted(shared_data.glob("ucf101_mini/*/*.avi"))[::16],
        *sorted(shared_data.glob("capstone70/*/*.mp4"))[::24],
        *sorted(shared_data.glob("drone_visible/*/*.mp4"))[::12],
    ]
    samplings = {m.value: b.frames for m, b in BACKBONES.items() if b.frames}
    requests = [(i, DecodeRequest(str(path), samplings, False)) for i, path in enumerate(paths)]
    found: dict[int, SegmentMedia] = {}
    for i, event in decode_all(requests, 2):
        if isinstance(event, SegmentMedia):
            found.setdefault(i, event)
    assert len(found) == len(paths) > 8
    return [found[i] for i in sorted(found)]


def in_float32(backbone: Backbone, media: list[SegmentMedia]) -> FloatArray:
    """Embeddings of the network as it is published, of one segment after another."""
    assert backbone.pixels is not None
    network = load_network(backbone, ensure(backbone))
    inputs = [m.frames[backbone.modality] for m in media]
    if backbone.modality is Modality.MOTION:
        inputs = [clip[None] for clip in inputs]
    with torch.inference_mode():
        found = [network(to_network_input(x, backbone.pixels, CPU)) for x in inputs]
    return unit(torch.cat(found).numpy())


@pytest.fixture(scope="module")
def exact_motion(media: list[SegmentMedia]) -> FloatArray:
    return in_float32(MOTION, media)


def smallest_cosine(
    extractor: FrameExtractor | MotionExtractor, media: list[SegmentMedia], exact: FloatArray
) -> float:
    name = extractor.backbone.name
    found = [row for m in media for row in extractor.embed([m])[0].rows[name].vectors]
    cosines = (unit(np.stack(found)) * exact).sum(axis=1)
    print(f"{name}: smallest cosine {cosines.min():.5f}, mean {cosines.mean():.5f}")
    return float(cosines.min())


def test_frames(media: list[SegmentMedia], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDSIM_CPU_PATH", "auto")
    reduced = computes_bfloat16(CPU)  # emulated, it takes a hundred times as long
    extractor = FrameExtractor(FRAME, CPU)
    dtypes = {parameter.dtype for parameter in extractor._network.parameters()}
    assert (torch.bfloat16 in dtypes) == reduced
    exact = in_float32(FRAME, media)
    assert smallest_cosine(extractor, media, exact) >= (0.999 if reduced else 0.999999)


def test_frames_as_on_a_cpu_that_computes_float32_alone(
    media: list[SegmentMedia], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDSIM_CPU_PATH", "float32")
    exact = in_float32(FRAME, media)
    assert smallest_cosine(FrameExtractor(FRAME, CPU), media, exact) >= 0.999999


def test_motion(
    media: list[SegmentMedia], exact_motion: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDSIM_CPU_PATH", "auto")
    extractor = MotionExtractor(MOTION, CPU)
    assert isinstance(extractor._network, I3DInt8) == supported()
    assert smallest_cosine(extractor, media, exact_motion) >= 0.999


def test_motion_as_on_a_cpu_that_computes_float32_alone(
    media: list[SegmentMedia], exact_motion: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDSIM_CPU_PATH", "float32")
    extractor = MotionExtractor(MOTION, CPU)
    assert isinstance(extractor._network, I3DWinograd)
    assert smallest_cosine(extractor, media, exact_motion) >= 0.999999


@pytest.mark.skipif(not computes_bfloat16(CPU), reason="bfloat16 takes a hundred times as long")
def test_motion_in_bfloat16(
    media: list[SegmentMedia], exact_motion: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a CPU with instructions for bfloat16 and none for integers.
    monkeypatch.setattr(motion, "supported", lambda: False)
    assert smallest_cosine(MotionExtractor(MOTION, CPU), media, exact_motion) >= 0.999


@pytest.mark.skipif(not supported(), reason="this CPU has no instructions for 8-bit integers")
def test_motion_in_integers_and_float32(
    media: list[SegmentMedia], exact_motion: FloatArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a CPU with instructions for integers and none for bfloat16.
    monkeypatch.setattr(motion, "computes_bfloat16", lambda device: False)
    assert smallest_cosine(MotionExtractor(MOTION, CPU), media[:3], exact_motion[:3]) >= 0.999
