"""Extraction on a CUDA device: the CPU's embeddings, sooner. Run by 'make gpu-test'.

VIDSIM_TEST_DEVICE=cpu runs the same on the CPU, with fewer clips: it proves the tests, not a GPU.
VIDSIM_TEST_MODALITIES=color,frame leaves out what needs packages or weights that are not there.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from av.codec.hwaccel import HWAccel

from vidsim.ingest.decode.container import open_local
from vidsim.ingest.decode.events import SegmentMedia
from vidsim.ingest.decode.pool import decode_all
from vidsim.ingest.decode.segments import DecodeRequest, decode
from vidsim.ingest.discover.videos import find_media
from vidsim.ingest.extract.color import dominant_colors
from vidsim.ingest.extract.color_histogram_cuda import color_histograms
from vidsim.ingest.extract.embed import EmbedOptions
from vidsim.ingest.extract.scheduler import Extraction
from vidsim.ingest.pipeline import ingest
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.embedding import unit
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones

pytestmark = pytest.mark.gpu

DEVICE = os.environ.get("VIDSIM_TEST_DEVICE", "cuda")
CHOSEN = os.environ.get("VIDSIM_TEST_MODALITIES", ",".join(Modality)).split(",")
COMPACT = choose_backbones(map(Modality, CHOSEN))
SOUND = Modality.AUDIO in COMPACT
CLIPS = 24 if DEVICE == "cuda" else 4


@pytest.fixture(scope="module", autouse=True)
def device() -> torch.device:
    if DEVICE == "cuda":
        assert torch.cuda.is_available(), "these tests need a CUDA device and torch built for it"
        print(torch.cuda.get_device_name())
    return torch.device(DEVICE)


@pytest.fixture(scope="module")
def clips(shared_data) -> list[Path]:
    """Real clips, spread over the folder."""
    paths = find_media(shared_data / "ucf101_mini")
    return paths[:: max(1, len(paths) // CLIPS)][:CLIPS]


@pytest.fixture(scope="module")
def media(clips) -> list[SegmentMedia]:
    """First segments of the clips, with what every modality takes."""
    frames = {m.value: b.frames for m, b in COMPACT.items() if b.frames}
    requests = [(i, DecodeRequest(str(path), frames, audio=SOUND)) for i, path in enumerate(clips)]
    found: dict[int, SegmentMedia] = {}
    for i, event in decode_all(requests, 4):
        if isinstance(event, SegmentMedia):
            found.setdefault(i, event)
    assert len(found) == len(clips) > CLIPS // 2
    return [found[i] for i in sorted(found)]


def test_every_modalitys_embeddings_are_the_cpus(media):
    embedded = []
    for name in ("cpu", DEVICE):
        with Extraction(COMPACT, name) as extraction:
            assert extraction.device == name
            embedded.append([e for m in media for e in extraction.embed([m])])
    for backbone in COMPACT.values():
        pairs = [
            (a.rows[backbone.name].vectors, b.rows[backbone.name].vectors)
            for a, b in zip(*embedded)
            if backbone.name in a.rows
        ]
        assert pairs
        cosines = np.concatenate([(unit(a) * unit(b)).sum(1) for a, b in pairs])
        print(f"{backbone.name}: smallest cosine {cosines.min():.6f} of {len(cosines)} rows")
        assert cosines.min() >= 0.999


def test_colours_are_the_cpus(media, device):
    frames = np.concatenate([m.frames["color"] for m in media])
    for on_gpu, on_cpu in zip(
        color_histograms(torch.from_numpy(frames).to(device), 32, 12),
        color_histograms(torch.from_numpy(frames), 32, 12),
    ):
        assert all(torch.equal(a.cpu(), b) for a, b in zip(on_gpu, on_cpu))
    colors, shares = dominant_colors(frames, DEVICE)
    cpu_colors, cpu_shares = dominant_colors(frames)
    # A tie may be broken otherwise, and then a frame ends in another optimum: few may.
    alike = np.isclose(shares, cpu_shares, atol=1e-3).all(1)
    alike &= np.isclose(colors, cpu_colors, atol=0.5).all((1, 2))
    assert alike.mean() > 0.95


@pytest.mark.skipif(DEVICE == "cpu", reason="NVDEC needs a CUDA device")
def test_nvdec_shows_the_cpus_pictures(make_clip):
    noise = np.random.default_rng(0).integers(0, 256, (27, 48, 3), np.uint8)
    pictures = [cv2.resize(np.roll(noise, i, 1), (1920, 1080)) for i in range(24)]
    times = [i / 25 for i in range(250)]
    path = make_clip("large.mp4", times=times, images=pictures, codec="libx264")
    on_gpu = HWAccel("cuda", allow_software_fallback=True)
    with open_local(str(path), on_gpu) as container:
        assert container.streams.video[0].codec_context.is_hwaccel
    frames = {m.value: b.frames for m, b in COMPACT.items() if b.frames}
    shown = {}
    for nvdec in (False, True):
        began = time.perf_counter()
        events = decode(DecodeRequest(str(path), frames, audio=False, nvdec=nvdec))
        (shown[nvdec],) = (e.frames for e in events if isinstance(e, SegmentMedia))
        print(f"NVDEC {nvdec}: {len(times) / (time.perf_counter() - began):.0f} frames/s")
    for name, pictures in shown[False].items():
        off = np.abs(np.subtract(shown[True][name], pictures, dtype=np.int16))
        assert off.mean() < 1, name


def test_how_fast_a_folder_is_ingested(place, shared_data, clips, tmp_path, device):
    folder = shared_data / "ucf101_mini"
    if DEVICE == "cpu":
        folder = tmp_path / "few"
        folder.mkdir()
        for clip in clips:
            (folder / clip.name).symlink_to(clip)
    else:
        torch.cuda.reset_peak_memory_stats()
    report = ingest(folder, place, EmbedOptions(COMPACT, device=DEVICE), Silent())
    assert report.timing is not None
    assert not report.failed
    seconds = report.timing.seconds - report.timing.startup_s
    print(
        f"{DEVICE}: {report.embedded / seconds:.1f} clips/s after "
        f"{report.timing.startup_s:.1f} s of start"
    )
    if DEVICE == "cuda":
        peak_mb = torch.cuda.max_memory_allocated() / 1e6
        print(f"{torch.cuda.get_device_name()}: torch's peak {peak_mb:,.0f} MB")
    for stage, spent in report.timing.stages.items():
        per_clip = 1000 / report.embedded
        print(
            f"{stage}: busy {spent.busy_s * per_clip:.1f} ms a clip, "
            f"main loop {spent.held_s * per_clip:.1f}"
        )
