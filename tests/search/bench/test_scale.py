"""A library that grows: every size is measured, lines fit, and limits follow from them."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidsim.ingest.milvus.connection import open_client
from vidsim.ingest.shards.home import Place, read_notes
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.errors import WorkerError
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones
from vidsim.search.bench.exact import Everything
from vidsim.search.bench.library import fill
from vidsim.search.bench.results import ScaleBench, ScaleFit, ScaleStep
from vidsim.search.bench.scale import _run, bench_scale, choose_sizes
from vidsim.search.bench.scale_fit import find_limits, fit, fit_line
from vidsim.search.bench.scale_step import Order
from vidsim.search.bench.synthetic import LIBRARY, make_videos
from vidsim.search.bench.tables import scale_advice, scale_table

from ...helpers.milvus_targets import empty_place
from ...helpers.printed import printed

QUIET = Silent()
ASKED = tuple(choose_backbones((Modality.COLOR, Modality.FRAME)).values())


@pytest.fixture(scope="module")
def temporary(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def grown(tmp_path_factory, temporary) -> ScaleBench:
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(temporary))
        return bench_scale(60, 4, ASKED, Place(home), 16.0, QUIET)


def a_step(videos: int, **others: object) -> ScaleStep:
    measured: dict[str, object] = {
        "rows": {"efficientnet_lite0": 8 * videos},
        "fill_s": 1,
        "fill_peak_mb": None,
        "build_s": None,
        "open_s": 1,
        "p50_ms": 1,
        "p95_ms": 1,
        "recall": 1,
        "query_peak_mb": None,
        "shards_mb": 1,
        "milvus_mb": None,
    }
    return ScaleStep.model_validate({"videos": videos, **measured, **others})


@pytest.mark.acceptance
def test_a_library_is_measured_at_every_size_and_exact_search_is_exact(grown):
    assert [step.videos for step in grown.steps] == [20, 60]
    small, large = grown.steps
    assert large.rows == {"labhist": 60, "efficientnet_lite0": 480}
    assert small.recall == large.recall == 1
    assert grown.embedded
    assert grown.notes == []  # such as that Milvus lacks rows of the shards
    for step in grown.steps:
        assert step.fill_s > 0
        assert 0 < step.p50_ms <= step.p95_ms
        assert step.open_s > 0
        assert 50 < step.query_peak_mb < step.fill_peak_mb < 2000
        assert step.build_s is None
    assert 2 < large.shards_mb / small.shards_mb < 4
    # Vectors of the mean of eight rows, and of the colour histogram, in float32.
    assert large.milvus_mb > 60 * (1280 + 513) * 4 / 1e6
    assert ScaleBench.model_validate_json(grown.model_dump_json()) == grown


@pytest.mark.acceptance
def test_nothing_of_a_library_that_grew_is_left(grown, temporary):
    assert list(temporary.iterdir()) == []


@pytest.mark.acceptance
def test_the_table_has_every_size_and_every_line(grown):
    lines = [line for line in printed(scale_table(grown)) if line.startswith("|")]
    cells = [[cell.strip() for cell in line.split("|")] for line in lines]
    assert [row[1] for row in cells[2:4]] == ["20", "60"]
    assert {len(row) for row in cells[:4]} == {2 + 13}
    assert [row[1] for row in cells[6:]] == [line.what for line in grown.fits]
    assert "build s" not in {row[1] for row in cells[6:]}


def test_what_was_measured_is_told_where_a_larger_size_fails(tmp_path, monkeypatch):
    def measure(_, everything, *others):
        if len(everything.ids) == 70:
            raise WorkerError("A measured run ended with code -9; free some memory.")
        return a_step(len(everything.ids)), set()

    monkeypatch.setattr("vidsim.search.bench.scale._measure", measure)
    found = bench_scale(70, 4, ASKED, Place(tmp_path), 16.0, QUIET)
    assert [step.videos for step in found.steps] == [20, 22]
    assert found.notes == [
        "It was not measured beyond 22 videos: A measured run ended with code -9; free some memory."
    ]
    monkeypatch.setattr("vidsim.search.bench.scale.choose_sizes", lambda videos: [20, 70])
    with pytest.raises(WorkerError):  # one size makes no line
        bench_scale(70, 4, ASKED, Place(tmp_path), 16.0, QUIET)


@pytest.mark.acceptance
def test_a_step_that_fails_says_why_and_what_to_do(tmp_path):
    (tmp_path / "shards").write_text("no folder")
    with pytest.raises(WorkerError, match=r"shards.*measure fewer --videos"):
        _run(Order("fill", Place(tmp_path), ("labhist",), 20))


@pytest.mark.server
def test_a_server_grows_in_a_database_of_its_own(request, tmp_path):
    place = empty_place("server", tmp_path / "home", request)
    with open_client(place) as milvus:
        before = milvus.client.list_databases()
    found = bench_scale(40, 4, ASKED, place, None, QUIET)
    assert [step.recall for step in found.steps] == [1, 1]
    assert not found.embedded
    for step in found.steps:
        assert step.milvus_mb is None
        assert step.query_peak_mb > 50  # the server's own process, on this machine
    with open_client(place) as milvus:
        assert milvus.client.list_databases() == before


@pytest.mark.parametrize("videos", [40, 1_000, 125_000])
def test_sizes_grow_by_about_the_same_part_up_to_the_one_wanted(videos):
    sizes = choose_sizes(videos)
    assert sizes[-1] == videos
    assert sizes[0] >= 20
    assert len(sizes) >= 2
    assert all(b / a < 3.3 for a, b in zip(sizes, sizes[1:]))


def test_a_line_is_found_and_how_far_it_misses():
    line = fit_line("open s", [1000, 2000, 10_000], [5.5, 7.5, 23.5])
    assert (line.fixed, line.per_1000_videos) == pytest.approx((3.5, 2))
    assert line.miss < 1e-9
    bent = fit_line("open s", [1000, 2000, 3000], [1, 1, 4])
    assert bent.per_1000_videos == pytest.approx(1.5)
    assert bent.miss == pytest.approx(1)  # 2 - 1 at the second, -1 + 1.5 at the first


def test_filling_adds_up_and_what_is_unknown_has_no_line():
    steps = [a_step(1000, fill_s=10), a_step(3000, fill_s=20, build_s=9)]
    fits = {line.what: line for line in fit(steps)}
    assert fits["fill s"].per_1000_videos == pytest.approx(10)
    assert fits["fill s"].fixed == pytest.approx(0, abs=1e-9)
    assert not {"fill peak MB", "build s", "query peak MB", "Milvus MB"} & set(fits)


def test_limits_are_where_lines_reach_the_memory_or_a_second():
    fits = [
        ScaleFit(what="fill peak MB", fixed=1000, per_1000_videos=300, miss=0),
        ScaleFit(what="query peak MB", fixed=600, per_1000_videos=100, miss=0),
        ScaleFit(what="query p95 ms", fixed=50, per_1000_videos=-1, miss=0),
        ScaleFit(what="shards MB", fixed=0, per_1000_videos=44, miss=0),
    ]
    limits = find_limits(fits, 20.0)  # 16,000 MB of which are used
    assert [limit.videos for limit in limits] == [50_000, 154_000, None]
    assert find_limits(fits[:1], 1.0)[0].videos == 0
    slow = ScaleFit(what="query p95 ms", fixed=100, per_1000_videos=9, miss=0)
    assert find_limits([slow], 20.0)[0].videos == 100_000
    long = ScaleFit(what="open s", fixed=1, per_1000_videos=0.5, miss=0)
    assert find_limits([long], 20.0)[0].videos == 18_000


@pytest.mark.acceptance
def test_advice_names_the_lowest_limit_and_what_comes_after(grown):
    limits = find_limits(
        [
            ScaleFit(what="fill peak MB", fixed=0, per_1000_videos=300, miss=0),
            ScaleFit(what="query p95 ms", fixed=0, per_1000_videos=25, miss=0),
        ],
        16.0,
    )
    lite = grown.model_copy(update={"limits": limits})
    assert scale_advice(lite)[-1] == (
        "On a machine of 16 GB the embedded Milvus does for 40,000 videos "
        "(query p95 of 1,000 ms); take a server for more."
    )
    assert "at 42,666 videos (383,994 rows), beyond what was measured" in scale_advice(lite)[0]
    server = lite.model_copy(update={"embedded": False})
    assert scale_advice(server)[-1].endswith("take a cluster for more.")


def test_a_library_that_grew_is_the_one_that_was_made_at_once(tmp_path):
    place, backbones = Place(tmp_path), [BACKBONES["labhist"]]
    fill(place, 5, backbones, QUIET)
    fill(place, 12, backbones, QUIET)
    assert read_notes(tmp_path)[LIBRARY].counts == {"labhist": {"rows": 12}}
    grown = Everything(backbones, ())
    grown.grow(5, QUIET)
    grown.grow(12, QUIET)
    assert grown.ids == [v.video.video_id for v in make_videos(12, backbones)]
    assert grown.searched[Modality.COLOR].owners.tolist() == list(range(12))
