"""'vidsim verify --deep' and '--sample 5%': all is read, at once or by turns."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vidsim.ingest.milvus.records import Record, records_of
from vidsim.ingest.milvus.store import Store, open_store
from vidsim.ingest.shards.home import Home, Place, open_shards
from vidsim.ingest.shards.lock import writing
from vidsim.ingest.sync.libraries import verify_all
from vidsim.ingest.sync.writer import Writer
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.results import VerifyReport

from ...helpers.command_line import Here
from ...helpers.embedded_videos import embedded

QUIET = Silent()
LAB, YAMNET = BACKBONES["labhist"], BACKBONES["yamnet"]
VIDEOS = 6


def fill(place: Place, library: str = "one") -> None:
    """Writes a library of one shard per video."""
    home = Home(place)
    with writing(place.home, "filling"), open_store(place, writing=True) as store:
        writer = Writer(store, home, library, {}, flush_segments=1, merging=False)
        for i in range(VIDEOS):
            writer.add(embedded(f"{library}/{i}.mp4", backbones=["labhist", "yamnet"], seed=i))
        writer.finish()


@pytest.fixture
def filled(target_place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Place:
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "cache"))
    fill(target_place)
    return target_place


@pytest.fixture
def filled_lite(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Place:
    monkeypatch.setenv("VIDSIM_CACHE", str(tmp_path / "cache"))
    fill(place)
    return place


def deep(place: Place, repair: bool = False) -> VerifyReport:
    return verify_all(place, [], "all", QUIET, repair=repair, deep=True)


def part(place: Place, percent: float) -> VerifyReport:
    return verify_all(place, [], "all", QUIET, percent=percent)


def wrong(report: VerifyReport) -> int:
    return sum(c.wrong for c in report.comparisons)


def records(place: Place) -> list[Record]:
    """Rows that every Milvus holds, of all videos."""
    shards = open_shards(place.home)
    read = shards.read(list(shards.catalog("one").values()), ["labhist"])
    return [r for video in read for r in records_of(LAB, video, "rows")]


def a_vector_of_the_last_row(milvus: Store, rows: list[Record]) -> None:
    other = rows[-1]["vector"].copy()
    other[0] += np.float32(0.01)
    milvus.write(LAB, [rows[-1] | {"vector": other}], "rows")


def a_row_is_missing(milvus: Store, rows: list[Record]) -> None:
    milvus.delete_rows(LAB, [rows[-1]["id"]], "rows")


def a_row_that_no_shard_knows(milvus: Store, rows: list[Record]) -> None:
    milvus.write(LAB, [rows[-1] | {"id": "one/5.mp4#00099"}], "rows")


ROWS = [a_vector_of_the_last_row, a_row_is_missing, a_row_that_no_shard_knows]


@pytest.mark.parametrize("damage", ROWS)
def test_each_damaged_row_of_milvus_is_found_and_mended(
    filled: Place, damage: Callable[[Store, list[Record]], None]
) -> None:
    assert wrong(deep(filled)) == 0
    rows = records(filled)
    with open_store(filled, writing=True) as milvus:
        damage(milvus, rows)
    assert wrong(deep(filled)) == 1
    mended = deep(filled, repair=True)
    assert sum(c.repaired for c in mended.comparisons) == 1
    after = deep(filled)
    assert (wrong(after), after.damage) == (0, [])
    assert all(c.vectors == c.shards for c in after.comparisons)


@pytest.mark.parametrize("damage", ROWS)
def test_turns_of_a_part_find_it_in_time(
    filled: Place, damage: Callable[[Store, list[Record]], None]
) -> None:
    rows = records(filled)
    with open_store(filled, writing=True) as milvus:
        damage(milvus, rows)
    found = [wrong(part(filled, 34)) for _ in range(2)]
    assert max(found) == 1
    if damage is not a_vector_of_the_last_row:  # all rows are counted at once
        assert found[0] == 1


def test_every_shard_has_its_turn_and_new_ones_the_next(filled_lite: Place) -> None:
    shards = open_shards(filled_lite.home)
    files = shards.files("one")
    assert len(files) == VIDEOS
    for turn in range(3):
        report = part(filled_lite, 34)
        assert (report.shards_read, report.shards_known) == (3, VIDEOS), turn
        assert report.damage == []
    flip(files[-1])
    found = [bool(part(filled_lite, 17).damage) for _ in range(5)]
    assert any(found[:3]), "of three turns one reads it"
    assert found == sorted(found), "and it is told until it is mended"


def flip(path: Path) -> None:
    """Changes one byte in the middle of a file."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        old = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([old[0] ^ 0xFF]))


DERIVED = ["counts/one.json", "verified.json", "hashes-2/a.npz", "failed/one.json"]


@pytest.fixture
def derived(filled_lite: Place) -> Place:
    """A home that also has what is derived."""
    from vidsim.ingest.system.checked_json import write_checked

    part(filled_lite, 10)
    write_checked(filled_lite.home / "failed" / "one.json", {})
    (filled_lite.home / "hashes-2").mkdir()
    np.savez(filled_lite.home / "hashes-2" / "a.npz", hashes=np.arange(900))
    return filled_lite


@pytest.mark.parametrize("name", DERIVED)
def test_what_is_derived_is_told_and_made_anew(derived: Place, name: str) -> None:
    assert deep(derived).damage == []
    flip(derived.home / name)
    told = deep(derived)
    assert [name in said for said in told.damage] == [True]
    assert sum(of.wrong for of in told.files) == 1
    mended = deep(derived, repair=True)
    assert (len(mended.mended), mended.damage) == (1, [])
    assert (deep(derived).damage, wrong(deep(derived))) == ([], 0)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.copy.json"])
def test_one_list_of_shards_is_written_anew_from_the_other(derived: Place, name: str) -> None:
    flip(derived.home / "shards" / "one" / name)
    assert [name in said for said in deep(derived).damage] == [True]
    assert [name in said for said in deep(derived, repair=True).mended] == [True]
    assert deep(derived).damage == []


def test_what_people_wrote_is_left_to_them(derived: Place) -> None:
    file = derived.home / "server" / "decisions.json"
    file.parent.mkdir()
    file.write_text('{"content": 1, "sha256": "no"}')
    for report in (deep(derived), deep(derived, repair=True)):
        (said,) = report.damage
        assert said.startswith(f"{file} is damaged")
        assert "put it back from a copy" in said
    assert file.exists()


def test_weights_that_are_damaged_are_told(derived: Place, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "weights" / "yamnet"
    folder.mkdir(parents=True)
    for file in YAMNET.weights.files if YAMNET.weights else ():
        (folder / file.name).write_bytes(b"not these")
    made = tmp_path / "cache" / "prepared" / f"yamnet-arrays-1.0.{'0' * 64}.safetensors"
    made.parent.mkdir()
    made.write_bytes(b"nor this")
    weights, prepared = deep(derived).damage
    assert "vidsim models pull yamnet" in weights
    assert str(made) in prepared
    assert deep(derived, repair=True).damage == [weights]
    assert not made.exists()


def test_what_is_lost_is_told_with_its_videos(derived: Place) -> None:
    open_shards(derived.home).files("one")[2].unlink()
    report = deep(derived)
    assert report.damage
    assert [said.startswith("1 video of one is in no shard") for said in report.lost] == [True]


def test_the_exit_code_is_for_a_schedule(vidsim_here: Here, derived: Place) -> None:
    cache = str(derived.home.parent / "cache")
    fine = vidsim_here(derived.home, "verify", "--deep", VIDSIM_CACHE=cache)
    assert (fine.returncode, "All that there is was read, and is right." in fine.stderr) == (
        0,
        True,
    )
    turn = vidsim_here(derived.home, "verify", "--sample", "5%", VIDSIM_CACHE=cache)
    assert (turn.returncode, f"Read 1 of {VIDEOS} shards" in turn.stderr) == (0, True)
    for path in itertools.islice(open_shards(derived.home).files("one"), VIDEOS):
        flip(path)
    for words in (["--deep"], ["--sample", "5%"]):
        assert vidsim_here(derived.home, "verify", *words, VIDSIM_CACHE=cache).returncode == 1
    for words in (["--sample", "5%", "--repair"], ["--sample", "500%"], ["--sample", "x%"]):
        assert vidsim_here(derived.home, "verify", *words).returncode == 2


def test_memory_does_not_grow_with_the_files(derived: Place) -> None:
    import tracemalloc

    (derived.home / "big.bin").write_bytes(bytes(64 << 20))
    from vidsim.ingest.sync.every_file import read_every_file

    tracemalloc.start()
    try:
        read_every_file(Home(derived), QUIET)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
