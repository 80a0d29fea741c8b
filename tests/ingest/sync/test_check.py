"""Shards that are missing, damaged or changed: told, kept where they may be the last copy."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import pytest

from vidsim import Library
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards.check import check_library
from vidsim.ingest.shards.home import Home, Place, distrust
from vidsim.ingest.shards.lock import writing
from vidsim.ingest.shards.open_shard import is_shard
from vidsim.ingest.shards.shard_files import Shards
from vidsim.ingest.sync.repair import bring_in_step, settle_missing
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.errors import LibraryError, StoreError
from vidsim.schemas.results import VerifyReport

from ...helpers.embedded_videos import embedded
from ...helpers.full_home import stand_ins, write_video

LAB = BACKBONES["labhist"]


@pytest.fixture
def place(place: Place) -> Place:
    home = Home(place)
    for first in (0, 3, 6):
        home.shards.write(
            "lib", [embedded(f"lib/{i}.mp4", seed=i) for i in range(first, first + 3)]
        )
    with Library(place) as library:
        library.reindex()
    return place


def shard(place: Place, number: int) -> Path:
    return Home(place).shards.files("lib")[number]


def verify(place: Place, **options) -> VerifyReport:
    with Library(place) as library:
        return library.verify(**options)


def rows(place: Place) -> int:
    with open_store(place) as store:
        return store.count(LAB)


def test_an_intact_home_is_clean(place):
    report = verify(place)
    assert report.damage == []
    assert report.notes == []
    assert all(c.wrong == 0 for c in report.comparisons)


def test_a_missing_shard_is_named_and_milvus_keeps_its_rows(place):
    shard(place, 1).unlink()
    (told,) = verify(place).damage
    assert "000002.h5 is missing" in told
    (told,) = verify(place, repair=True).damage
    assert rows(place) == 9, "the last copy"
    with Library(place) as library:
        library.reindex()
        assert rows(place) == 9
        with pytest.raises(StoreError, match=r"000002\.h5 are missing, and Milvus may have"):
            library.reindex(fresh=True)
        (summary,) = library.libraries()
        assert "000002.h5 is missing" in summary.damage[0]


def test_rows_that_are_kept_are_not_said_to_be_repaired(place):
    shard(place, 1).unlink()
    report = verify(place, repair=True)
    assert [(c.extra, c.repaired) for c in report.comparisons if c.backbone == LAB.name] == [(3, 0)]
    with open_store(place, writing=True) as store:
        assert bring_in_step(store, Home(place), "lib", Silent()) == []
    assert rows(place) == 9


def test_a_damaged_shard_is_named_and_moved_away_and_the_rest_goes_on(place):
    path = shard(place, 0)
    path.write_bytes(path.read_bytes()[:-5000])
    (told,) = verify(place).damage
    assert "000001.h5 is damaged" in told
    assert "vidsim verify --repair" in told
    report = verify(place, repair=True)
    assert "is now" in report.notes[0]
    assert "run 'vidsim ingest'" in report.notes[0]
    assert (path.parent / "damaged" / path.name).stat().st_size > 0, "it is kept"
    assert "is missing" in report.damage[0]
    with Library(place) as library:
        result = library.query("lib/4.mp4")
        assert any("000001.h5 is missing" in note for note in result.notes)
        assert {m.video_id for m in result.results} == {f"lib/{i}.mp4" for i in range(3, 9)} - {
            "lib/4.mp4"
        }
    assert rows(place) == 9


def test_a_changed_shard_that_is_whole_is_named_and_then_taken_as_it_is(place):
    path = shard(place, 2)
    home = Home(place)
    before = path.read_bytes()
    home.shards.write("lib", [embedded("lib/x.mp4")])
    path.write_bytes(before + bytes(1))  # a byte after all that HDF5 reads
    (told, *_) = verify(place).damage
    assert "000003.h5" in told
    report = verify(place, repair=True)
    assert report.damage == []
    assert verify(place).damage == []


def test_an_older_shard_is_moved_away_and_milvus_keeps_what_is_newer(place):
    path = shard(place, 1)
    older = path.read_bytes()
    home = Home(place)
    home.shards.drop("lib", {"lib/4.mp4": None})
    home.shards.write("lib", [embedded("lib/4.mp4", seed=40)])
    with Library(place) as library:
        library.reindex()
    newest = path.read_bytes()
    path.write_bytes(older)
    with Library(place) as library:
        for change in (library.reindex, library.compact, partial(library.remove, "lib/1.mp4")):
            with pytest.raises(StoreError, match="is another shard than was written there"):
                change()
    (told,) = verify(place).damage
    assert f"{path} is another shard than was written there" in told
    report = verify(place, repair=True)
    assert (path.parent / "damaged" / path.name).read_bytes() == older
    assert "is missing" in report.damage[0]
    path.write_bytes(newest)
    report = verify(place, sample="all")
    assert report.damage == []
    assert all(c.wrong == 0 for c in report.comparisons), "no row of Milvus is older"


def test_a_shard_of_another_library_in_the_place_of_one_is_moved_away(place):
    other = Home(place).shards.write("other", [embedded("other/1.mp4")])
    path = shard(place, 1)
    whole = path.read_bytes()
    path.write_bytes(other.read_bytes())
    told, *_ = verify(place, repair=True).notes
    assert f"{path} is now {path.parent / 'damaged' / path.name}" in told
    path.write_bytes(whole)
    assert verify(place).damage == []


def test_verify_needs_no_lock_while_another_process_writes(place):
    with writing(place.home, "ingest of lib"):
        report = verify(place)
    assert report.comparisons == []
    assert report.damage == []
    assert "Milvus Lite is compared once it has ended" in report.notes[0]


@pytest.mark.parametrize("looked", ["files", "is_changed"])
def test_a_shard_that_is_replaced_or_removed_while_it_is_checked_is_intact(
    place, monkeypatch, looked
):
    real, struck = getattr(Shards, looked), []

    def look(shards: Shards, *args: object) -> object:
        seen = real(shards, *args) if looked == "files" else None
        if not struck:
            struck.append(True)
            Shards(shards.directory).drop("lib", {f"lib/{i}.mp4": None for i in (0, 1, 2, 3)})
        return real(shards, *args) if seen is None else seen

    monkeypatch.setattr(Shards, looked, look)
    assert check_library(Home(place).shards, "lib", Silent()) == []
    assert struck


def test_a_writer_that_begins_as_verify_does_is_not_in_its_way(place, monkeypatch):
    from vidsim.ingest.sync import libraries as module

    with writing(place.home, "ingest of lib"):
        monkeypatch.setattr(module, "holder", Mock(side_effect=[None, module.holder(place.home)]))
        report = verify(place)
    assert report.damage == []
    assert "Milvus Lite is compared once it has ended" in report.notes[0]


def test_two_may_verify_at_a_time(place):
    with writing(place.home, "comparison", changes=False):
        report = verify(place)
        with Library(place) as library:
            assert library.query("lib/1.mp4").notes == []
            assert not library.being_written()
    assert "reads Milvus Lite" in report.notes[0]


def test_reindexing_afresh_deletes_nothing_where_a_shard_is_damaged(place):
    path = shard(place, 1)
    path.write_bytes(path.read_bytes()[:-5000])
    with Library(place) as library, pytest.raises(StoreError, match=r"000002\.h5 is damaged"):
        library.reindex(fresh=True)
    assert rows(place) == 9


def test_a_damaged_shard_of_a_home_without_a_list_is_told_once_it_is_moved_away(place):
    path = shard(place, 0)
    for listing in path.parent.glob("manifest*"):
        listing.unlink()
    path.write_bytes(path.read_bytes()[:-5000])
    report = verify(place, repair=True)
    assert "000001.h5 is missing" in report.damage[0]
    assert rows(place) == 9, "the last copy"


def test_a_library_whose_shards_are_gone_with_their_folder_keeps_its_rows(place):
    shutil.rmtree(shard(place, 0).parent)
    verify(place, repair=True)
    with Library(place) as library:
        library.reindex()
    assert rows(place) == 9


def test_what_an_interrupted_removal_left_goes_with_the_next_command(place):
    distrust(place.home, "lib", "embedded")
    home = Home(place)
    home.shards.drop("lib", dict.fromkeys(home.shards.catalog("lib")))
    assert rows(place) == 9
    verify(place, repair=True)
    assert rows(place) == 0


def test_a_library_with_a_lost_shard_can_be_removed(place):
    shard(place, 2).unlink()
    with Library(place) as library:
        library.remove("lib")
        assert library.libraries() == []
    assert rows(place) == 0


@contextmanager
def no_shard_can_be_deleted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    real = Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if is_shard(path.name):
            raise OSError(errno.EIO, "Input/output error")
        real(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(StoreError, match="Input/output error"):
            yield


def test_a_removal_that_failed_before_it_deleted_a_shard_can_be_repeated(place, monkeypatch):
    with Library(place) as library, no_shard_can_be_deleted(monkeypatch):
        library.remove("lib/0.mp4", "lib/1.mp4", "lib/2.mp4")
    with Library(place) as library:
        library.remove("lib/0.mp4", "lib/1.mp4", "lib/2.mp4", "lib/4.mp4")
        assert [v.video_id for v in library.videos()] == [f"lib/{i}.mp4" for i in (3, 5, 6, 7, 8)]
    assert rows(place) == 5


def test_an_ingest_that_failed_before_it_deleted_a_shard_can_be_repeated(tmp_path, monkeypatch):
    folder = tmp_path / "lib"
    for i in range(3):
        write_video(folder / f"{i}.mkv", seed=i)
    with stand_ins(segments_per_shard=1), Library.open(tmp_path / "home") as library:
        library.ingest(folder)
        (folder / "1.mkv").unlink()
        with no_shard_can_be_deleted(monkeypatch):
            library.ingest(folder, prune=True)
        library.ingest(folder, prune=True)
        assert [v.video_id for v in library.videos()] == ["lib/0.mkv", "lib/2.mkv"]
        report = library.verify()
    assert report.damage == []
    assert all(c.wrong == 0 for c in report.comparisons)


def test_a_second_removal_mends_what_the_first_left(place):
    home = Home(place)
    distrust(place.home, "lib", "embedded")
    home.shards.drop("lib", {"lib/4.mp4": None})
    with Library(place) as library, pytest.raises(LibraryError):
        library.remove("lib/4.mp4")
    assert rows(place) == 8


def test_a_second_removal_of_a_library_mends_what_the_first_left(place):
    home = Home(place)
    home.shards.write("other", [embedded("other/a.mp4")])
    distrust(place.home, "lib", "embedded")
    home.shards.drop("lib", dict.fromkeys(home.shards.catalog("lib")))
    with Library(place) as library, pytest.raises(LibraryError):
        library.remove("lib")
    assert rows(place) == 0


def test_removing_single_videos_keeps_what_a_lost_shard_held(place):
    for path in (shard(place, 1), shard(place, 2)):
        path.unlink()
    with Library(place) as library:
        library.remove("lib/0.mp4", "lib/1.mp4", "lib/2.mp4")
        assert len(library.problems()) == 2
    assert rows(place) == 6, "the last copy"


def test_a_whole_ingest_settles_no_shard_of_which_milvus_has_the_last_copy(place):
    shard(place, 1).unlink()
    home = Home(place)
    with open_store(place, writing=True) as store:
        assert "Milvus alone has 6 rows" in settle_missing(store, home, "lib")
        assert home.shards.missing("lib") == ["000002.h5"]
        home.shards.write("lib", [embedded(f"lib/{i}.mp4", seed=i) for i in range(3, 6)])
        assert "is stored again" in settle_missing(store, home, "lib")
    assert home.shards.problems("lib") == []
