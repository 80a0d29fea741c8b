"""Extractors: the colour clustering against scikit-learn, and what every extractor keeps to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info, threadpool_limits

from vidsim.ingest.decode.events import SegmentMedia
from vidsim.ingest.decode.pool import decode_all
from vidsim.ingest.decode.segments import DecodeRequest
from vidsim.ingest.extract.color import _dice, cluster, dominant_colors, make_strips
from vidsim.ingest.extract.color_histogram import color_histogram, padded
from vidsim.ingest.extract.color_histogram_cuda import color_histograms
from vidsim.ingest.extract.scheduler import Extraction
from vidsim.ingest.extract.strips import COLORS, lab_histogram
from vidsim.ingest.models.device import choose_device
from vidsim.schemas.backbones import BACKBONES, VID2IMG_SHAPE
from vidsim.schemas.errors import ModelError
from vidsim.schemas.modality import Modality


@pytest.fixture(scope="module")
def real_frames(shared_data):
    """The 30 middle frames of 30 clips of three sets, (30, 200, 200, 3)."""
    clips = [
        *sorted(shared_data.glob("capstone70/*/[03].mp4")),
        *sorted(shared_data.glob("ucf101_mini/*/*.avi"))[::8],
        *sorted(shared_data.glob("drone_visible/*/*.mp4"))[::4],
    ][:30]
    sampling = {"color": BACKBONES["labhist"].frames}
    requests = [(i, DecodeRequest(str(p), sampling, False)) for i, p in enumerate(clips)]
    frames = {}
    for i, event in decode_all(requests, 2):
        if isinstance(event, SegmentMedia) and i not in frames:
            frames[i] = event.frames["color"][10]
    return np.stack([frames[i] for i in sorted(frames)])


def inertia(frame, centers):
    pixels = frame.reshape(-1, 3).astype(np.float32)
    return sum(
        ((part[:, None] - centers) ** 2).sum(-1).min(1).sum(dtype=np.float64)
        for part in np.array_split(pixels, 8)
    )


@pytest.mark.acceptance
def test_inertia_is_within_2_percent_of_scikit_learn(real_frames):
    assert len(real_frames) == 30
    # A quarter of the pixels for both: scikit-learn's ten runs a frame take most of the time.
    frames = real_frames[:, ::2, ::2].copy()
    centers, _ = dominant_colors(frames)
    ours = [inertia(f, c) for f, c in zip(frames, centers)]
    theirs = [
        KMeans(COLORS, n_init=10, random_state=0).fit(f.reshape(-1, 3).astype(np.float32)).inertia_
        for f in frames
    ]
    ratios = np.array(ours) / np.array(theirs)
    print(f"inertia: mean ratio {ratios.mean():.4f}, worst {ratios.max():.4f}")
    assert ratios.mean() <= 1.02
    assert np.sum(ours) <= 1.02 * np.sum(theirs)


@pytest.mark.acceptance
def test_many_histograms_at_once_are_those_of_one_after_another(real_frames):
    frames = real_frames[:4].copy()
    frames[3] //= 64  # few colours: the others have more bins
    at_once = color_histograms(torch.from_numpy(frames), 32, 12)
    for i, frame in enumerate(frames):
        fine = color_histogram(frame, 32)
        for one, (colors, pixels) in zip((fine, fine.merged(12)), at_once):
            count = len(one.pixels)
            assert pixels[i, :count].tolist() == one.pixels.tolist()
            assert pixels[i, count:].sum() == 0
            np.testing.assert_array_equal(colors[i, :count], one.colors.astype(np.float32))


def test_colors_are_the_same_by_torch_as_by_numpy(real_frames):
    """The program that a GPU runs, on the CPU: arrays of either kind go through the same lines."""
    frames = real_frames[:10]
    histograms = [color_histogram(frame, 32) for frame in frames]
    fine, coarse = padded(histograms), padded([h.merged(12) for h in histograms])
    colors, shares = cluster(fine, coarse, COLORS)
    by_torch = cluster(*([torch.from_numpy(a) for a in pair] for pair in (fine, coarse)), COLORS)
    alike = np.isclose(shares, by_torch[1], atol=1e-3).all(1)
    alike &= np.isclose(colors, by_torch[0], atol=0.5).all((1, 2))
    assert alike.sum() >= 9  # a tie may be broken otherwise, and then a frame ends elsewhere


@pytest.mark.parametrize(
    ("driver", "torch_finds", "device"),
    [(False, True, "cpu"), (True, False, "cpu"), (True, True, "cuda")],
)
def test_a_gpu_is_taken_where_its_driver_and_torch_find_one(
    monkeypatch, driver, torch_finds, device
):
    def load(name):
        if not driver:
            raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("ctypes.CDLL", load)
    monkeypatch.setattr("torch.cuda.is_available", lambda: torch_finds)
    assert choose_device("auto") == device
    assert choose_device("cpu") == "cpu"
    if device == "cuda":
        assert choose_device("cuda") == "cuda"
    else:
        with pytest.raises(ModelError, match="run with --device cpu"):
            choose_device("cuda")


def test_a_product_of_numpy_takes_one_core_while_many_are_computed():
    def threads():
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    with threadpool_limits(2, "blas"):
        with Extraction({Modality.COLOR: BACKBONES["labhist"]}, "cpu"):
            assert threads() == {1}
        assert threads() == {2}


def test_starts_are_drawn_as_torch_draws_them():
    """So were they for the colours of libraries that were made by torch."""
    drawn = torch.rand(8, 10, 3, generator=torch.Generator().manual_seed(0))
    assert np.array_equal(_dice(10), drawn)


def test_dominant_colors_are_the_same_every_time(real_frames):
    first = make_strips(real_frames[:4])
    assert np.array_equal(first, make_strips(real_frames[:4]))
    # A frame's colours do not depend on what else is in the batch.
    assert np.array_equal(first[:1], make_strips(real_frames[:1]))


def test_a_strip_lays_colors_out_by_share():
    frame = np.zeros((1, 200, 200, 3), np.uint8)
    frame[0, :100] = (250, 10, 10)
    frame[0, 100:160] = (10, 250, 10)
    frame[0, 160:] = (10, 10, 250)
    (strip,) = make_strips(frame)
    assert strip.shape == VID2IMG_SHAPE[1:]
    assert (strip[:50] == (250, 10, 10)).all()
    assert (strip[50:80] == (10, 250, 10)).all()
    assert (strip[80:] == (10, 10, 250)).all()


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_frame_of_one_color(value):
    frame = np.full((1, 200, 200, 3), value, np.uint8)
    _, shares = dominant_colors(frame)
    assert shares[0, 0] == 1
    assert (make_strips(frame) == value).all()


def test_noise_with_every_color_bin_filled():
    frame = np.random.default_rng(0).integers(0, 256, (1, 200, 200, 3), np.uint8)
    _, shares = dominant_colors(frame)
    assert shares.sum() == pytest.approx(1)
    assert (np.diff(shares[0]) <= 0).all()


def test_a_lab_histogram_moves_little_when_colors_do():
    strip = np.full(VID2IMG_SHAPE, (120, 80, 40), np.uint8)
    near = lab_histogram(strip) @ lab_histogram(strip + np.uint8(6))
    far = lab_histogram(strip) @ lab_histogram(255 - strip)
    assert np.linalg.norm(lab_histogram(strip)) == pytest.approx(1)
    assert near > 0.9
    assert far < 0.1


def test_a_batch_has_the_size_that_was_asked_for():
    color = {Modality.COLOR: BACKBONES["labhist"]}
    for batch, size in ((None, 6), (3, 3)):
        with Extraction(color, "cpu", threads=3, batch=batch) as extraction:
            assert extraction.batch_size == size
