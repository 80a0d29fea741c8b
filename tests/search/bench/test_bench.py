"""Benchmarks: every cell is measured, exact search is exact, and plots are pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_image

from vidsim.ingest.milvus.connection import open_client
from vidsim.ingest.shards.home import Place
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.collections import collection_name
from vidsim.schemas.errors import MediaError, StoreError
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones
from vidsim.search.bench.kmeans import bench_kmeans, inertia
from vidsim.search.bench.knn import QUERIES, bench_knn, recall
from vidsim.search.bench.machine import cpu_paths
from vidsim.search.bench.plots import plot_kmeans, plot_knn
from vidsim.search.bench.query import bench_query, covered_ms
from vidsim.search.bench.results import KmeansBench, KnnBench, QueryBench
from vidsim.search.bench.synthetic import make_videos
from vidsim.search.bench.tables import kmeans_table, knn_table, query_table
from vidsim.search.bench.timing import interleave
from vidsim.search.bench.vectors import clustered, exported
from vidsim.search.search_index import ShardIndex
from vidsim.search.videos import from_embedded, similarities

from ...helpers.milvus_targets import empty_place
from ...helpers.printed import printed

QUIET = Silent()


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "china.png"
    cv2.imwrite(str(path), load_sample_image("china.jpg")[::2, ::2, ::-1])
    return path


@pytest.fixture(scope="module")
def kmeans(picture) -> KmeansBench:
    return bench_kmeans(picture, 1, QUIET, counts=(5, 20))


@pytest.fixture(scope="module")
def knn(tmp_path_factory) -> KnnBench:
    place = Place(tmp_path_factory.mktemp("home"))
    return bench_knn(None, 1500, 16, 1, place, QUIET, neighbours=(3, 10))


def test_every_way_of_kmeans_is_timed_at_every_k(kmeans):
    cells = [(t.method, t.k) for t in kmeans.timings]
    assert cells == [(m, k) for k in (5, 20) for m in ("sklearn", "faiss", "vidsim")]
    assert all(t.ms > 0 for t in kmeans.timings)
    assert all(t.time_ratio == t.inertia_ratio == 1 for t in kmeans.timings if t.method == "faiss")
    assert KmeansBench.model_validate_json(kmeans.model_dump_json()) == kmeans


def test_every_way_of_kmeans_does_about_as_well(kmeans):
    found = {(t.method, t.k): t.inertia for t in kmeans.timings}
    for method in ("sklearn", "faiss", "vidsim"):
        assert found[method, 20] < found[method, 5] / 2
    for k in (5, 20):
        assert found["vidsim", k] < 1.05 * found["sklearn", k]
        assert found["vidsim", k] < 1.05 * found["faiss", k]


def test_inertia_is_that_of_scikit_learn():
    points = np.random.default_rng(0).random((500, 3), np.float32)
    fitted = KMeans(4, n_init=1, random_state=0).fit(points)
    assert inertia(points, fitted.cluster_centers_) == pytest.approx(fitted.inertia_, rel=1e-4)


def test_every_search_is_timed_and_exact_search_is_exact(knn):
    cells = {(t.engine, t.index, t.queries, t.k) for t in knn.timings}
    assert cells == {
        (engine, index, count, k)
        for engine in ("faiss", "milvus")
        for index in ("FLAT", "IVF_FLAT")
        for count in QUERIES
        for k in (3, 10)
    }
    assert len(cells) == len(knn.timings)
    for timing in knn.timings:
        assert timing.ms > 0
        if timing.index == "FLAT":
            assert timing.recall == 1
        elif timing.queries == max(QUERIES):
            assert 0.3 < timing.recall < 1, timing
    assert KnnBench.model_validate_json(knn.model_dump_json()) == knn


def test_recall_is_the_part_that_was_found():
    exact = np.array([[1, 2, 3, 4], [5, 6, -1, -1]])
    assert recall(exact, exact) == 1
    assert recall(np.array([[4, 9, 1, -1], [7, 8, 9, -1]]), exact) == pytest.approx(2 / 6)


def test_tables_have_every_cell(kmeans, knn):
    heading, rule, *rows = [line for line in printed(kmeans_table(kmeans)) if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in rows] == ["5", "20"]
    assert {line.count("|") for line in (heading, rule, *rows)} == {2 + 6}
    heading, rule, *rows = [line for line in printed(knn_table(knn)) if line.startswith("|")]
    assert len(rows) == len(QUERIES) * 2
    assert {line.count("|") for line in (heading, rule, *rows)} == {2 + 1 + 6}


def test_plots_are_pictures(kmeans, knn, tmp_path):
    plot_kmeans(kmeans, tmp_path / "kmeans.png")
    plot_knn(knn, tmp_path / "knn.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["kmeans.png", "knn.png"]
    for path in tmp_path.iterdir():
        assert np.ptp(cv2.imread(str(path))) > 200
    with pytest.raises(StoreError, match="another file"):
        plot_knn(knn, tmp_path / "nowhere" / "knn.png")


def test_the_median_of_runs_in_turn_counts(monkeypatch):
    clock = iter([0, 9, 10, 11, 11, 12, 20, 22, 22, 23, 30, 39, 39, 40])
    monkeypatch.setattr("vidsim.search.bench.timing.time.perf_counter", lambda: next(clock))
    order = []
    tasks = {"a": lambda: order.append("a"), "b": lambda: order.append("b")}
    ms, _ = interleave(tasks, 3, QUIET)
    assert ms == {"a": 2000, "b": 1000}
    assert order == ["a", "b"] * 4


def test_synthetic_vectors_have_neighbours_and_length_1():
    base, queries = clustered(2000, 64, 10)
    assert np.linalg.norm(base, axis=1) == pytest.approx(np.ones(2000), abs=1e-5)
    nearest = (queries @ base.T).max(axis=1)
    assert nearest.min() > 3 / np.sqrt(64)  # far above what chance gives


def test_an_export_is_searched_without_its_queries(tmp_path):
    path = tmp_path / "frame.h5"
    stored = np.random.default_rng(1).integers(0, 256, (300, 4, 5, 3), np.uint8)
    with h5py.File(path, "w") as file:
        file["vectors"] = stored
    base, queries = exported(path, 100)
    assert (base.shape, queries.shape) == ((200, 60), (100, 60))
    assert (queries @ base.T).max() < 0.9999


@pytest.mark.parametrize("content", ["absent", "text", "other", "few", "words", "nan"])
def test_an_unfit_export_ends_in_one_sentence(tmp_path, content):
    path = tmp_path / "x.h5"
    if content == "text":
        path.write_text("no HDF5")
    elif content != "absent":
        stored = {"words": np.full((300, 4), b"a"), "nan": np.full((300, 4), np.nan)}
        with h5py.File(path, "w") as file:
            file["rows" if content == "other" else "vectors"] = stored.get(
                content, np.zeros((3, 4))
            )
    with pytest.raises(StoreError) as caught:
        exported(path, 100)
    assert "; " in str(caught.value)


def test_what_is_no_picture_ends_in_one_sentence(tmp_path):
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(MediaError, match="PNG or JPEG"):
        bench_kmeans(tmp_path / "x.png", 1, QUIET)


# --- a query of a synthetic library ---

BACKBONES_ASKED = tuple(choose_backbones(tuple(Modality)).values())


def ask(place: Place, kept: Path | None = None, videos: int = 60) -> QueryBench:
    return bench_query(videos, 4, BACKBONES_ASKED, place, kept, QUIET)


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("kept") / "home"


@pytest.fixture(scope="module")
def asked(kept) -> QueryBench:
    return ask(Place(kept), kept)


def test_a_query_and_its_parts_are_timed_beside_faiss(asked):
    ms = {t.what: (t.p50_ms, t.p95_ms) for t in asked.timings}
    assert list(ms) == [
        "query", "search", "compare", "fetch", "check", "rest", "faiss segments", "faiss rows"
    ]  # fmt: skip
    assert all(0 < p50 <= p95 for p50, p95 in ms.values())
    parts = ("search", "compare", "fetch", "check", "rest")
    assert all(ms[part][0] < ms["query"][1] for part in parts)
    assert asked.rows == {"labhist": 60, "efficientnet_lite0": 480, "yamnet": 210, "i3d_192": 60}
    assert (asked.videos, asked.queries, asked.notes) == (60, 4, [])
    assert QueryBench.model_validate_json(asked.model_dump_json()) == asked
    heading, rule, *rows = [line for line in printed(query_table(asked)) if line.startswith("|")]
    assert len(rows) == len(ms)
    assert {line.count("|") for line in (heading, rule, *rows)} == {4}


def test_calls_at_the_same_time_are_counted_once():
    assert covered_ms([]) == 0
    assert covered_ms([(3, 4), (0, 2), (1, 1.5), (1, 2.5), (4, 5)]) == pytest.approx(4500)


def test_a_new_clip_is_asked_for_by_a_process_that_stays(kept, asked, make_clip):
    clip = make_clip(times=[n / 25 for n in range(50)], size=(320, 240))
    color = tuple(choose_backbones((Modality.COLOR,)).values())
    own = kept.parent / "color"
    bench = bench_query(20, 4, color, Place(own), own, QUIET, clip)
    (timing,) = [t for t in bench.timings if t.what == "new clip"]
    assert bench.first_clip_s is not None
    assert 0 < timing.p50_ms < 1000 * bench.first_clip_s  # which starts a decoder
    assert query_table(bench)[-1].startswith("The first new clip took")
    assert asked.first_clip_s is None


def test_exact_indexes_find_the_ten_best_of_all_videos(asked):
    assert asked.recall == 1


def test_recall_falls_where_a_search_finds_the_wrong_videos(monkeypatch, kept, asked):
    search = ShardIndex.search
    monkeypatch.setattr(
        ShardIndex, "search", lambda *a, **o: [hits[-8:] for hits in search(*a, **o)]
    )
    assert ask(Place(kept), kept).recall < 0.9


def test_a_kept_library_is_used_again_and_no_other_takes_its_place(kept, asked):
    assert asked.fill_s is not None
    assert ask(Place(kept), kept).fill_s is None
    with pytest.raises(StoreError, match="name an empty folder for --home"):
        ask(Place(kept), kept, videos=61)


def test_a_library_that_is_not_kept_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    assert ask(Place(tmp_path / "home"), videos=20).fill_s is not None
    assert list((tmp_path / "temporary").iterdir()) == []
    assert not (tmp_path / "home").exists()


@pytest.mark.server
def test_a_server_is_asked_in_a_database_of_its_own(request, tmp_path):
    place = empty_place("server", tmp_path / "home", request)
    with open_client(place) as milvus:
        milvus.client.drop_collection(collection_name(BACKBONES_ASKED[0]))
        before = sorted(milvus.client.list_collections()), milvus.client.list_databases()
    found = ask(place, videos=20)
    assert (found.recall, found.notes) == (1, [])
    with open_client(place) as milvus:
        after = sorted(milvus.client.list_collections()), milvus.client.list_databases()
    assert after == before


def test_synthetic_videos_are_the_same_at_every_call_and_look_like_ucf101():
    videos = list(make_videos(140, BACKBONES_ASKED))
    for video, again in zip(videos, make_videos(20, BACKBONES_ASKED)):
        assert video.video == again.video
        for name, rows in video.embeddings[0].rows.items():
            assert np.array_equal(rows.vectors, again.embeddings[0].rows[name].vectors)
            assert rows.vectors.min() >= 0
    ids = [v.video.video_id for v in videos]
    assert len(set(ids)) == 140
    assert ids[6] == "ucf101/Action001/v_Action001_g02_c02.avi"
    assert {v.video.label for v in videos[:132]} == {"Action001"}
    assert videos[132].video.label == "Action002"
    assert [v.row_counts()["yamnet"] for v in videos[:10]] == [7] * 5 + [0] * 5


@pytest.mark.parametrize("name", ["labhist", "vid2img", "efficientnet_lite0", "i3d_192"])
def test_clips_of_one_group_are_most_alike_and_of_one_class_more_than_others(name):
    backbone = BACKBONES[name]
    means = np.concatenate([from_embedded(backbone, v).means for v in make_videos(264, [backbone])])
    pairs = similarities(backbone, means, means)
    group = pairs[:5, :5][~np.eye(5, dtype=bool)]
    assert group.min() > pairs[:5, 5:132].mean() > pairs[:132, 132:].mean()
    assert group.max() < similarities(backbone, means[:1], means[:1]) - 1e-3


def test_a_strip_of_colours_is_what_vid2img_is_compared_by():
    (video,) = make_videos(1, [BACKBONES["vid2img"]])
    (part,) = video.embeddings
    assert part.vid2img.dtype == np.uint8
    assert np.allclose(part.rows["vid2img"].vectors * 255, part.vid2img.reshape(1, -1))


def test_the_ways_of_a_cpu_are_named(monkeypatch):
    monkeypatch.setenv("VIDSIM_CPU_PATH", "float32")
    backbones = [BACKBONES[name] for name in ("labhist", "efficientnet_lite0", "yamnet", "i3d_192")]
    assert cpu_paths(backbones) == {"efficientnet_lite0": "float32", "i3d_192": "winograd"}
    assert cpu_paths(backbones[:1]) == {}
