"""Imports: an export comes back whole, the capstone's files come in, and nothing else does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from vidsim.ingest import pipeline
from vidsim.ingest.exchange.export import export
from vidsim.ingest.exchange.export_capstone import export_capstone
from vidsim.ingest.exchange.importer import import_files
from vidsim.ingest.exchange.layout import attributes_digest
from vidsim.ingest.extract.embed import EmbedOptions
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.models.networks.quantization import dequantize
from vidsim.ingest.models.registry import keep, known_backbones
from vidsim.ingest.shards.home import Place, open_shards, read_notes
from vidsim.ingest.sync.libraries import reindex_all, remove_all, verify_all
from vidsim.ingest.sync.stored_videos import find
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES, Backbone, timm_files
from vidsim.schemas.embedding import EmbeddedVideo
from vidsim.schemas.errors import LibraryError, StoreError, WeightsError
from vidsim.schemas.modality import Modality
from vidsim.schemas.results import ImportReport
from vidsim.schemas.weights import PublishedFiles
from vidsim.search.evaluation.exported import read_exports
from vidsim.search.query import QueryOptions, query
from vidsim.search.report_text import import_text

from ...helpers.embedded_videos import audioset_clip, embedded, store
from ...helpers.ingests import in_step, ingest, write_files

pytestmark = pytest.mark.usefixtures("h5_in_thread")

QUIET = Silent()
ALL = ("labhist", "vid2img", "efficientnet_lite0", "resnet50", "vggish", "resnet34_3d")


def take_in(place: Place, *paths: Path, library: str | None = None) -> ImportReport:
    return import_files(paths, place, QUIET, library)


@pytest.fixture
def other(place, tmp_path) -> Place:
    """A second empty home, to import into."""
    return Place(tmp_path / "other")


@pytest.fixture
def made(place) -> list[EmbeddedVideo]:
    """Two libraries with several segments, silence, files without color, and hard names."""
    videos = [
        embedded("one/snow/a.mp4", backbones=ALL, segments=3, seed=1),
        embedded('one/it\'s "é 名" #1 \\ %s.mp4', backbones=ALL, silent=True, seed=2, label=""),
        embedded("one/strips only.mp4", backbones=("labhist",), segments=2, seed=3),
        embedded("two/c.wav", backbones=("vggish", "yamnet"), seed=4, label="dog; cat"),
        embedded("two/i3d.mp4", backbones=("i3d",), seed=5),
        audioset_clip("two/-4gqARaEJE", "label 0; label 5", seed=6),
    ]
    store(place, *videos)
    return videos


def tell(path: Path, **attributes: str) -> None:
    """Changes attributes of an export's index, as one would that was written so."""
    with h5py.File(path, "r+") as file:
        attrs = file[".vidsim"].attrs
        attrs.update(attributes)
        told = {name: getattr(value, "item", lambda v=value: v)() for name, value in attrs.items()}
        attrs["attributes_sha256"] = attributes_digest(told)


def contents(folder: Path) -> dict[str, dict[str, object]]:
    """Everything that a folder of native exports holds, by file and row id."""
    found: dict[str, dict[str, object]] = {}
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            columns = [file[n].asstr()[:] for n in ("video_ids", "libraries", "labels", "paths")]
            columns += [file[n][:] for n in ("segments", "start_s", "end_s")]
            found[path.name] = {"attributes": (file.attrs["backbone"], *file.attrs["libraries"])}
            for n, key in enumerate(file["ids"].asstr()):
                vector = file["vectors"][n]
                found[path.name][key] = (*(c[n] for c in columns), vector.dtype, vector.tobytes())
    return found


@pytest.mark.acceptance
@pytest.mark.parametrize("layout", [export, export_capstone])
def test_a_round_trip_gives_the_same_native_export(place, other, made, tmp_path, layout):
    export(place.home, tmp_path / "before", [], QUIET)
    files = layout(place.home, tmp_path / "there", [], QUIET)
    report = take_in(other, *files)
    assert [(r.library, r.imported, r.unchanged) for r in report.libraries] == [
        ("one", 3, 0),
        ("two", 3, 0),
    ]
    export(other.home, tmp_path / "after", [], QUIET)
    before, after = contents(tmp_path / "before"), contents(tmp_path / "after")
    assert before.keys() == after.keys()
    for name in before:
        assert before[name] == after[name], name
    for library in ("one", "two"):
        there, here = (open_shards(p.home).catalog(library) for p in (place, other))
        for video_id, entry in there.items():
            assert (entry.video, entry.duration_s, entry.segments, entry.rows) == (
                here[video_id].video,
                here[video_id].duration_s,
                here[video_id].segments,
                here[video_id].rows,
            )


@pytest.mark.parametrize("layout", [export, export_capstone])
def test_what_is_imported_is_in_milvus_and_again_changes_nothing(
    place, other, made, tmp_path, layout
):
    store(place, embedded("lib/a.mp4", segments=2), embedded("lib/b.mp4", seed=1))
    files = layout(place.home, tmp_path / "there", ["lib"], QUIET)
    take_in(other, *files)
    assert in_step(other) == {"labhist": 3, "efficientnet_lite0": 24}
    shards = open_shards(other.home).files("lib")
    for again in (files, files[:1], files[-1:], [f for f in files if "vid2img" in f.name]):
        (found,) = take_in(other, *again).libraries
        assert (found.imported, found.unchanged) == (0, 2)
    assert open_shards(other.home).files("lib") == shards
    assert in_step(other) == {"labhist": 3, "efficientnet_lite0": 24}


@pytest.mark.acceptance
def test_files_of_one_library_join_one_after_another(place, other, made, tmp_path):
    for path in export_capstone(place.home, tmp_path / "there", [], QUIET):
        if path.suffix == ".h5":
            take_in(other, path)
    for library in ("one", "two"):
        there, here = (open_shards(p.home).catalog(library) for p in (place, other))
        assert there.keys() == here.keys()
        for video_id in there:
            # Strips that come before any color backbone are kept as vid2img's rows.
            rows = {n: c for n, c in here[video_id].rows.items() if n != "vid2img"}
            assert rows == {n: c for n, c in there[video_id].rows.items() if n != "vid2img"}
    strips = [
        sum(e.vid2img is not None for e in video.embeddings)
        for video in open_shards(other.home).read(
            [open_shards(other.home).catalog("one")["one/strips only.mp4"]], ["vid2img"]
        )
    ]
    assert strips == [2]


def test_strips_join_a_color_backbone_that_came_without_them(place, other, tmp_path):
    store(place, embedded("lib/a.mp4", segments=2))
    files = export(place.home, tmp_path / "there", [], QUIET)
    take_in(other, tmp_path / "there" / "color_labhist.h5")
    (found,) = take_in(other, *files).libraries
    assert found.imported == 1
    before = tmp_path / "there" / "color_vid2img.h5"
    export(other.home, tmp_path / "after", [], QUIET)
    with h5py.File(before) as there, h5py.File(tmp_path / "after" / before.name) as here:
        assert np.array_equal(there["vectors"], here["vectors"])


def test_imported_videos_need_no_files(place, other, tmp_path, networks):
    folder = write_files(tmp_path / "lib", {"a.mp4": "a", "b.mp4": "b", "c.mp4": "c"})
    ingest(folder, place)
    files = export_capstone(place.home, tmp_path / "there", [], QUIET)
    take_in(other, *files)
    shutil.move(folder, tmp_path / "gone")
    result = query("lib/a.mp4", other, QueryOptions(), QUIET)
    assert {r.video_id for r in result.results} == {"lib/b.mp4", "lib/c.mp4"}
    assert result.notes == []
    networks.clear()
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "gone", tmp_path / "elsewhere" / "lib")
    (tmp_path / "elsewhere" / "lib" / "c.mp4").unlink()
    report = ingest(tmp_path / "elsewhere" / "lib", other)
    assert (report.embedded, report.unchanged, report.missing) == (0, 2, ["lib/c.mp4"])
    assert (report.videos, report.removed, networks) == (3, 0, [])
    in_step(other)


def test_the_same_file_elsewhere_is_the_same_video(place, other, tmp_path):
    store(place, embedded("lib/a.mp4"))
    files = export(place.home, tmp_path / "there", [], QUIET)
    store(other, moved := embedded("lib/a.mp4", backbones=("i3d",)))
    object.__setattr__(moved.video, "path", "/elsewhere/a.mp4")
    shutil.rmtree(other.home)
    store(other, moved)
    take_in(other, *files)
    (entry,) = open_shards(other.home).catalog("lib").values()
    assert entry.video.path == "/elsewhere/a.mp4"
    assert entry.rows == {"i3d": 1, "labhist": 1, "efficientnet_lite0": 8}


def test_another_version_of_a_stored_video_is_refused(place, other, tmp_path):
    store(place, embedded("lib/a.mp4"), embedded("lib/b.mp4"))
    files = export(place.home, tmp_path, [], QUIET)
    store(other, embedded("lib/b.mp4", fingerprint="edited"))
    with pytest.raises(LibraryError, match="lib/b.mp4 is stored in another version.*vidsim remove"):
        take_in(other, *files)
    assert list(open_shards(other.home).catalog("lib")) == ["lib/b.mp4"]


def test_files_of_two_exports_do_not_mix(place, other, tmp_path):
    store(place, embedded("lib/a.mp4"))
    first = export(place.home, tmp_path / "first", [], QUIET)
    store(other, embedded("lib/a.mp4", fingerprint="edited", backbones=("i3d",)))
    second = export(other.home, tmp_path / "second", [], QUIET)
    with pytest.raises(LibraryError, match="another version of lib/a.mp4 than the files before"):
        take_in(Place(tmp_path / "third"), *first, *second)
    assert not (tmp_path / "third").exists()


# --- a network of timm ---


@pytest.fixture
def tiny(place) -> Backbone:
    """A network of timm that was used in one home, as its registry has it."""
    weights = PublishedFiles("timm_tiny_x", timm_files("tiny.x"), "MIT", "timm tiny.x", "its hub")
    tiny = replace(BACKBONES["resnet50"], name="timm_tiny_x", dim=16, weights=weights)
    keep(place.home, tiny)
    dims = {tiny.name: tiny.dim}
    clips = (embedded(f"lib/{n}.mp4", backbones=(tiny.name,), seed=n, dims=dims) for n in range(4))
    store(place, *clips)
    return tiny


@pytest.mark.parametrize("layout", [export, export_capstone])
def test_a_network_of_timm_comes_with_its_rows(place, other, tiny, tmp_path, layout):
    files = layout(place.home, tmp_path / "there", [], QUIET)
    take_in(other, *files)
    assert known_backbones(other.home)[tiny.name] == tiny
    assert len(query("lib/0.mp4", other, QueryOptions(), QUIET).results) == 3
    assert tiny.name not in BACKBONES
    folder = write_files(tmp_path / "more", {"a.mp4": "a"})
    options = EmbedOptions({Modality.FRAME: tiny}, device="cpu", workers=1)
    with pytest.raises(WeightsError, match=r"run 'vidsim models add timm_tiny_x model.safetens"):
        pipeline.ingest(folder, other, options, QUIET)


def test_an_export_of_a_network_of_timm_is_evaluated_anywhere(place, tiny, tmp_path):
    export(place.home, tmp_path, [], QUIET)
    assert read_exports(tmp_path, (), Silent()).modalities[Modality.FRAME].backbone == tiny


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"name": "../../out"}, "is no network of timm"),
        ({"name": "labhist"}, "is no network of timm"),
        ({"dim": 0}, "is no network of timm"),
        ({"modality": "audio"}, "is no network of timm"),
        ({"weights": None}, "is no network of timm"),
        ({"files": []}, "is no network of timm"),
        ({"folder": "../../out"}, "is no network of timm"),
        ({"url": "timm:hf-hub:any/where"}, "is no network of timm"),
        ({"url": "https://any.where"}, "is no network of timm"),
        ({"frames": 3}, "is damaged"),
        ({"dim": 17}, "describes timm_tiny_x otherwise than this home"),
        ({"url": "timm:tiny_x"}, "describes timm_tiny_x otherwise than this home"),
    ],
)
def test_a_description_that_no_registry_wrote_is_refused(
    place, other, tiny, tmp_path, changed, reason
):
    (path,) = export(place.home, tmp_path, [], QUIET)
    if "otherwise" in reason:
        keep(other.home, tiny)
    with h5py.File(path) as file:
        description = json.loads(file[".vidsim"].attrs["description"])
        weights = description["weights"]
        weights["folder"] = changed.pop("folder", weights["folder"])
        weights["files"][0]["url"] = changed.pop("url", weights["files"][0]["url"])
        weights["files"] = changed.pop("files", weights["files"])
    tell(path, description=json.dumps(description | changed))
    known = known_backbones(other.home)
    with pytest.raises(StoreError, match=f"cannot be imported: .*{reason}"):
        take_in(other, path)
    assert known_backbones(other.home) == known
    assert not (other.home / "shards").exists()


# --- files as the capstone wrote them ---


@pytest.fixture
def old(tmp_path) -> Path:
    """Files as the capstone's notebooks wrote them, of three clips of which one has sound."""
    random = np.random.default_rng(0)
    stems = ["v_YoYo_g01_c01", "v_YoYo_g01_c02", "v_Punch_g02_c01"]
    folder = tmp_path / "old"
    folder.mkdir()
    with h5py.File(folder / "color_UCF_vid2img.h5", "w") as file:
        file["color_vid2imgs"] = random.integers(0, 256, (3, 6000)).astype("float64")
        file["vid_labels"] = np.array(stems, dtype="S")
    frames = [random.standard_normal((n, 2048)).astype("float32") for n in (8, 7, 8)]
    with h5py.File(folder / "features_UCF_resnet50.h5", "w") as file:
        for stem, matrix in zip(stems, frames, strict=True):
            file.create_dataset(f"data/UCF101/{stem}.avi", data=matrix)
    with h5py.File(folder / "merged_features_UCF_resnet50.h5", "w") as file:
        names = [f"data/UCF101/{s}.avi" for s, m in zip(stems, frames, strict=True) for _ in m]
        file.create_dataset("feature_vectors", data=np.vstack(frames))
        file.create_dataset("feature_labels", data=np.array(names, dtype="S"))
    with h5py.File(folder / "audio_sec_UCF_vggish.h5", "w") as file:
        levels = random.integers(0, 256, (6, 128)).astype("float32")
        file.create_dataset("feature_vectors", data=levels)
        label = "data/audio/v_YoYo_g01_c01.npy"
        file.create_dataset("feature_labels", data=np.array([label] * 6, dtype="S"))
    with h5py.File(folder / "cnn3d_UCF_features.h5", "w") as file:
        file["feature_vectors"] = random.standard_normal((3, 512)).astype("float32")
        file["vid_labels"] = np.array([f"{s}.avi" for s in stems], dtype="S")
    return folder


def test_the_capstones_own_files_join_by_the_clips_name(place, old):
    report = take_in(place, *sorted(old.glob("*.h5")), library="ucf101")
    (found,) = report.libraries
    assert (found.videos, found.imported, found.segments) == (3, 3, 3)
    assert found.rows == {"vid2img": 3, "resnet50": 23, "vggish": 6, "resnet34_3d": 3}
    catalog = open_shards(place.home).catalog("ucf101")
    assert {i: e.video.label for i, e in catalog.items()} == {
        "ucf101/v_YoYo_g01_c01": "YoYo",
        "ucf101/v_YoYo_g01_c02": "YoYo",
        "ucf101/v_Punch_g02_c01": "Punch",
    }
    assert "vggish" not in catalog["ucf101/v_YoYo_g01_c02"].rows
    entry = catalog["ucf101/v_YoYo_g01_c01"]
    ((part,),) = [v.embeddings for v in open_shards(place.home).read([entry])]
    with h5py.File(old / "audio_sec_UCF_vggish.h5") as file:
        levels = file["feature_vectors"][:].astype(np.uint8)
    assert np.array_equal(part.rows["vggish"].vectors, dequantize(levels))
    assert np.allclose(part.rows["vggish"].end_s, 0.96 * np.arange(1, 7))
    with h5py.File(old / "color_UCF_vid2img.h5") as file:
        pixels = file["color_vid2imgs"][0]
    assert np.array_equal(part.vid2img.reshape(-1), pixels)
    assert np.allclose(part.rows["vid2img"].vectors[0], pixels / 255)
    with h5py.File(old / "features_UCF_resnet50.h5") as file:
        assert np.array_equal(part.rows["resnet50"].vectors, file["data/UCF101/v_YoYo_g01_c01.avi"])
    result = query("ucf101/v_YoYo_g01_c01", place, QueryOptions(), QUIET)
    assert {r.video_id for r in result.results} == set(catalog) - {"ucf101/v_YoYo_g01_c01"}
    (again,) = take_in(place, old / "cnn3d_UCF_features.h5", library="ucf101").libraries
    assert (again.imported, again.unchanged) == (0, 3)


def test_the_capstones_own_files_need_a_librarys_name(place, old):
    with pytest.raises(LibraryError, match="does not say which library.*--library"):
        take_in(place, old / "cnn3d_UCF_features.h5")
    with pytest.raises(LibraryError, match="cannot be a library's name"):
        take_in(place, old / "cnn3d_UCF_features.h5", library="../x")


@pytest.mark.parametrize("lists", [[[137, 0], [5]], [[137, 0], [5, 6]]])
def test_the_capstones_own_audioset_files_are_read_with_their_labels(place, tmp_path, lists):
    levels = np.random.default_rng(0).integers(0, 256, (2, 10, 128))
    with h5py.File(tmp_path / "audioset_balanced_features_vggish.h5", "w") as file:
        file.create_dataset("audio_embeddings", data=levels.astype("float64"))
    ragged = np.empty(2, object)
    ragged[:] = [np.array(of) for of in lists]
    same = len(lists[0]) == len(lists[1])
    np.save(tmp_path / "audioset_balanced_labels.npy", np.array(lists) if same else ragged)
    take_in(place, *tmp_path.glob("audioset*"), library="audioset")
    catalog = open_shards(place.home).catalog("audioset")
    assert {i: e.video.label for i, e in catalog.items()} == {
        f"audioset/{n:06d}": "; ".join(f"label {m}" for m in of) for n, of in enumerate(lists)
    }
    second = open_shards(place.home).read([catalog["audioset/000001"]])
    ((part,),) = [v.embeddings for v in second]
    assert np.array_equal(part.rows["vggish"].vectors, dequantize(levels[1].astype(np.uint8)))
    assert list(part.rows["vggish"].start_s) == list(range(10))


OLD = {
    "color_UCF_vid2img.h5": "color_vid2imgs",
    "merged_features_UCF_resnet50.h5": "feature_vectors",
    "features_UCF_resnet50.h5": "data/UCF101/v_Punch_g02_c01.avi",
    "audio_sec_UCF_vggish.h5": "feature_vectors",
    "cnn3d_UCF_features.h5": "feature_vectors",
}


def other_number(data: np.ndarray) -> np.ndarray:
    data[-1, 0] = (data[-1, 0] + 1) % 256
    return data


@pytest.mark.parametrize("name", OLD)
def test_the_same_names_with_other_rows_are_refused(place, old, name):
    files = sorted(old.glob("*.h5"))
    take_in(place, *files, library="ucf101")
    shards = open_shards(place.home).files("ucf101")
    for again in (files, [old / name]):
        (found,) = take_in(place, *again, library="ucf101").libraries
        assert found.imported == 0
    rewrite(OLD[name], other_number)(old / name)
    with pytest.raises(LibraryError, match=f"ucf101/v_.* other rows of .* than .*{name} has; run"):
        take_in(place, old / name, library="ucf101")
    assert open_shards(place.home).files("ucf101") == shards
    (found,) = take_in(place, old / name, library="second").libraries
    assert found.imported > 0


def test_one_row_more_is_another_content_and_the_refusal_names_the_way_out(place, old):
    path = old / "features_UCF_resnet50.h5"
    take_in(place, path, library="ucf101")
    rewrite("data/UCF101/v_YoYo_g01_c02.avi", lambda data: np.vstack([data, data[-1:]]))(path)
    with pytest.raises(LibraryError, match="vidsim remove ucf101/v_YoYo_g01_c02"):
        take_in(place, path, library="ucf101")
    remove_all(place, find(place.home, ["ucf101/v_YoYo_g01_c02"]))
    (found,) = take_in(place, path, library="ucf101").libraries
    assert (found.imported, found.unchanged, found.rows) == (1, 2, {"resnet50": 24})


def test_files_that_disagree_about_rows_are_not_mixed(place, old):
    rewrite("feature_vectors", other_number)(old / "merged_features_UCF_resnet50.h5")
    with pytest.raises(LibraryError, match="another version of ucf101/v_Punch_g02_c01 than the"):
        take_in(place, *sorted(old.glob("*.h5")), library="ucf101")
    assert not place.home.exists()


@pytest.mark.parametrize("layout", [export, export_capstone])
def test_an_export_of_old_files_is_known_by_its_rows(place, other, old, tmp_path, layout):
    take_in(place, *sorted(old.glob("*.h5")), library="ucf101")
    files = layout(place.home, tmp_path / "there", [], QUIET)
    for home in (place, other, other):
        (found,) = take_in(home, *files).libraries
    assert (found.imported, found.unchanged) == (0, 3)
    (path,) = (f for f in files if f.name in ("motion_resnet34_3d.h5", "cnn3d_UCF_features.h5"))
    name = "vectors" if layout is export else "feature_vectors"
    rewrite(name, other_number)(path)
    with pytest.raises(LibraryError, match="with other rows of resnet34_3d"):
        take_in(other, path)


@pytest.mark.parametrize("differs", ["rows", "label"])
def test_a_second_audioset_file_with_other_clips_is_refused(place, tmp_path, differs):
    features = []
    for n in range(2):
        folder = tmp_path / str(n)
        folder.mkdir()
        features.append(folder / "audioset_balanced_features_vggish.h5")
        with h5py.File(features[n], "w") as file:
            file["audio_embeddings"] = np.full((1, 10, 128), float(n and differs == "rows"))
        np.save(folder / "audioset_balanced_labels.npy", [[n if differs == "label" else 0]])
    take_in(place, features[0], library="set")
    (again,) = take_in(place, features[0], library="set").libraries
    assert (again.imported, again.unchanged) == (0, 1)
    with pytest.raises(LibraryError, match="set/000000 is stored in another version"):
        take_in(place, features[1], library="set")


def test_labels_that_would_run_code_are_refused(place, tmp_path):
    with h5py.File(tmp_path / "audioset_balanced_features_vggish.h5", "w") as file:
        file["audio_embeddings"] = np.zeros((1, 10, 128))
    evil = np.empty(1, object)
    evil[0] = Path("x")
    np.save(tmp_path / "audioset_balanced_labels.npy", evil)
    with pytest.raises(StoreError, match="holds no lists of labels.*pathlib"):
        take_in(place, tmp_path / "audioset_balanced_features_vggish.h5", library="set")


# --- what is refused, with one sentence and nothing kept ---


def rewrite(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            data = file[name][:]
            del file[name]
            file[name] = change(data)

    return damage


def with_nan(data: np.ndarray) -> np.ndarray:
    data[-1, 7] = np.nan
    return data


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])


def rename(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.move("feature_vectors", "vectors_of_features")


BAD = {
    "truncated": (truncate, "no HDF5 file that can be read.*truncated"),
    "no HDF5": (lambda path: path.write_text("hello"), "no HDF5 file that can be read"),
    "wrong dataset name": (rename, "neither a dataset|none of the datasets"),
    "wrong dimension": (
        rewrite("feature_vectors", lambda data: data[:, :100]),
        r"\(\d+, 100\).*(512|2048)",
    ),
    "too few rows": (rewrite("feature_vectors", lambda data: data[:-1]), r"\(\d+, \d+\), not \("),
    "wrong dtype": (
        rewrite("feature_vectors", lambda data: data.astype("S8")),
        "not an array of numbers",
    ),
    "NaN": (rewrite("feature_vectors", with_nan), "holds NaN or infinity"),
    "infinity": (
        rewrite("feature_vectors", lambda data: np.full_like(data, np.inf)),
        "NaN or infinity",
    ),
}


def without_last(data: np.ndarray) -> np.ndarray:
    return data[:-1]


BAD_INDEX = {
    "too few starts": (rewrite(".vidsim/rows/start_s", without_last), "without a start or end"),
    "too few ends": (rewrite(".vidsim/rows/end_s", without_last), "without a start or end"),
    "an endless row": (
        rewrite(".vidsim/rows/end_s", lambda data: np.full_like(data, np.inf)),
        "without a start or end",
    ),
    "labels of integers": (
        rewrite(".vidsim/videos/label", lambda data: np.arange(len(data))),
        "no HDF5 file that can be read",
    ),
}


@pytest.mark.parametrize("damage", BAD_INDEX)
def test_a_damaged_index_is_refused_with_one_sentence(place, other, tmp_path, damage):
    store(place, embedded("lib/a.mp4", backbones=("vggish",)))
    (path,) = export(place.home, tmp_path, [], QUIET)
    change, message = BAD_INDEX[damage]
    change(path)
    with pytest.raises(StoreError, match=message) as error:
        take_in(other, path)
    assert "\n" not in str(error.value)
    assert not other.home.exists()


@pytest.mark.parametrize("damage", BAD)
@pytest.mark.parametrize("whose", ["ours", "the capstone's"])
@pytest.mark.parametrize("file", ["cnn3d_UCF_features.h5", "merged_features_UCF_resnet50.h5"])
def test_bad_files_are_refused_and_nothing_is_kept(
    place, other, old, tmp_path, damage, whose, file
):
    folder = old
    if whose == "ours":
        folder = tmp_path / "ours"
        store(place, embedded("ucf/a.mp4", backbones=ALL), embedded("ucf/b.mp4", backbones=ALL))
        export_capstone(place.home, folder, [], QUIET)
    change, message = BAD[damage]
    change(folder / file)
    good = folder / "color_UCF_vid2img.h5"
    with pytest.raises(StoreError, match=message) as error:
        take_in(other, good, folder / file, library="ucf")
    assert str(folder / file) in str(error.value)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)
    assert not other.home.exists()


@pytest.mark.parametrize("value", [0.5, 256, -1])
def test_sounds_that_are_not_quantised_are_refused(place, old, value):
    path = old / "audio_sec_UCF_vggish.h5"
    rewrite("feature_vectors", lambda data: np.full_like(data, value))(path)
    with pytest.raises(StoreError, match="holds other numbers than 0 to 255"):
        take_in(place, path, library="ucf")


def test_other_weights_are_refused(place, other, tmp_path):
    store(place, embedded("lib/a.mp4"))
    export(place.home, tmp_path, [], QUIET)
    tell(tmp_path / "frame_efficientnet_lite0.h5", weights_sha256="0" * 64)
    with pytest.raises(StoreError, match="other weights"):
        take_in(other, tmp_path / "frame_efficientnet_lite0.h5")


def exported_with(weights: str, video_id: str, folder: Path) -> Path:
    """A native export of one video by labhist, which says that it had `weights`."""
    home = Place(folder / "home")
    store(home, embedded(video_id, backbones=("labhist",)))
    export(home.home, folder, [], QUIET)
    tell(folder / "color_labhist.h5", weights_sha256=weights)
    return folder / "color_labhist.h5"


def test_each_library_keeps_the_hash_of_its_own_weights(other, tmp_path):
    one = exported_with("a" * 64, "one/a.mp4", tmp_path / "1")
    two = exported_with("b" * 64, "two/a.mp4", tmp_path / "2")
    take_in(other, one, two)
    shards = open_shards(other.home)
    assert shards.weights("one", "labhist") == "a" * 64
    assert shards.weights("two", "labhist") == "b" * 64


def test_two_weights_of_one_backbone_do_not_mix_in_a_library(other, tmp_path):
    first = exported_with("a" * 64, "lib/a.mp4", tmp_path / "1")
    second = exported_with("b" * 64, "lib/b.mp4", tmp_path / "2")
    with pytest.raises(LibraryError, match="other weights of labhist than the files before"):
        take_in(other, first, second)
    assert not other.home.exists()


def test_rows_of_other_weights_than_the_stored_ones_are_refused(other, tmp_path):
    first = exported_with("a" * 64, "lib/a.mp4", tmp_path / "1")
    second = exported_with("b" * 64, "lib/b.mp4", tmp_path / "2")
    take_in(other, first)
    with pytest.raises(LibraryError, match="lib is stored .* other weights of labhist .*remove"):
        take_in(other, second)
    for _ in range(2):
        assert read_notes(other.home)["lib"].weights == {"labhist": "a" * 64}
        (other.home / "counts" / "lib.json").unlink()
        reindex_all(other, ["lib"], QUIET)
    assert in_step(other) == {"labhist": 1}


@pytest.mark.parametrize("library", ["../../out", ".hidden", ""])
def test_a_file_cannot_choose_where_shards_lie(place, other, tmp_path, library):
    store(place, embedded("lib/a.mp4", backbones=("i3d",)))
    (path,) = export(place.home, tmp_path, [], QUIET)
    with h5py.File(path, "r+") as file:
        file[".vidsim/videos/library"][0] = library
        file[".vidsim/videos/video_id"][0] = f"{library}/a.mp4"
    with pytest.raises(LibraryError, match="cannot be a library's name"):
        take_in(other, path)


def test_a_missing_file_is_named(place, tmp_path):
    with pytest.raises(LibraryError, match="There is no file .*none.h5"):
        take_in(place, tmp_path / "none.h5")


def test_a_full_disk_or_a_kill_while_importing_costs_nothing(place, other, tmp_path, monkeypatch):
    store(place, *(embedded(f"lib/{n}.mp4", seed=n, segments=2) for n in range(6)))
    files = export(place.home, tmp_path, [], QUIET)
    monkeypatch.setattr("vidsim.ingest.sync.writer._FLUSH_SEGMENTS", 4)
    with monkeypatch.context() as broken:

        def full(handle: int) -> None:
            raise OSError(28, "No space left on device")

        broken.setattr("os.fsync", full)
        with pytest.raises(StoreError, match="No space left"):
            take_in(other, *files)
    assert open_shards(other.home).libraries() == []
    (found,) = take_in(other, *files).libraries
    assert (found.imported, found.videos) == (6, 6)
    in_step(other)


def test_the_report_names_libraries_and_backbones(place, old):
    report = take_in(place, *sorted(old.glob("*.h5")), library="ucf101")
    lines = [*import_text(report)]
    assert lines[0] == "ucf101: 3 imported, 0 unchanged; 3 videos, 3 segments"
    assert "    resnet50            23 rows" in lines
    assert json.loads(report.model_dump_json())["libraries"][0]["rows"]["vggish"] == 6
    with open_store(place) as milvus:
        assert {b.name for b in milvus.backbones()} == {
            "vid2img",
            "resnet50",
            "vggish",
            "resnet34_3d",
        }


@pytest.mark.acceptance
@pytest.mark.parametrize("together", [True, False])
def test_what_a_lost_shard_held_comes_back_by_imports(place, tmp_path, together):
    videos = [embedded(f"lib/{n}.mp4", seed=n) for n in range(6)]
    store(place, *videos[:3])
    store(place, *videos[3:])
    reindex_all(place, [], QUIET)
    files = export(place.home, tmp_path / "export", [], QUIET)
    open_shards(place.home).files("lib")[0].unlink()
    for few in [files] if together else [[path] for path in files]:
        take_in(place, *few)
    assert "000001.h5 is missing" in open_shards(place.home).problems("lib")[0]
    report = verify_all(place, [], "all", QUIET, repair=True, give_up=True)
    assert report.notes == ["The shards 000001.h5 of lib are given up."]
    assert report.damage == open_shards(place.home).problems("lib") == []
    assert all(c.wrong == 0 for c in report.comparisons)
    assert read_notes(place.home)["lib"].counts["efficientnet_lite0"] == {"rows": 48, "segments": 6}


@pytest.mark.acceptance
def test_an_import_of_others_leaves_a_lost_shard_missing_and_milvus_its_rows(place, tmp_path):
    store(place, *(embedded(f"lib/{n}.mp4", seed=n) for n in range(3)))
    store(place, *(embedded(f"lib/{n}.mp4", seed=n) for n in range(3, 5)))
    reindex_all(place, [], QUIET)
    other = Place(tmp_path / "elsewhere")
    store(other, *(embedded(f"lib/{n}.mp4", seed=n) for n in range(5, 9)))
    open_shards(place.home).files("lib")[1].unlink()
    take_in(place, *export(other.home, tmp_path / "export", [], QUIET))
    reindex_all(place, [], QUIET)
    assert "000002.h5 is missing" in open_shards(place.home).problems("lib")[0]
    with open_store(place) as milvus:
        assert milvus.count(BACKBONES["labhist"]) == 9, "the last copy"
