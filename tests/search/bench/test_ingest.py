"""The capstone's way does the same work as vidsim's, and both are measured to the end."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from vidsim.ingest.discover.videos import describe
from vidsim.ingest.extract.color import dominant_colors
from vidsim.ingest.extract.embed import EmbedOptions, embed_all
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.errors import WorkerError
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import DEFAULT_PRESET, choose_backbones
from vidsim.schemas.results import StageTime
from vidsim.search.bench.capstone import cluster_pixels, embed_folder
from vidsim.search.bench.ingest import bench_ingest, stage_cost
from vidsim.search.bench.kmeans import inertia
from vidsim.search.bench.memory import bench_memory
from vidsim.search.bench.plots import plot_memory
from vidsim.search.bench.processes import run_python
from vidsim.search.bench.results import IngestBench
from vidsim.search.bench.tables import ingest_table, memory_table

from ...helpers.printed import printed

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


@pytest.mark.acceptance
def test_the_capstones_way_gives_the_rows_that_vidsim_gives(capstone_rows, own_rows):
    assert {key: rows.shape for key, rows in capstone_rows.items()} == {
        key: rows.shape for key, rows in own_rows.items()
    }
    assert sum(len(rows) > 0 for rows in own_rows.values()) == 7  # one clip has no sound
    for key, rows in own_rows.items():
        if len(rows):
            theirs = capstone_rows[key]
            assert cosines(rows, theirs).min() >= 0.98, key  # JPEG costs that much
            assert cosines(rows, theirs).mean() >= 0.99, key


def cosines(a, b):
    return (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def test_the_capstones_colors_are_about_as_good_as_vidsims():
    frame = np.ascontiguousarray(load_sample_image("china.jpg")[::2, ::2])
    pixels = np.asarray(frame.reshape(-1, 3) / 255, np.float32)
    theirs, shares = cluster_pixels(pixels, 10)
    ours, _ = dominant_colors(frame[None])
    assert inertia(pixels, ours[0] / 255) < 1.02 * inertia(pixels, theirs)
    assert inertia(pixels, theirs) < 1.25 * inertia(pixels, ours[0] / 255)
    assert shares.sum() == pytest.approx(1)
    assert (np.diff(shares) <= 0).all()


@pytest.mark.acceptance
def test_both_ways_are_measured_to_the_end(make_clip, tmp_path):
    (tmp_path / "lib").mkdir()
    for i in range(3):
        make_clip(f"lib/{i}.mkv", times=[n / 25 for n in range(25)])
    backbones = choose_backbones([Modality.COLOR])
    bench = bench_ingest(tmp_path / "lib", backbones, DEFAULT_PRESET, "cpu", 1, QUIET)
    (ours,), (theirs,) = bench.vidsim, bench.capstone
    assert (ours.clips, theirs.clips) == (3, 3)
    for run in (ours, theirs):
        assert 0 < run.startup_s < run.seconds
        assert run.clips_per_s == pytest.approx(3 / run.seconds)
        assert run.peak_mb > 50
    assert bench.ratio == pytest.approx(theirs.seconds / ours.seconds)
    assert [stage.stage for stage in bench.stages] == ["decode", "color", "write"]
    assert list(bench.capstone_ms) == ["color"]
    held_s = sum(stage.held_ms for stage in bench.stages) * 3 / 1000
    assert held_s < ours.seconds - ours.startup_s
    assert IngestBench.model_validate_json(bench.model_dump_json()) == bench
    assert ingest_table(bench)[0].startswith(f"ratio {bench.ratio:.2f} ")


@pytest.mark.acceptance
def test_a_folder_that_nothing_can_be_embedded_of_is_no_benchmark(tmp_path):
    (tmp_path / "text.mp4").write_text("no video")
    backbones = choose_backbones([Modality.COLOR])
    with pytest.raises(WorkerError, match="Nothing of .* could be read"):
        bench_ingest(tmp_path, backbones, DEFAULT_PRESET, "cpu", 1, QUIET)


@pytest.mark.parametrize(
    ("stage", "time", "bound"),
    [
        ("decode", StageTime(cpu_s=1, busy_s=1, held_s=0, blocked_s=5), "the networks"),
        ("decode", StageTime(cpu_s=0.9, busy_s=1, held_s=1, blocked_s=0), "one core"),
        ("motion", StageTime(cpu_s=7, busy_s=2, held_s=2, blocked_s=0), "all cores"),
        ("color", StageTime(cpu_s=2.4, busy_s=1, held_s=1, blocked_s=0), "2.4 cores"),
        ("write", StageTime(cpu_s=0.2, busy_s=1, held_s=1, blocked_s=0), "waiting"),
    ],
)
def test_a_stage_is_bound_by_what_it_uses_up(stage, time, bound):
    cost = stage_cost(stage, [(time, 10)], cores=4)
    assert cost.bound.startswith(bound)
    assert cost.busy_ms == pytest.approx(100 * time.busy_s)


@pytest.mark.acceptance
def test_the_memory_of_a_long_ingest_is_seen_from_its_start_to_its_end(make_clip, tmp_path):
    (tmp_path / "lib").mkdir()
    for i in range(2):
        make_clip(f"lib/{i}.mkv", times=[n / 25 for n in range(25)])
    backbones = choose_backbones([Modality.COLOR])
    bench = bench_memory(tmp_path / "lib", backbones, DEFAULT_PRESET, "cpu", 5, QUIET)
    assert (bench.files, bench.videos) == (2, 5)
    assert bench.peak_mb == max(bench.peaks_mb) > 50
    assert 0 < bench.peaks_mb[0] < bench.peak_mb  # a process that has just begun
    assert len(bench.peaks_mb) > 3
    lines = printed(memory_table(bench))
    assert any(line.startswith("| ") and "10 of 10" in line for line in lines)
    plot_memory(bench, tmp_path / "memory.png")
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")


def test_the_memory_of_a_process_is_that_of_its_children_too():
    child = "import time; held = b'x' * 200_000_000; time.sleep(1)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    done = run_python(["-c", parent], os.environ)
    assert 200 < done.peak_mb < 300
    assert done.seconds > 1


def test_a_measured_process_that_fails_says_why():
    with pytest.raises(WorkerError, match=r"code 1 \(ValueError: out of luck\)"):
        run_python(["-c", "raise ValueError('out of luck')"], os.environ)
