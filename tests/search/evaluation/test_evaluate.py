"""Evaluation from exports: as query ranks, the same again, and no figure that is not clean."""

from __future__ import annotations

import csv
import io
import os
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter
from sklearn.neighbors import NearestNeighbors

from vidsim.ingest.exchange.export import export
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards.home import Home, Place, open_shards
from vidsim.ingest.system.checked_json import write_checked
from vidsim.schemas.backbones import BACKBONES, Backbone
from vidsim.schemas.embedding import EmbeddedVideo
from vidsim.schemas.errors import LibraryError, ModelError, StoreError
from vidsim.schemas.evaluation import Estimate, EvaluationReport, TunedWeights
from vidsim.schemas.modality import Modality
from vidsim.search.evaluation.confusions import confusions
from vidsim.search.evaluation.evaluate import keep_tuned
from vidsim.search.evaluation.exported import read_exports, yardstick_of
from vidsim.search.evaluation.plots import plot_confusions
from vidsim.search.evaluation.protocols import leave_one_out
from vidsim.search.evaluation.ranking import (
    Classes,
    Predictions,
    blocks,
    classes_of,
    nearest_rows,
    rank_all,
    single,
)
from vidsim.search.evaluation.report import csv_lines, new_folder, text_lines, write_files
from vidsim.search.evaluation.tuning import tune
from vidsim.search.fusion import WEIGHTS
from vidsim.search.likeness import average, likeness
from vidsim.search.query import QueryOptions, query
from vidsim.search.tuned import tuned_path

from ...helpers.embedded_videos import embedded
from ...helpers.evaluations import ALL, QUIET, UNEQUAL, figure, near, run, videos
from ...helpers.printed import printed

pytestmark = pytest.mark.usefixtures("h5_in_thread")


def keep(place: Place, made: list[EmbeddedVideo]) -> None:
    shards = open_shards(place.home)
    shards.write("lib", made)
    with open_store(place) as store:
        for name in ALL:
            store.upsert(BACKBONES[name], made)
            store.flush(BACKBONES[name])
    Home(place).write_note("lib", shards.catalog("lib"))


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """An export of the made library."""
    home = tmp_path_factory.mktemp("exported")
    open_shards(home / "home").write("lib", videos())
    export(home / "home", home / "export", [], QUIET)
    return home / "export"


# --- as query ranks


@pytest.mark.acceptance
def test_the_fused_ranking_is_that_of_query(place, tmp_path):
    keep(place, videos(16))
    export(place.home, tmp_path / "export", [], QUIET)
    exported = read_exports(tmp_path / "export", (), QUIET)
    ids = exported.ids
    singles = [single(m.value, rows, ids) for m, rows in exported.modalities.items()]
    measured = {m: yardstick_of(rows, {"lib": ids}) for m, rows in exported.modalities.items()}
    for block, scores in blocks(singles, leave_one_out(ids), np.arange(len(ids))):
        odds = {m: of.log_odds(scores[m.value]) for m, of in measured.items()}
        fused = average(odds, WEIGHTS["calibrated"])
        for q, found in zip(block, fused, strict=True):
            answer = query(ids[q], place, QueryOptions(k=1000), QUIET)
            order = np.argsort(-found, kind="stable")[: len(ids) - 1]
            assert [r.video_id for r in answer.results] == [ids[i] for i in order]
            alike = [r.likeness for r in answer.results]
            assert alike == pytest.approx(likeness(found[order]), rel=1e-4)


def test_a_silent_video_asks_by_no_sound_but_is_asked_fused(exports):
    report = run(exports).report
    silent = sum(i % 5 == 0 for i in range(24))
    assert figure(report, "leave-one-out", "audio").queries == 24 - silent
    assert figure(report, "leave-one-out", "fused").queries == 24


# --- figures


def test_figures_repeat_and_the_csv_adds_up(exports):
    protocols = ("leave-one-out", "split", "group", "capstone-all", "capstone-split")
    first, again = (run(exports, *protocols, color=("l2", "ssim")) for _ in range(2))
    assert first.report == again.report
    lines = list(csv.DictReader(io.StringIO("".join(csv_lines(first)))))
    for f in first.report.figures:
        mine = [
            line
            for line in lines
            if (line["protocol"], line["configuration"]) == (f.protocol, f.configuration)
        ]
        assert len(mine) == f.queries
        by_class: dict[str, list[int]] = {}
        for line in mine:
            by_class.setdefault(line["label"], []).append(int(line["correct"]))
        assert np.mean([np.mean(c) for c in by_class.values()]) == pytest.approx(f.accuracy.value)
        assert f.accuracy.low <= f.accuracy.value <= f.accuracy.high
        if f.leaky:
            assert (f.recall, f.mean_average_precision) == ({}, None)
            continue
        precision = np.mean([float(line["average_precision"]) for line in mine])
        assert precision == pytest.approx(f.mean_average_precision.value, abs=1e-5)
        for n, recall in f.recall.items():
            hits = [0 < int(line["first_hit"]) <= n for line in mine]
            assert np.mean(hits) == pytest.approx(recall.value)


def test_clean_protocols_never_name_the_query_and_leaky_ones_do(exports):
    evaluation = run(exports, "leave-one-out", "split", "group", "capstone-all", "capstone-split")
    own: dict[str, int] = {}
    for said in evaluation.predictions:
        for query_id, nearest in zip(said.queries, said.nearest, strict=True):
            own.setdefault(said.protocol, 0)
            own[said.protocol] += query_id.split("#")[0] == nearest
            if said.protocol == "group":
                assert query_id[:-8] != nearest[:-8]
    assert own["leave-one-out"] == own["split"] == own["group"] == 0
    assert own["capstone-split"] > 0
    rows = sum(len(p.videos) for p in evaluation.predictions if p.protocol == "capstone-all")
    assert own["capstone-all"] == rows
    text = "\n".join(printed(text_lines(evaluation.report)))
    assert text.count("LEAKY") == 2


def test_the_leaky_figure_flatters_vectors_that_mean_nothing(tmp_path):
    made = [embedded(f"lib/{'ab'[i % 2]}/{i}.mp4", seed=i, label="ab"[i % 2]) for i in range(40)]
    # Frames of a video are alike; videos of a class are not.
    made = [near(v, v, 0.1) for v in made]
    open_shards(tmp_path / "home").write("lib", made)
    export(tmp_path / "home", tmp_path / "export", [], QUIET)
    report = run(tmp_path / "export", "leave-one-out", "capstone-all", "capstone-split").report
    assert figure(report, "capstone-all", "frame").accuracy.value == 1
    assert figure(report, "capstone-split", "frame").accuracy.value > 0.95
    assert figure(report, "leave-one-out", "frame").accuracy.value < 0.75


def test_sounds_are_evaluated_by_sound_and_by_their_first_label(tmp_path):
    sounds = []
    for i in range(6):
        label = f"{('rain', 'dog')[i % 2]}; class {i}"
        made = embedded(f"lib/{i}.ogg", backbones=("yamnet",), seed=i, label=label)
        center = embedded("x/x", backbones=("yamnet",), seed=1000 + i % 2)
        sounds.append(replace(near(made, center, 0.5), backbones=frozenset(ALL)))
    open_shards(tmp_path / "home").write("lib", sounds)
    export(tmp_path / "home", tmp_path / "export", [], QUIET)
    report = run(tmp_path / "export", "leave-one-out", "capstone-all").report
    assert {f.configuration for f in report.figures} == {"audio"}  # nothing to be fused with
    assert figure(report, "leave-one-out", "audio").classes == 2
    assert figure(report, "leave-one-out", "audio").recall[1].value == 1


def test_configurations_are_tested_against_fused_or_as_asked(exports):
    report = run(exports, color=("labhist",)).report
    assert {(t.first, t.second) for t in report.comparisons} == {
        (name, "fused") for name in ("color", "frame", "audio", "motion", "color:labhist")
    }
    (asked,) = run(
        exports, color=("labhist",), compare=(("color", "color:labhist"),)
    ).report.comparisons
    assert (asked.accuracy.value, asked.accuracy_p, asked.mean_average_precision_p) == (0, 1, 1)
    with pytest.raises(ModelError, match="no configuration 'smell'"):
        run(exports, compare=(("smell", "fused"),))


def test_what_is_not_measured_is_told(exports):
    report = run(exports, "leave-one-out", "capstone-all", color=("l2", "mse", "ssim")).report
    assert report.notes == [
        "capstone-all: color:mse and color:ssim not measured; rows are compared by L2 alone."
    ]
    with pytest.raises(ModelError, match="not tested under leaky protocols; add --protocol"):
        run(exports, "capstone-all", compare=(("frame", "fused"),))


@pytest.mark.parametrize("backbones", [ALL, ("labhist",)])
def test_who_asks_nothing_is_told_of_every_protocol(tmp_path, backbones):
    labels = ["snow"] * 4 + ["rain"] * 4 + ["alone"] + [""] * 2
    made = [
        embedded(f"lib/{label}/v_{label}_g01_c{i:02}.avi", backbones=backbones, seed=i, label=label)
        for i, label in enumerate(labels)
    ]
    # Only one class has clips of two groups.
    made[0] = embedded("lib/snow/v_snow_g02_c00.avi", backbones=backbones, label="snow")
    open_shards(tmp_path / "home").write("lib", made)
    export(tmp_path / "home", tmp_path / "export", [], QUIET)
    report = run(tmp_path / "export", "leave-one-out", "group").report
    assert report.notes[1:] == [
        "Videos at the top of their library are unlabelled and not used as queries (2).",
        "leave-one-out: videos without another of their class are not queries (1).",
        "group: videos without another of their class are not queries (5).",
    ]


# --- what is written


@pytest.mark.acceptance
def test_the_report_shows_everything(exports, tmp_path):
    evaluation = run(exports, "leave-one-out", "capstone-all")
    files = write_files(evaluation, tmp_path / "out", QUIET)
    assert sorted(files) == sorted((tmp_path / "out").iterdir())
    page = (tmp_path / "out" / "report.md").read_text()
    for said in evaluation.predictions:
        assert f"| {said.configuration} |" in page
    for path in files:
        if path.suffix == ".png":
            assert f"({path.name})" in page
            with Image.open(path) as picture:
                assert picture.format == "PNG"
    assert "## capstone-all (leaky)" in page
    with (tmp_path / "out" / "figures.csv").open(newline="") as file:
        figures = list(csv.DictReader(file))
    assert {f["configuration"] for f in figures} == {
        p.configuration for p in evaluation.predictions
    }
    assert all(float(f["low"]) <= float(f["value"]) <= float(f["high"]) for f in figures)
    worst = evaluation.report.confusions[0]
    assert f"{worst.label} -> {worst.predicted} {100 * worst.share:.1f} %" in page


@pytest.mark.acceptance
def test_101_classes_have_room_for_their_names(tmp_path):
    names = tuple(f"WalkingWithDog{i}" for i in range(101))
    plot_confusions(np.eye(101), np.full(101, 5), names, "title", tmp_path / "big.png")
    plot_confusions(np.eye(4), np.arange(4), names[:4], "$title", tmp_path / "small.png")
    with Image.open(tmp_path / "big.png") as big, Image.open(tmp_path / "small.png") as small:
        assert big.format == "PNG"
        assert big.height > 101 * 14  # pixels a name of 7 points (12 at this resolution) takes
        assert small.height < big.height


@pytest.mark.acceptance
def test_527_classes_make_a_picture_of_bounded_size(tmp_path):
    names = tuple(f"class {i}" for i in range(527))
    plot_confusions(np.eye(527), np.full(527, 5), names, "title", tmp_path / "huge.png")
    with Image.open(tmp_path / "huge.png") as huge:
        assert 527 < huge.height < 4000


def test_figures_outlast_a_picture_that_fails(exports, tmp_path, monkeypatch):
    def fails(*_):
        raise MemoryError

    monkeypatch.setattr("vidsim.search.evaluation.report.plot_confusions", fails)
    with pytest.raises(MemoryError):
        write_files(run(exports), tmp_path, QUIET)
    written = {p.name for p in tmp_path.iterdir()}
    assert written == {"report.md", "figures.csv", "predictions.csv"}


def test_the_row_of_a_class_that_asked_nothing_is_grey(tmp_path):
    plot_confusions(np.eye(3), np.array([4, 0, 4]), ("a", "b", "c"), "title", tmp_path / "p.png")
    with Image.open(tmp_path / "p.png") as picture:
        assert (211, 211, 211) in {color for _, color in picture.convert("RGB").getcolors(1 << 16)}


def test_each_report_has_a_folder_of_its_own(tmp_path):
    first = new_folder(tmp_path)
    first.mkdir()
    second = new_folder(tmp_path)
    assert first.parent == second.parent == tmp_path
    assert first != second


def test_the_share_of_a_confusion_is_of_all_queries_of_the_class():
    said = Predictions(
        protocol="leave-one-out",
        configuration="frame",
        queries=("a", "b", "c", "d"),
        videos=np.arange(4),
        predicted=np.array([1, 0, -1, -1]),
        nearest=("b", "a", "e", "e"),
        first_hit=np.array([2, 1, 2, 2]),
        precision=np.ones(4),
    )
    classes = Classes(("rain", "snow"), np.array([0, 0, 0, 0, -1]))
    (found,) = confusions(said, classes)
    assert (found.label, found.predicted, found.queries, found.share) == ("rain", "snow", 1, 0.25)


@pytest.mark.acceptance
def test_nothing_heavy_is_loaded(exports, tmp_path):
    code = (
        "import sys; from vidsim.cli import main\n"
        "try: main()\n"
        "finally: print({'torch', 'tensorflow', 'pymilvus', 'av', 'cv2'} & set(sys.modules))"
    )
    words = ["evaluate", str(exports), "--out", str(tmp_path / "out"), "--protocol", "split"]
    words += ["--tune-weights", "--apply", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=os.environ | {"VIDSIM_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report, _, loaded = done.stdout.rstrip().rpartition("\n")
    assert loaded == "set()"
    parsed = EvaluationReport.model_validate_json(report)
    assert len(parsed.files) == len(list((tmp_path / "out").iterdir()))
    assert tuned_path(tmp_path / "home").exists()


# --- weights


def test_weights_are_tuned_on_the_training_part_alone(tmp_path):
    made = videos(40, UNEQUAL)

    def exported(name: str, spoil: bool) -> EvaluationReport:
        ids = sorted(v.video.video_id for v in made)
        (tmp_path / name).mkdir()
        test = set(ids[::3])
        spoiled = [
            replace(
                v,
                embeddings=embedded(
                    v.video.video_id, backbones=ALL, seed=900 + i, segments=len(v.segments)
                ).embeddings,
            )
            if spoil and v.video.video_id in test
            else v
            for i, v in enumerate(made)
        ]
        open_shards(tmp_path / name / "home").write("lib", spoiled)
        export(tmp_path / name / "home", tmp_path / name / "export", [], QUIET)
        lists = {"train": [i for i in ids if i not in test], "test": sorted(test)}
        for part, members in lists.items():
            text = "\n".join(i.removeprefix("lib/") for i in members)
            (tmp_path / name / f"{part}.txt").write_text(text)
        return run(
            tmp_path / name / "export",
            "official",
            tune_weights=True,
            train_list=tmp_path / name / "train.txt",
            test_list=tmp_path / name / "test.txt",
        ).report

    plain, spoiled = exported("plain", False), exported("spoiled", True)
    assert plain.tuned.weights == spoiled.tuned.weights
    assert plain.tuned.training_videos == 26
    assert plain.tuned.weights["motion"] < WEIGHTS["calibrated"][Modality.MOTION]
    assert figure(plain, "official", "fused tuned").queries == 14
    assert figure(plain, "official", "fused") != figure(spoiled, "official", "fused")


def test_tuned_weights_are_better_than_the_default_on_what_they_are_tuned_on(tmp_path):
    open_shards(tmp_path / "home").write("lib", videos(40, UNEQUAL))
    export(tmp_path / "home", tmp_path / "export", [], QUIET)
    exported = read_exports(tmp_path / "export", (), QUIET)
    ids, classes, everyone = exported.ids, classes_of(exported.labels), leave_one_out(exported.ids)
    singles = [single(m.value, rows, ids) for m, rows in exported.modalities.items()]
    measured = {m: yardstick_of(rows, {"lib": ids}) for m, rows in exported.modalities.items()}
    weights = tune(singles, measured, everyone, classes, 0)
    assert weights[Modality.MOTION] == 1 / 8  # the least that is tried
    default = WEIGHTS["calibrated"]
    shares = [of[Modality.AUDIO] / sum(of.values()) for of in (default, weights)]
    assert shares[1] > shares[0]
    fusions = {"default": default, "tuned": weights}
    precision = {
        name: found.precision.mean()
        for name, _, found in rank_all(exported, classes, everyone, singles, fusions, measured, 3)
    }
    assert precision["tuned"] > precision["default"]


def test_query_reads_tuned_weights_and_goes_back(place):
    keep(place, videos(8))
    clip = "lib/rain/v_rain_g00_c01.avi"
    measured = query(clip, place, QueryOptions(), QUIET)
    tuned = TunedWeights(
        weights={"color": 4, "frame": 0.125, "audio": 0.5, "motion": 0.5},
        backbones=dict(zip(("color", "frame", "audio", "motion"), ALL, strict=True)),
        protocol="split",
        training_videos=8,
    )
    keep_tuned(place.home, tuned, apply=True)
    found = query(clip, place, QueryOptions(), QUIET)
    assert "color 4, frame 0.125" in found.notes[-1]
    named = query(
        clip, place, QueryOptions(weights="color=4,frame=0.125,audio=0.5,motion=0.5"), QUIET
    )
    assert found.results == named.results != measured.results
    assert named.notes == []
    assert query(clip, place, QueryOptions(weights="default"), QUIET) == measured
    other = {**tuned.backbones, "frame": "resnet50"}
    keep_tuned(place.home, tuned.model_copy(update={"backbones": other}), apply=True)
    assert query(clip, place, QueryOptions(), QUIET) == measured
    tuned_path(place.home).write_text("{")
    with pytest.raises(StoreError, match="is damaged"):
        query(clip, place, QueryOptions(), QUIET)
    tuned_path(place.home).unlink()
    assert query(clip, place, QueryOptions(), QUIET) == measured


@pytest.mark.parametrize(
    ("low", "apply", "kept"), [(0.01, False, True), (-0.01, False, False), (-0.01, True, True)]
)
def test_weights_are_kept_if_they_are_better_beyond_doubt_or_asked_for(tmp_path, low, apply, kept):
    tuned = TunedWeights(
        weights={"color": 1, "frame": 1},
        backbones={},
        protocol="split",
        training_videos=8,
        gain=Estimate(value=0.02, low=low, high=0.05),
    )
    assert bool(keep_tuned(tmp_path, tuned, apply)) is kept
    assert tuned_path(tmp_path).exists() is kept
    assert not keep_tuned(tmp_path / "other", None, apply=True)


def test_what_tuned_weights_gain_is_measured_on_the_test_part(exports):
    report = run(exports, "split", tune_weights=True).report
    (test,) = [t for t in report.comparisons if t.first == "fused tuned" and t.second == "fused"]
    assert report.tuned.gain == test.mean_average_precision


def test_weights_that_an_earlier_release_tuned_are_not_used(place):
    keep(place, videos(8))
    clip = "lib/rain/v_rain_g00_c01.avi"
    measured = query(clip, place, QueryOptions(), QUIET)
    older = {
        "weights": {"color": 4, "frame": 0.125, "audio": 0.5, "motion": 0.5},
        "backbones": dict(zip(("color", "frame", "audio", "motion"), ALL, strict=True)),
        "protocol": "split",
        "training_videos": 8,
    }
    write_checked(tuned_path(place.home), older)
    found = query(clip, place, QueryOptions(), QUIET)
    assert found.results == measured.results
    assert "tune them again" in found.notes[-1]


# --- bad input


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def copied(exports, folder):
    folder.mkdir()
    for path in exports.glob("*.h5"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def corrupt(path):
    """Spoils the header of a dataset, not that of the file."""
    with h5py.File(path) as file:
        at = h5py.h5o.get_info(file["labels"].id).addr
    found = bytearray(path.read_bytes())
    found[at : at + 64] = b"\xff" * 64
    path.write_bytes(found)


def regroup(path):
    change(path, vectors=None)
    with h5py.File(path, "r+") as file:
        file.create_group("vectors")


def change(path, **datasets):
    with h5py.File(path, "r+") as file:
        for name, values in datasets.items():
            del file[name]
            if values is not None:
                file[name] = values


def unmark(path):
    with h5py.File(path, "r+") as file:
        del file.attrs["format"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (truncate, "is damaged or no HDF5 file"),
        (unmark, "is of another layout"),
        (lambda path: path.write_text("no HDF5"), "is damaged or no HDF5 file"),
        (lambda path: change(path, labels=None), "has no dataset 'labels'"),
        (lambda path: change(path, start_s=[0.0]), "of different length"),
        (lambda path: change(path, segments=0), "of different length"),
        (lambda path: change(path, start_s=["0"] * 32), "'start_s' that is not numbers"),
        (lambda path: change(path, labels=np.zeros(32)), "'labels' that is not text"),
        (regroup, "has no dataset 'vectors'"),
        (corrupt, "is damaged or no HDF5 file"),
        (lambda path: change(path, vectors=np.zeros((24, 5), np.float32)), "vectors of shape"),
        (lambda path: change(path, vectors=np.full((32, 1024), np.nan)), "NaN or infinity"),
    ],
)
def test_a_bad_export_is_one_sentence(exports, tmp_path, spoil, words):
    folder = copied(exports, tmp_path / "export")
    spoil(folder / "motion_i3d.h5")
    with pytest.raises(StoreError, match=words) as caught:
        run(folder)
    assert "motion_i3d.h5" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_files_of_one_backbone_are_both_named(exports, tmp_path):
    folder = copied(exports, tmp_path / "export")
    (folder / "older.h5").write_bytes((folder / "motion_i3d.h5").read_bytes())
    with pytest.raises(StoreError, match="motion_i3d.h5 and .*older.h5 hold the same backbone"):
        run(folder)


def test_strips_may_be_of_videos_that_nothing_else_has(exports, tmp_path):
    folder = copied(exports, tmp_path / "export")
    for path in folder.glob("*.h5"):
        if path.name != "color_vid2img.h5":
            with h5py.File(path) as file:
                ids = file["video_ids"].asstr()[:]
                kept = {n: file[n][:][ids != ids[0]] for n in file if n != ".vidsim"}
            change(path, **kept)
    report = run(folder, color=("mse",)).report
    assert report.videos == 24
    assert figure(report, "leave-one-out", "color:mse").queries == 24
    assert figure(report, "leave-one-out", "motion").queries == 23


def test_labhist_is_compared_beside_strips_whatever_colour_is_fused(exports):
    report = run(exports, color=("labhist", "mse"), overrides=("color=vid2img",)).report
    by_default = run(exports, color=("labhist", "mse")).report
    assert report.backbones["color"] == "vid2img"
    for name in ("color:labhist", "color:mse"):
        assert figure(report, "leave-one-out", name) == figure(by_default, "leave-one-out", name)


@pytest.mark.acceptance
def test_a_network_of_timm_is_evaluated(exports, tmp_path, vidsim_here):
    folder = copied(exports, tmp_path / "export")
    with h5py.File(folder / "frame_efficientnet_lite0.h5", "r+") as file:
        file.attrs["backbone"] = "timm_small_net"
    registered = tmp_path / "home" / "backbones" / "timm_small_net.json"
    registered.parent.mkdir(parents=True)
    like = replace(BACKBONES["efficientnet_lite0"], name="timm_small_net")
    registered.write_bytes(TypeAdapter(Backbone).dump_json(like))
    words = ["evaluate", str(folder), "--json", "--model", "frame=timm:small.net"]
    done = vidsim_here(tmp_path / "home", *words)
    assert done.returncode == 0, done.stderr
    report = EvaluationReport.model_validate_json(done.stdout)
    assert report.backbones["frame"] == "timm_small_net"
    with pytest.raises(StoreError, match="unknown backbone timm_small_net; set VIDSIM_HOME"):
        run(folder)


def test_what_does_not_fit_is_one_sentence(exports, tmp_path):
    with pytest.raises(StoreError, match="holds no exports"):
        run(tmp_path)
    with pytest.raises(ModelError, match="--train-list"):
        run(exports, "official")
    with pytest.raises(ModelError, match="one training part"):
        run(exports, "leave-one-out", tune_weights=True)
    with pytest.raises(ModelError, match="frame=resnet50"):
        run(exports, overrides=("frame=resnet50",))
    (tmp_path / "list.txt").write_text("snow/unknown.avi\n")
    lists = {"train_list": tmp_path / "list.txt", "test_list": tmp_path / "list.txt"}
    with pytest.raises(LibraryError, match="snow/unknown.avi"):
        run(exports, "official", **lists)


# --- size


@pytest.mark.acceptance
def test_a_thousand_videos_are_many_blocks(tmp_path):
    random = np.random.default_rng(0)
    count, classes = 1000, 101
    centers = random.standard_normal((classes, 1280), np.float32)
    own = np.arange(count) % classes
    table = {
        "video_ids": [f"lib/{c}/{i:05}.avi" for i, c in enumerate(own)],
        "labels": [str(c) for c in own],
        "libraries": ["lib"] * count,
    }
    for name, rows in (("efficientnet_lite0", 8), ("i3d", 1)):
        backbone = BACKBONES[name]
        path = tmp_path / f"{backbone.modality}_{name}.h5"
        with h5py.File(path, "w") as file:
            file.attrs.update(format="vidsim-export", backbone=name)
            vectors = np.repeat(centers[own, : backbone.dim], rows, axis=0)
            file["vectors"] = vectors + 6 * random.standard_normal(vectors.shape, np.float32)
            for column, values in table.items():
                file[column] = np.repeat(np.array(values, "S"), rows)
            file["segments"] = np.zeros(count * rows, np.int32)
            file["start_s"] = np.zeros(count * rows, np.float32)
            file["end_s"] = np.ones(count * rows, np.float32)
    report = run(tmp_path, "leave-one-out").report
    fused = figure(report, "leave-one-out", "fused")
    assert (fused.queries, fused.classes) == (count, classes)
    assert fused.recall[1].value > 0.5


def test_rows_that_are_all_but_equal_are_told_apart():
    random = np.random.default_rng(0)
    still = random.standard_normal((1, 64)) + 1e-6 * random.standard_normal((10, 64))
    rows = np.concatenate([still, random.standard_normal((90, 64))]).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    everything, answered = np.ones(100, bool), []
    found = nearest_rows(rows, everything, everything, 3, answered.append)
    assert found[:, 0].tolist() == list(range(100))  # each row is nearest to itself
    exact = NearestNeighbors(n_neighbors=3, algorithm="brute").fit(rows.astype(np.float64))
    assert (found == exact.kneighbors(rows, return_distance=False)).all()
    assert sum(answered) == 100


def test_only_training_rows_are_found():
    rows = np.eye(6, dtype=np.float32)[[0, 0, 1, 1, 2, 2]]
    train = np.array([True, False] * 3)
    found = nearest_rows(rows, ~train, train, 1, lambda _: None)
    assert found.tolist() == [[0], [2], [4]]
