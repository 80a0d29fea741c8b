"""Reindex and verify: Milvus comes to hold what the shards hold, and no row more is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymilvus import MilvusClient

from vidsim.ingest.milvus import lite, server
from vidsim.ingest.milvus.connection import server_name
from vidsim.ingest.milvus.filters import equals
from vidsim.ingest.milvus.records import Record, records_of
from vidsim.ingest.milvus.store import Store, open_store
from vidsim.ingest.shards.home import (
    Home,
    Place,
    distrust,
    distrusted,
    open_shards,
    without_user,
)
from vidsim.ingest.sync import verify as compare
from vidsim.ingest.sync.libraries import (
    reindex_all,
    verify_all,
)
from vidsim.ingest.sync.repair import bring_in_step, remove
from vidsim.ingest.sync.writer import Writer
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES, Backbone
from vidsim.schemas.collections import Level, levels
from vidsim.schemas.embedding import EmbeddedVideo
from vidsim.schemas.errors import LibraryError, StoreError
from vidsim.schemas.results import LevelComparison, VerifyReport
from vidsim.search.report_text import how_to_use, reindex_notes, verify_table

from ...helpers.embedded_videos import embedded
from ...helpers.milvus_targets import drop_collections, empty_place
from ...helpers.printed import printed

QUIET = Silent()
LAB, LITE0, YAMNET = (BACKBONES[n] for n in ("labhist", "efficientnet_lite0", "yamnet"))
NAMES = ["labhist", "yamnet"]
WHOLE = {(LAB.name, "rows"): 9, (YAMNET.name, "rows"): 70, (YAMNET.name, "segments"): 7}
"""Rows of one library by backbone and level; a home's Milvus Lite lacks those looked up only."""


def videos_of(library: str, number: int = 6, **more) -> list[EmbeddedVideo]:
    """Videos with names that need quoting in a filter; the last one is silent."""
    return [
        embedded(
            f'{library}/a "class"/back\\slash {i}.mp4',
            backbones=NAMES,
            segments=1 + i % 2,
            seed=i,
            silent=i == number - 1,
            **more,
        )
        for i in range(number)
    ]


def shard(place: Place, videos: Sequence[EmbeddedVideo], backbones: Sequence[str] = NAMES) -> None:
    library = videos[0].video.library
    open_shards(place.home).write(library, videos, dict.fromkeys(backbones, "sha256"))


def fill(place: Place) -> Place:
    """Two libraries in the shards, and in Milvus."""
    for library in ("one", "two"):
        shard(place, videos_of(library))
    reindex_all(place, [], QUIET)
    return place


@pytest.fixture(params=["lite", pytest.param("server", marks=pytest.mark.server)])
def target_place(request, tmp_path) -> Place:
    """An empty Milvus; Lite over TCP is the `other` of Lite."""
    return empty_place(request.param, tmp_path / "home", request)


@pytest.fixture
def filled(target_place) -> Place:
    """What `fill` makes, on every Milvus."""
    return fill(target_place)


@pytest.fixture
def filled_lite(place) -> Place:
    """What `fill` makes, for what no Milvus does otherwise."""
    return fill(place)


@pytest.fixture
def other(target_place, request) -> Place:
    """The same home with another Milvus."""
    if target_place.uri:
        return Place(target_place.home)
    return empty_place("lite over TCP", target_place.home, request)


@pytest.fixture
def changes(monkeypatch) -> Counter[str]:
    """Counts by id what is written to Milvus, and, as "-id", what is deleted from it."""
    seen: Counter[str] = Counter()
    write, delete_rows = Store.write, Store.delete_rows

    def writing(self, backbone: Backbone, records: list[Record], level: Level) -> None:
        write(self, backbone, records, level)
        seen.update(f"{backbone.name} {level} {r['id']}" for r in records)

    def deleting(self, backbone: Backbone, ids: Sequence[str], level: Level) -> None:
        delete_rows(self, backbone, ids, level)
        seen.update(f"-{backbone.name} {level} {i}" for i in ids)

    monkeypatch.setattr(Store, "write", writing)
    monkeypatch.setattr(Store, "delete_rows", deleting)
    return seen


def wrong(report: VerifyReport) -> dict[tuple[str, str, str], tuple[int, int, int]]:
    """What differs: (missing, extra, differing) by library, backbone and level."""
    return {
        (c.library, c.backbone, c.level): (c.missing, c.extra, c.differing)
        for c in report.comparisons
        if c.wrong
    }


def held(place: Place) -> dict[tuple[str, str], int]:
    """The part of `WHOLE` that the Milvus of `place` holds."""
    looked_up = {(YAMNET.name, "rows")}
    return {key: n for key, n in WHOLE.items() if place.uri or key not in looked_up}


def check(place: Place, *libraries: str, **more) -> VerifyReport:
    return verify_all(place, libraries, "all", QUIET, **more)


def opened(place: Place):
    return open_store(place, writing=True)


# --- filling another Milvus


def test_reindex_fills_another_milvus_and_leaves_this_one(filled, other, changes):
    report = reindex_all(other, [], QUIET)
    assert {(c.library, c.backbone, c.level): c.missing for c in report.comparisons} == {
        (library, *of): rows for library in ("one", "two") for of, rows in held(other).items()
    }
    written = 2 * sum(held(other).values())
    assert changes.total() == written
    assert set(changes.values()) == {1}
    for place in (other, filled):
        checked = check(place)
        assert wrong(checked) == {}
        assert all(c.shards == c.milvus == c.vectors for c in checked.comparisons)
    assert changes.total() == written


def test_reindex_killed_half_way_goes_on_from_there(filled, other, changes, monkeypatch):
    monkeypatch.setattr(compare, "_VIDEOS", 2)  # so that there are several parts
    write, calls = Store.write, Counter[str]()

    def dying(self, *given):
        calls["write"] += 1
        if calls["write"] == 8:
            raise KeyboardInterrupt
        write(self, *given)

    with monkeypatch.context() as broken:
        broken.setattr(Store, "write", dying)
        with pytest.raises(KeyboardInterrupt):
            reindex_all(other, [], QUIET)
    before = set(changes)
    assert before
    report = reindex_all(other, [], QUIET)
    assert set(changes.values()) == {1}  # nothing was sent twice, nothing deleted
    assert sum(c.repaired for c in report.comparisons) == len(changes) - len(before) > 0
    assert wrong(check(other)) == {}


def test_a_second_reindex_writes_only_what_is_new_or_another_version(filled, changes):
    edited = videos_of("one", fingerprint="f1")[0]
    shards = open_shards(filled.home)
    shards.drop("one", {edited.video.video_id: None})
    shard(filled, [edited, embedded("one/new.mp4", backbones=NAMES)])
    report = reindex_all(filled, [], QUIET)
    each = {of: 10 if of == (YAMNET.name, "rows") else 1 for of in held(filled)}
    assert wrong(report) == {("one", *of): (rows, 0, rows) for of, rows in each.items()}
    assert changes.total() == 2 * sum(each.values())
    assert wrong(check(filled)) == {}


def test_reindex_notices_a_video_that_was_embedded_anew(filled):
    again = replace(
        videos_of("one")[1],  # the same file and cut, other vectors
        embeddings=embedded("one/x", backbones=NAMES, segments=2, seed=77).embeddings,
    )
    open_shards(filled.home).drop("one", {again.video.video_id: None})
    shard(filled, [again])
    assert wrong(reindex_all(filled, [], QUIET))
    with opened(filled) as milvus:
        rows, vectors = milvus.fetch(LAB, equals("video_id", again.video.video_id))
    wanted = [record["vector"] for record in records_of(LAB, again, "rows")]
    assert len(rows) == 2
    assert np.allclose(vectors, wanted, atol=1e-6)


def test_fresh_writes_all_of_the_named_library_and_no_other(filled, changes):
    reindex_all(filled, ["one"], QUIET, fresh=True)
    assert changes.total() == sum(held(filled).values())
    assert all(" one/" in row for row in changes)
    assert wrong(check(filled)) == {}


def test_what_a_reindex_says(filled, other):
    written = ", ".join(f"{rows} {level} of {name}" for (name, level), rows in held(other).items())
    there = sum(held(other).values())
    for libraries, said in {
        ("one",): f"Written: {written}.",
        (): f"Written: {written}; {there} were there.",
    }.items():
        assert reindex_notes(reindex_all(other, libraries, QUIET)) == [said]
    with opened(other) as milvus:
        add_an_unknown_video(milvus, LAB, "rows", records_of(LAB, videos_of("one")[0], "rows"))
    assert reindex_notes(reindex_all(other, [], QUIET)) == [
        f"Written: nothing; {2 * there} were there; 1 that no shard knows were deleted."
    ]


@pytest.mark.parametrize(
    ("target", "usual", "said"),
    [
        (None, None, None),
        ("http://h:1", "http://h:1", None),
        (
            "http://me:secret@h:1",
            None,
            "Other commands still use the embedded Milvus; to have them use this one, "
            "set VIDSIM_URI=http://h:1.",
        ),
        (
            None,
            "http://h:1",
            "Other commands still use the Milvus of VIDSIM_URI; to have them use this one, "
            "unset VIDSIM_URI.",
        ),
    ],
)
def test_the_last_line_says_how_to_use_that_milvus(target, usual, said):
    home = Path("home")
    found = how_to_use(Place(home, target), Place(home, usual))
    assert found == said


# --- verify


def lose(milvus: Store, backbone: Backbone, level: Level, records: list[Record]) -> None:
    milvus.delete_rows(backbone, [records[0]["id"]], level)


def add_to_a_known_video(milvus, backbone, level, records):
    milvus.write(backbone, [records[0] | {"id": records[0]["video_id"] + "#00099.0"}], level)


def add_an_unknown_video(milvus, backbone, level, records):
    gone = {"id": "one/gone.mp4#00000.0", "video_id": "one/gone.mp4"}
    milvus.write(backbone, [records[0] | gone], level)


def change_fingerprint(milvus, backbone, level, records):
    milvus.write(backbone, [records[0] | {"fingerprint": "another"}], level)


def change_path(milvus, backbone, level, records):
    milvus.write(backbone, [records[0] | {"path": "/elsewhere/a.mp4"}], level)


def change_library(milvus, backbone, level, records):
    milvus.write(backbone, [records[0] | {"library": "two"}], level)


def change_vector(milvus, backbone, level, records):
    milvus.write(backbone, [records[0] | {"vector": -records[0]["vector"]}], level)


@pytest.mark.parametrize(("name", "level"), WHOLE)
def test_verify_finds_what_differs_and_mends_only_that(filled, changes, name, level):
    if (name, level) not in held(filled):
        pytest.skip("this Milvus does not hold them")
    backbone = BACKBONES[name]
    tampering = [
        lose,
        add_to_a_known_video,
        add_an_unknown_video,
        change_fingerprint,
        change_path,
        change_vector,
    ]
    with opened(filled) as milvus:
        # Not the silent one; two of the changes leave a video's own rows as they are.
        for tamper, number in zip(tampering, [0, 0, 1, 1, 2, 3]):
            tamper(milvus, backbone, level, records_of(backbone, videos_of("one")[number], level))
    changes.clear()
    for _ in range(2):  # looking changes nothing
        report = check(filled)
        assert wrong(report) == {("one", backbone.name, level): (1, 2, 3)}
        assert not any(c.repaired for c in report.comparisons)
    (told,) = (c for c in report.comparisons if c.wrong)
    assert len(told.examples) == 5
    assert told.milvus == told.shards - 1 + 2
    assert not changes
    mended = check(filled, repair=True)
    assert wrong(mended) == wrong(report)
    assert [c.repaired for c in mended.comparisons if c.wrong] == [6]
    first = [records_of(backbone, v, level)[0]["id"] for v in videos_of("one")[:4]]
    added = ["one/gone.mp4#00000.0", videos_of("one")[0].video.video_id + "#00099.0"]
    assert changes == Counter(
        [f"{backbone.name} {level} {i}" for i in first]
        + [f"-{backbone.name} {level} {i}" for i in added]
    )
    assert wrong(check(filled)) == {}


def test_rows_that_went_to_another_library_are_fetched_back(filled_lite):
    with opened(filled_lite) as milvus:
        change_library(milvus, LAB, "rows", records_of(LAB, videos_of("one")[2], "rows"))
    assert wrong(check(filled_lite))[("one", "labhist", "rows")] == (0, 0, 1)
    check(filled_lite, repair=True)
    assert wrong(check(filled_lite)) == {}


def test_rows_of_a_backbone_that_the_video_lacks_are_extra(target_place):
    shard(target_place, [embedded("lib/a.mp4", backbones=["labhist"])], ["labhist"])
    reindex_all(target_place, [], QUIET)
    with opened(target_place) as milvus:
        milvus.upsert(LITE0, [embedded("lib/a.mp4")])
    extra = {"rows": 8, "segments": 1} if target_place.uri else {"segments": 1}
    assert wrong(check(target_place)) == {
        ("lib", "efficientnet_lite0", level): (0, rows, 0) for level, rows in extra.items()
    }
    check(target_place, repair=True)
    with opened(target_place) as milvus:
        assert [milvus.count(LITE0, "", level) for level in levels(LITE0)] == [0, 0]


def test_libraries_of_another_machine_are_told_and_left_alone(filled, changes):
    with opened(filled) as milvus:
        for library in ("theirs", "hers"):
            for backbone in (LAB, YAMNET):
                milvus.upsert(backbone, videos_of(library))
    report = check(filled)
    assert wrong(report) == {}
    rows = 9 + (70 if filled.uri else 7)
    assert report.elsewhere == {"hers": rows, "theirs": rows}
    assert check(filled, "one").elsewhere == {}
    assert check(filled, repair=True).elsewhere == report.elsewhere
    assert reindex_all(filled, [], QUIET).elsewhere == report.elsewhere
    assert not changes


def test_only_the_named_library_is_compared(filled_lite):
    with opened(filled_lite) as milvus:
        milvus.delete_library(LAB, "two")
        add_an_unknown_video(milvus, LAB, "rows", records_of(LAB, videos_of("one")[0], "rows"))
    assert wrong(check(filled_lite, "one", repair=True)) == {("one", "labhist", "rows"): (0, 1, 0)}
    assert wrong(check(filled_lite)) == {("two", "labhist", "rows"): (9, 0, 0)}
    with pytest.raises(LibraryError, match="No library is called three; there is one, two"):
        check(filled_lite, "three")


def test_looking_makes_no_collection(target_place):
    drop_collections(target_place)
    shard(target_place, videos_of("one"))
    report = check(target_place)
    rows = held(target_place).values()
    assert [(c.shards, c.missing) for c in report.comparisons] == [(n, n) for n in rows]
    with opened(target_place) as milvus:
        assert milvus.backbones() == []


def test_pages_of_rows_miss_none(filled, monkeypatch):
    for backend in (lite, server):
        monkeypatch.setattr(backend, "_PAGE_ROWS", 7)
    with opened(filled) as milvus:
        milvus.upsert(LAB, videos_of("a", 4)[::-1])  # in another order than that of their ids
        for expression, rows in {"": 24, 'library == "two"': 9, 'label == "none"': 0}.items():
            pages = list(milvus.scan(LAB, expression))
            ids = [row.id for page in pages for row in page]
            assert ids == sorted(set(ids))
            assert len(ids) == rows
            assert all(0 < len(page) <= 7 for page in pages)
    report = check(filled)
    assert wrong(report) == {}
    assert report.elsewhere == {"a": 6}


@pytest.mark.server
def test_pages_that_are_out_of_order_are_refused(place, request, monkeypatch):
    monkeypatch.setattr(server, "_PAGE_ROWS", 7)
    query = MilvusClient.query
    with opened(empty_place("lite over TCP", place.home, request)) as milvus:
        milvus.upsert(LAB, videos_of("one"))
        monkeypatch.setattr(MilvusClient, "query", lambda *a, **o: query(*a, **o)[::-1])
        with pytest.raises(StoreError, match="does not list vidsim_color_labhist in order"):
            list(milvus.scan(LAB))


@pytest.mark.parametrize(("sample", "vectors"), [(0, 0), (5, 5), (1000, 9), ("all", 9)])
def test_a_sample_of_vectors_is_compared(filled_lite, sample, vectors):
    report = verify_all(filled_lite, ["one"], sample, QUIET)
    (rows,) = (c for c in report.comparisons if (c.backbone, c.level) == ("labhist", "rows"))
    assert rows.vectors == vectors


def test_the_table_has_a_line_a_library_backbone_and_level():
    figures = {"shards": 1200, "milvus": 1199, "missing": 2, "extra": 1, "differing": 0}
    row = LevelComparison(
        library="ucf101",
        backbone="labhist",
        level="rows",
        vectors=100,
        repaired=3,
        examples=["a"],
        **figures,
    )
    report = VerifyReport(milvus="embedded", comparisons=[row], elsewhere={})
    assert printed([verify_table(report)]) == [
        "library  backbone  level  shards  milvus  missing  extra  differing  repaired",
        "ucf101   labhist   rows    1,200   1,199        2      1          0         3",
    ]


# --- what is known of each Milvus


def test_an_address_is_told_without_its_password():
    assert without_user("http://root:Milvus@host:19530/db") == "http://host:19530/db"
    assert without_user("host:19530") == "host:19530"


def test_filling_one_milvus_says_nothing_of_the_other(filled, other):
    names = [server_name(place) for place in (filled, other)]
    for name in names:
        distrust(filled.home, "one", name)
    reindex_all(other, ["one"], QUIET)
    assert [distrusted(filled.home, "one", name) for name in names] == [True, False]
    distrust(filled.home, "one", names[1])
    check(filled, repair=True)
    assert [distrusted(filled.home, "one", name) for name in names] == [False, True]
    distrust(filled.home, "one", names[0])
    verify_all(filled, [], 5, QUIET, repair=True)  # a sample tells too little
    assert distrusted(filled.home, "one", names[0])


def step(place: Place) -> list[str]:
    with opened(place) as milvus:
        return bring_in_step(milvus, Home(place), "one", QUIET)


@pytest.mark.parametrize("here_first", [True, False])
def test_an_edit_in_one_milvus_is_caught_up_in_the_other(filled, other, here_first):
    here, there = filled, other
    reindex_all(there, [], QUIET)
    if not here_first:
        here, there = there, here
    with opened(here) as milvus:
        shards = open_shards(here.home)
        catalog = shards.catalog("one")
        weights = dict.fromkeys(NAMES, "x")
        writer = Writer(milvus, Home(here), "one", catalog, weights=weights)
        writer.add(videos_of("one", fingerprint="edited")[0])
        writer.finish()
    assert writer.notes == []
    assert step(here) == []
    assert wrong(check(there)).keys() >= {("one", "labhist", "rows")}  # no count shows it
    assert step(there) == ["one: Milvus may have been outdated; it was compared with the shards."]
    assert wrong(check(there)) == {}
    assert step(there) == []


def test_a_video_put_in_the_place_of_another_is_caught_up_too(filled, other):
    reindex_all(other, [], QUIET)
    gone = videos_of("one")[0].video.video_id
    with opened(other) as milvus:
        shards = open_shards(other.home)
        remove(milvus, Home(other), "one", [gone])
        weights = dict.fromkeys(NAMES, "x")
        writer = Writer(milvus, Home(other), "one", shards.catalog("one"), weights=weights)
        writer.add(embedded("one/new.mp4", backbones=NAMES))
        writer.finish()
    assert step(filled) == ["one: Milvus may have been outdated; it was compared with the shards."]
    assert wrong(check(filled)) == {}


def test_a_reindex_that_fails_keeps_the_distrust(filled_lite, monkeypatch):
    distrust(filled_lite.home, "one", server_name(filled_lite))

    def fail(*_):
        raise StoreError("Milvus is away.")

    monkeypatch.setattr(Store, "flush", fail)
    with pytest.raises(StoreError):
        reindex_all(filled_lite, [], QUIET)
    assert distrusted(filled_lite.home, "one", server_name(filled_lite))
