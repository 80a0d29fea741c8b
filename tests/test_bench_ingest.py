"""The capstone's way does the same work as vidsim's, and both are measured to the end."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_image

from vidsim.ingest.discover import describe
from vidsim.ingest.embed import EmbedOptions, embed_all
from vidsim.ingest.extractors.color import dominant_colors
from vidsim.ingest.progress import Silent
from vidsim.schemas.modality import Modality, choose_backbones
from vidsim.search.bench.capstone import cluster_pixels, embed_folder
from vidsim.search.bench.kmeans import inertia

QUIET = Silent()
BACKBONES = choose_backbones(Modality)
CLIPS = ("ucf101_mini/YoYo/*_g12_c02.avi", "ucf101_mini/ApplyEyeMakeup/*.avi")


@pytest.fixture(scope="module")
def clips(shared_data):
    """Two clips; only the second has a sound."""
    return [next(shared_data.glob(pattern)) for pattern in CLIPS]


@pytest.fixture(scope="module")
def capstone_rows(clips, tmp_path_factory):
    """The capstone's rows, by modality and path."""
    target = tmp_path_factory.mktemp("capstone")
    run = embed_folder(clips, list(BACKBONES.values()), "cpu", target)
    assert run.clips == 2
    assert set(run.seconds) == set(Modality)
    assert min(run.startup_s, *run.seconds.values()) > 0
    rows = {}
    for modality in Modality:
        with h5py.File(target / f"{modality}.h5") as file:
            videos, vectors = file["videos"].asstr()[:], file["vectors"][:]
        rows |= {(modality, str(clip)): vectors[videos == str(clip)] for clip in clips}
    return rows


@pytest.fixture(scope="module")
def own_rows(clips):
    """vidsim's rows, by modality and path."""
    videos = [describe(clip, clip.parent, "lib") for clip in clips]
    return {
        (modality, found.video.path): np.concatenate(
            [np.zeros((0, backbone.dim))]
            + [e.rows[backbone.name].vectors for e in found.embeddings if backbone.name in e.rows]
        )
        for found in embed_all(videos, EmbedOptions(BACKBONES, device="cpu"), QUIET)
        for modality, backbone in BACKBONES.items()
    }


def test_the_capstones_way_gives_the_rows_that_vidsim_gives(capstone_rows, own_rows):
    assert {key: rows.shape for key, rows in capstone_rows.items()} == {
        key: rows.shape for key, rows in own_rows.items()
    }
    assert sum(len(rows) > 0 for rows in own_rows.values()) == 7  # one clip has no sound
    for key, rows in own_rows.items():
        if len(rows):
            theirs = capstone_rows[key]
            assert cosines(rows, theirs).min() >= 0.98, key  # JPEG costs that much
            assert cosines(rows.mean(axis=0), theirs.mean(axis=0)) >= 0.99, key


def cosines(a, b):
    return (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def test_the_capstones_colors_are_about_as_good_as_vidsims():
    frame = np.ascontiguousarray(load_sample_image("china.jpg")[::2, ::2])
    pixels = np.asarray(frame.reshape(-1, 3) / 255, np.float32)
    theirs, shares = cluster_pixels(pixels, 10)
    ours, _ = dominant_colors(frame[None], torch.device("cpu"))
    assert inertia(pixels, ours[0] / 255) < 1.02 * inertia(pixels, theirs)
    assert inertia(pixels, theirs) < 1.25 * inertia(pixels, ours[0] / 255)
    assert shares.sum() == pytest.approx(1)
    assert (np.diff(shares) <= 0).all()
