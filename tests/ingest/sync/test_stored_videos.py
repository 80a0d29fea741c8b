"""Stored videos: which ones a name, a label or a filter chooses, and what is told of them."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace
from types import SimpleNamespace

import h5py
import pytest

from vidsim.ingest.shards import layout
from vidsim.ingest.shards.compact import compact
from vidsim.ingest.shards.home import open_shards
from vidsim.ingest.sync.stored_videos import Wanted, find, list_labels, list_videos
from vidsim.schemas.embedding import Damage
from vidsim.schemas.errors import LibraryError, ModelError

from ...helpers.embedded_videos import audioset_clip, embedded, store

IDS = (
    "birds/a.mp4",
    "birds/snow/1.mp4",
    "birds/snow/deep/2.mp4",
    "fish/snow/3.mp4",
    "fish/[x]/4.mp4",
)


def stored(place, *videos):
    """A home with these videos, or with one of each of `IDS`."""
    made = [embedded(video_id, label=video_id.split("/")[-2]) for video_id in IDS]
    store(place, *(videos or made))
    return place.home


def ids(home, *names, **how):
    return [v.video_id for v in list_videos(home, Wanted(names, **how))]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], IDS),
        (["birds"], IDS[:3]),
        (["birds/"], IDS[:3]),
        (["birds/snow"], IDS[1:3]),
        (["birds/snow/"], IDS[1:3]),
        (["birds/snow/1.mp4"], IDS[1:2]),
        (["birds/*"], IDS[:3]),
        (["birds/*.mp4"], IDS[:1]),
        (["*/snow"], (*IDS[1:3], IDS[3])),
        (["*/snow/?.mp4"], (IDS[1], IDS[3])),
        (["f*"], IDS[3:]),
        (["fish/[x]"], IDS[4:]),
        (["fish/[x]/*"], None),  # a class of one letter, which no folder is called
        (["fish/[[]x]/*"], IDS[4:]),
        (["birds/snow", "birds/snow/1.mp4", "fish/snow/*"], (*IDS[1:3], IDS[3])),
        (["birds/sno"], None),
        (["birds/snow/1.mp4/x"], None),
        (["*/*/*/*/*"], None),
    ],
)
def test_names_are_of_libraries_folders_and_videos_or_patterns_of_them(place, names, found):
    home = stored(place)
    if found is None:
        with pytest.raises(LibraryError):
            ids(home, *names)
    else:
        assert sorted(ids(home, *names)) == sorted(found)


def test_an_id_goes_before_a_folder_of_its_name(place):
    home = stored(place, embedded("lib/a"), embedded("lib/a/1.mp4"))
    assert find(home, ["lib/a"]) == {"lib": ["lib/a"]}
    assert find(home, ["lib/a/"]) == {"lib": ["lib/a/1.mp4"]}


def test_no_name_chooses_all_to_list_and_nothing_to_remove(place):
    home = stored(place)
    assert find(home, []) == {}
    assert find(home, [], label="snow") == {"birds": [IDS[1]], "fish": [IDS[3]]}
    assert find(home, [], expression='label == "deep"') == {"birds": [IDS[2]]}


def test_a_label_is_one_of_several(place):
    clips = [audioset_clip(f"set/{n}", label, n) for n, label in enumerate(("Dog; Speech", "Dog"))]
    home = stored(place, *clips)
    assert ids(home, label="Speech") == ["set/0"]
    assert ids(home, label="Dog; Speech") == ["set/0"]
    assert ids(home, label="Dog") == ["set/0", "set/1"]
    assert [(each.label, each.videos) for each in list_labels(home)] == [("Dog", 2), ("Speech", 1)]
    with pytest.raises(LibraryError, match=r"has the label 'dogs' \(did you mean Dog\?\)"):
        ids(home, label="dogs")


def test_a_filter_is_about_fields_of_a_video(place):
    home = stored(place)
    assert ids(home, "birds", expression='label in ["snow", "deep"]') == [*IDS[1:3]]
    assert ids(home, expression='path like "%/3.mp4"') == [IDS[3]]
    assert ids(home, expression="1 == 2") == []
    with pytest.raises(
        ModelError, match="asks for segment of rows; fields of a video are video_id"
    ):
        ids(home, expression="segment > 0")
    with pytest.raises(ModelError, match="is not understood"):
        ids(home, expression="label =")


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("birds/snow/1.mp", "birds/snow/1.mp4"),
        ("brids/snwo/1.mp4", "birds/snow/1.mp4"),
        ("snow/3.mp4", "fish/snow/3.mp4"),
        ("Birds", "birds"),
        ("birds/snwo", "birds/snow"),
        ("elsewhere", ""),
        ("birds/nothing like it", ""),
    ],
)
def test_the_name_that_was_meant_is_suggested(place, asked, meant):
    hint = f" (did you mean {meant}?)" if meant else ""
    with pytest.raises(LibraryError) as caught:
        ids(stored(place), asked)
    said = f"{asked} is no library, folder or stored video{hint}; 'vidsim videos' lists what is "
    assert str(caught.value).startswith(said)


def test_a_list_is_sorted_as_asked_and_by_id_where_that_is_equal(place):
    home = stored(
        place,
        embedded("b/long", segments=3, label="z"),
        embedded("b/short", label="a"),
        embedded("b-c/short", label="a"),
    )
    assert ids(home) == ["b/long", "b/short", "b-c/short"]  # by library first
    orders = {
        order: [v.video_id for v in list_videos(home, order=order)]
        for order in ("id", "label", "duration", "size")
    }
    assert orders["label"] == orders["duration"] == ["b/short", "b-c/short", "b/long"]
    assert orders["size"] == orders["id"]
    backwards = list_videos(home, order="duration", reverse=True)
    assert [v.video_id for v in backwards] == ["b/long", "b/short", "b-c/short"]
    assert [v.video_id for v in list_videos(home, reverse=True)] == [*reversed(orders["id"])]


def test_sound_is_told_from_silence_and_from_what_was_not_heard(place):
    backbones = ("labhist", "yamnet")
    damaged = replace(embedded("lib/d", backbones=backbones), damage=Damage(sound="no audio"))
    home = stored(
        place,
        embedded("lib/a", backbones=("labhist",)),
        embedded("lib/b", backbones=backbones, silent=True),
        embedded("lib/c", backbones=backbones),
        damaged,
    )
    listed = list_videos(home)
    assert [v.sound for v in listed] == [None, False, True, True]
    assert [v.modalities for v in listed] == [["color"], ["color"], *2 * [["color", "audio"]]]
    assert [v.rows["labhist"] for v in listed] == [1, 1, 1, 1]
    assert ids(home, damaged=True) == ["lib/d"]


@pytest.fixture
def clock(monkeypatch):
    """Has every shard be written 10**8 seconds after the last one, from 2001 on."""
    moments = itertools.count(10**9, 10**8)
    names = ("strftime", "strptime", "gmtime")
    stopped = SimpleNamespace(**{name: getattr(time, name) for name in names})
    stopped.time = lambda: next(moments)
    monkeypatch.setattr(layout, "time", stopped)


@pytest.mark.usefixtures("clock")
def test_when_a_video_was_stored_outlives_its_shard(place):
    home = stored(place, embedded("lib/a", backbones=("labhist",)))
    shards = store(place, embedded("lib/b"), embedded("lib/c"))
    shards.write("lib", [embedded("lib/a", backbones=("i3d",))])
    expected = {
        "lib/a": "2008-01-10T21:20:00Z",
        "lib/b": "2004-11-09T11:33:20Z",
        "lib/c": "2004-11-09T11:33:20Z",
    }

    def told():
        return {v.video_id: v.stored_at for v in list_videos(home)}

    assert told() == expected
    assert [v.video_id for v in list_videos(home, order="stored")] == ["lib/b", "lib/c", "lib/a"]
    shards.drop("lib", {"lib/c": None})
    del expected["lib/c"]
    assert told() == expected
    assert compact(open_shards(home), "lib") == (3, 1)
    assert told() == expected


@pytest.mark.usefixtures("clock")
def test_an_older_shard_was_stored_when_it_was_written(place):
    home = stored(place, embedded("lib/a"))
    (path,) = open_shards(home).files("lib")
    with h5py.File(path, "r+") as file:
        del file["videos/stored_at"]
    assert [v.stored_at for v in list_videos(home)] == ["2001-09-09T01:46:40Z"]
