"""Exports: what they are called, what they hold, and that they appear whole or not at all."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import h5py
import numpy as np
import pytest

from vidsim.ingest.exchange.export import export
from vidsim.ingest.exchange.export_capstone import export_capstone
from vidsim.ingest.models.networks.quantization import dequantize, quantize
from vidsim.ingest.models.weights import digests
from vidsim.ingest.shards.home import open_shards
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.embedding import EmbeddedVideo
from vidsim.schemas.errors import LibraryError, StoreError

from ...helpers.embedded_videos import audioset_clip, embedded, store

QUIET = Silent()
CLASSIC = ("vid2img", "resnet50", "vggish", "resnet34_3d")


def rows_of(video: EmbeddedVideo, backbone: str) -> np.ndarray:
    return np.concatenate([e.rows[backbone].vectors for e in video.embeddings])


def names(found) -> list[str]:
    return sorted(path.name for path in found)


# --- vidsim's own layout ---


def test_the_native_export_merges_libraries_into_one_file_a_backbone(place, tmp_path):
    long = embedded("one/snow/é 名.mp4", backbones=("labhist", "yamnet"), segments=3, seed=1)
    silent = embedded("one/b.mp4", backbones=("labhist", "yamnet"), silent=True, seed=2, label="")
    other = embedded("two/c.mp4", backbones=("yamnet",), seed=3)
    store(place, long, silent, other)
    files = export(place.home, tmp_path / "out", [], QUIET)
    assert names(files) == ["audio_yamnet.h5", "color_labhist.h5", "color_vid2img.h5"]
    with h5py.File(tmp_path / "out" / "audio_yamnet.h5") as file:
        assert file.attrs["backbone"] == "yamnet"
        assert file.attrs["modality"] == "audio"
        assert file.attrs["weights_sha256"] == digests(BACKBONES["yamnet"]) != ""
        assert list(file.attrs["libraries"]) == ["one", "two"]
        wanted = np.concatenate([rows_of(long, "yamnet"), rows_of(other, "yamnet")])
        assert file["vectors"].dtype == np.float32
        assert np.array_equal(file["vectors"], wanted)
        ids = list(file["ids"].asstr())
        assert ids[0] == "one/snow/é 名.mp4#00000.0"
        assert ids[12] == "one/snow/é 名.mp4#00001.2"
        assert len(set(ids)) == len(ids) == 40
        assert list(file["video_ids"].asstr()) == 30 * [long.video.video_id] + 10 * ["two/c.mp4"]
        assert list(file["libraries"].asstr()) == 30 * ["one"] + 10 * ["two"]
        assert list(file["labels"].asstr()) == 40 * ["snow"]
        assert set(file["paths"].asstr()) == {long.video.path, other.video.path}
        assert list(file["segments"]) == 10 * [0] + 10 * [1] + 10 * [2] + 10 * [0]
        assert np.allclose(file["start_s"], [*range(30), *range(10)])
        assert np.allclose(file["end_s"], [*range(1, 31), *range(1, 11)])
    with h5py.File(tmp_path / "out" / "color_vid2img.h5") as file:
        strips = [e.vid2img for v in (long, silent) for e in v.embeddings]
        assert file["vectors"].dtype == np.uint8
        assert np.array_equal(file["vectors"], strips)
        assert list(file["start_s"]) == [0, 10, 20, 0]


def test_an_export_of_one_library_leaves_the_others_out(place, tmp_path):
    store(place, embedded("one/a.mp4"), embedded("two/b.mp4"))
    export(place.home, tmp_path, ["two"], QUIET)
    with h5py.File(tmp_path / "color_labhist.h5") as file:
        assert list(file["video_ids"].asstr()) == ["two/b.mp4"]
    with pytest.raises(LibraryError, match="No library is called three; there is one, two"):
        export(place.home, tmp_path, ["three"], QUIET)


@pytest.mark.parametrize("run", [export, export_capstone])
def test_a_library_named_twice_is_exported_once(place, tmp_path, run):
    store(place, embedded("one/a.mp4", backbones=CLASSIC), embedded("two/b.mp4", backbones=CLASSIC))
    for path in run(place.home, tmp_path, ["two", "one", "two"], QUIET):
        with h5py.File(path) as file:
            assert list(file[".vidsim/videos/video_id"].asstr()) == ["two/b.mp4", "one/a.mp4"]


def test_a_strip_kept_with_two_backbones_is_exported_once(place, tmp_path):
    first = embedded("one/a.mp4", backbones=("labhist",), seed=1)
    shards = store(place, first)
    shards.write("one", [embedded("one/a.mp4", backbones=("labhist", "vid2img"), seed=1)])
    export(place.home, tmp_path, [], QUIET)
    with h5py.File(tmp_path / "color_vid2img.h5") as file:
        assert list(file["ids"].asstr()) == ["one/a.mp4#00000.0"]


@pytest.mark.parametrize("run", [export, export_capstone])
def test_an_export_that_fails_leaves_nothing(place, tmp_path, run, monkeypatch):
    store(place, embedded("one/a.mp4"))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(StoreError, match="No space left on device"):
        run(place.home, tmp_path / "out", [], QUIET)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("run", [export, export_capstone])
def test_an_empty_home_has_nothing_to_export(place, tmp_path, run):
    with pytest.raises(LibraryError, match="Nothing is stored yet; run 'vidsim ingest"):
        run(place.home, tmp_path, [], QUIET)


# --- the capstone's layout ---


def test_the_capstone_layout_has_its_files_datasets_shapes_and_dtypes(place, tmp_path):
    video = embedded("ucf/YoYo/v_YoYo_g01_c01.avi", backbones=CLASSIC, segments=2, seed=1)
    silent = embedded("ucf/YoYo/v_YoYo_g01_c02.avi", backbones=CLASSIC, silent=True, seed=2)
    store(place, video, silent)
    assert names(export_capstone(place.home, tmp_path, [], QUIET)) == [
        "audio_sec_UCF_vggish.h5",
        "cnn3d_UCF_features.h5",
        "color_UCF_vid2img.h5",
        "features_UCF_resnet50.h5",
        "merged_features_UCF_resnet50.h5",
    ]
    with h5py.File(tmp_path / "color_UCF_vid2img.h5") as file:
        strips = [e.vid2img for v in (video, silent) for e in v.embeddings]
        assert (file["color_vid2imgs"].shape, file["color_vid2imgs"].dtype) == ((3, 6000), np.uint8)
        assert np.array_equal(file["color_vid2imgs"], np.reshape(strips, (3, 6000)))
        assert file["vid_labels"].dtype.kind == "S"
        assert list(file["vid_labels"]) == 2 * [b"v_YoYo_g01_c01"] + [b"v_YoYo_g01_c02"]
    with h5py.File(tmp_path / "features_UCF_resnet50.h5") as file:
        found = file["ucf/YoYo/v_YoYo_g01_c01.avi"]
        assert (found.shape, found.dtype) == ((16, 2048), np.float32)
        assert np.array_equal(found, rows_of(video, "resnet50"))
        assert file["ucf/YoYo/v_YoYo_g01_c02.avi"].shape == (8, 2048)
    with h5py.File(tmp_path / "merged_features_UCF_resnet50.h5") as file:
        assert (file["feature_vectors"].shape, file["feature_vectors"].dtype) == (
            (24, 2048),
            np.float32,
        )
        assert list(file["feature_labels"])[15:17] == [
            b"ucf/YoYo/v_YoYo_g01_c01.avi",
            b"ucf/YoYo/v_YoYo_g01_c02.avi",
        ]
    with h5py.File(tmp_path / "audio_sec_UCF_vggish.h5") as file:
        levels = file["feature_vectors"][:]
        assert (levels.shape, levels.dtype) == ((20, 128), np.float32)
        assert np.array_equal(levels, np.rint(levels))
        assert np.array_equal(dequantize(levels.astype(np.uint8)), rows_of(video, "vggish"))
        assert set(file["feature_labels"]) == {b"data/audio/v_YoYo_g01_c01.npy"}
    with h5py.File(tmp_path / "cnn3d_UCF_features.h5") as file:
        assert (file["feature_vectors"].shape, file["feature_vectors"].dtype) == (
            (3, 512),
            np.float32,
        )
        assert list(file["vid_labels"])[1:] == [b"v_YoYo_g01_c01.avi", b"v_YoYo_g01_c02.avi"]


def test_each_of_the_256_levels_of_sound_survives():
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(quantize(dequantize(levels)), levels)


def test_another_backbone_has_its_name_in_the_file_name(place, tmp_path):
    backbones = ("labhist", "efficientnet_lite0", "yamnet", "i3d")
    store(place, embedded("lib/é.mp4", backbones=backbones))
    assert names(export_capstone(place.home, tmp_path, [], QUIET)) == [
        "audio_sec_UCF_yamnet.h5",
        "cnn3d_UCF_features_i3d.h5",
        "color_UCF_labhist.h5",
        "color_UCF_vid2img.h5",
        "features_UCF_efficientnet_lite0.h5",
        "merged_features_UCF_efficientnet_lite0.h5",
    ]
    with h5py.File(tmp_path / "cnn3d_UCF_features_i3d.h5") as file:
        assert file["vid_labels"][0].decode() == "é.mp4"


def test_clips_of_audioset_have_files_of_their_own(place, tmp_path):
    clips = [audioset_clip("set/a", "label 137; label 0", 1), audioset_clip("set/b", "label 5", 2)]
    store(place, *clips, embedded("lib/a.mp4", backbones=("vggish",)))
    assert names(export_capstone(place.home, tmp_path, ["set"], QUIET)) == [
        "audioset_balanced_features_vggish.h5",
        "audioset_balanced_labels.npy",
    ]
    with h5py.File(tmp_path / "audioset_balanced_features_vggish.h5") as file:
        found = file["audio_embeddings"][:]
    assert (found.shape, found.dtype) == ((2, 10, 128), np.float64)
    assert np.array_equal(dequantize(found[1].astype(np.uint8)), rows_of(clips[1], "vggish"))
    labels = np.load(tmp_path / "audioset_balanced_labels.npy", allow_pickle=True)
    assert [list(of) for of in labels] == [[137, 0], [5]]
    both = export_capstone(place.home, tmp_path, [], QUIET)
    assert "audio_sec_UCF_vggish.h5" in names(both)


def test_clips_with_display_names_keep_them_as_labels(place, tmp_path):
    store(place, audioset_clip("set/a", "Speech; Dog"), audioset_clip("set/b", "label 5"))
    export_capstone(place.home, tmp_path, [], QUIET)
    labels = np.load(tmp_path / "audioset_balanced_labels.npy", allow_pickle=True)
    assert [list(of) for of in labels] == [["Speech", "Dog"], [5]]


@pytest.mark.acceptance
@pytest.mark.parametrize("kind", ["clips of AudioSet", "sounds"])
def test_the_vectors_of_a_large_library_are_not_held_in_memory(place, tmp_path, kind):
    if kind == "sounds":
        count, backbone, clip = 150, "yamnet", embedded("set/x", backbones=("yamnet",))
    else:
        count, backbone, clip = 500, "vggish", audioset_clip("set/x", "label 5")
    a_shard = count // 10
    shards = open_shards(place.home)
    for start in range(0, count, a_shard):
        names = [f"set/{n:05}" for n in range(start, start + a_shard)]
        shards.write(
            "set", [replace(clip, video=replace(clip.video, video_id=name)) for name in names]
        )
    tracemalloc.start()
    export_capstone(place.home, tmp_path / "out", [], QUIET)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    kept = 1000 * count  # bytes for what is known of each video beside its vectors
    assert most < count * rows_of(clip, backbone).nbytes + kept
