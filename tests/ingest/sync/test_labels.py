"""Labels that a person sets: read from a CSV, stored as any other, kept by later ingests.

As in `ingest/test_pipeline.py`, `networks` stands in for decoders and networks and tells what it
was given.
"""

from __future__ import annotations

import pytest

from vidsim.ingest.milvus.filters import equals
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.shards.home import distrusted, open_shards
from vidsim.ingest.shards.shard_files import Shards
from vidsim.ingest.sync import labels as module
from vidsim.ingest.sync.labels import read_labels, set_labels
from vidsim.ingest.sync.stored_videos import list_videos
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.errors import LibraryError, StoreError

from ...helpers.embedded_videos import audioset_clip, store
from ...helpers.ingests import QUIET, in_step, ingest


def labels_of(place):
    return {v.video_id: v.label for v in list_videos(place.home)}


def in_milvus(place, label):
    """How many rows of colours have a label."""
    with open_store(place) as opened:
        return opened.count(BACKBONES["labhist"], equals("label", label), "rows")


@pytest.fixture
def labelled(place, folder, networks):
    """A library of a.mp4, snow/b.mp4 and snow/c.mp4, of which two have got other labels."""
    ingest(folder, place, "color")
    ingest(folder, place, "frame")
    report = set_labels(place, {"lib/a.mp4": "top", "lib/snow/b.mp4": "winter"}, QUIET)
    assert (report.changed, report.unchanged, report.notes) == (2, 0, [])
    networks.clear()
    return folder


NOW = {"lib/a.mp4": "top", "lib/snow/b.mp4": "winter", "lib/snow/c.mp4": "snow"}


def test_labels_are_in_every_shard_and_in_milvus(place, labelled):
    assert labels_of(place) == NOW
    shards = open_shards(place.home)
    for video in shards.read(shards.catalog("lib").values()):  # once per shard
        assert video.video.label == NOW[video.video.video_id]
    assert (in_milvus(place, "winter"), in_milvus(place, "snow")) == (2, 2)
    assert in_step(place) == {"labhist": 6, "efficientnet_lite0": 48}
    assert shards.problems("lib") == []
    again = set_labels(place, NOW, QUIET)
    assert (again.changed, again.unchanged) == (0, 3)


def test_an_ingest_keeps_them(place, labelled, networks):
    report = ingest(labelled, place, "color", "frame")
    assert (networks, report.unchanged, report.notes) == ([], 3, [])
    assert labels_of(place) == NOW


def test_more_modalities_keep_them(place, labelled, networks):
    ingest(labelled, place, "motion")
    assert labels_of(place) == NOW
    assert in_step(place) == {"labhist": 6, "efficientnet_lite0": 48, "i3d_192": 6}


def test_an_edited_file_keeps_its_label(place, labelled, networks):
    (labelled / "snow" / "b.mp4").write_text("edited")
    report = ingest(labelled, place, "color", "frame")
    assert (networks, report.embedded) == (["lib/snow/b.mp4"], 1)
    assert labels_of(place) == NOW
    assert in_step(place) == {"labhist": 6, "efficientnet_lite0": 48}


@pytest.mark.parametrize("more", [(), ("motion",)])
def test_a_moved_file_keeps_its_label_and_others_follow_their_folder(
    place, labelled, networks, more
):
    (labelled / "snow").rename(labelled / "ice")
    assert ingest(labelled, place, "color", "frame", *more).moved == 2
    assert labels_of(place) == {
        "lib/a.mp4": "top", "lib/ice/b.mp4": "winter", "lib/ice/c.mp4": "ice"
    }  # fmt: skip
    assert ingest(labelled, place, "color", "frame", *more).unchanged == 3
    assert in_step(place)["labhist"] == 6


def test_the_name_of_the_folder_follows_the_folder_again(place, labelled):
    set_labels(place, {"lib/snow/b.mp4": "snow"}, QUIET)
    (labelled / "snow").rename(labelled / "ice")
    ingest(labelled, place, "color", "frame")
    assert labels_of(place)["lib/ice/b.mp4"] == "ice"


def test_a_milvus_that_cannot_be_written_is_brought_in_step_later(place, labelled, monkeypatch):
    def refuse(*_):
        raise StoreError("No room.")

    with monkeypatch.context() as full:
        full.setattr(module, "reindex", refuse)
        report = set_labels(place, {"lib/snow/b.mp4": "cold"}, QUIET)
    assert (report.changed, [note[:8] for note in report.notes]) == (1, ["No room."])
    assert distrusted(place.home, "lib", "embedded")
    assert labels_of(place)["lib/snow/b.mp4"] == "cold"
    ingest(labelled, place, "color", "frame")
    assert (in_milvus(place, "winter"), in_milvus(place, "cold")) == (0, 2)


def test_what_was_interrupted_is_finished_by_the_same_command(place, labelled, monkeypatch):
    usual, calls = Shards.replace, []

    def once(self, *args):
        if calls:
            raise KeyboardInterrupt
        calls.append(args)
        usual(self, *args)

    wanted = {"lib/snow/b.mp4": "cold"}
    with monkeypatch.context() as killed:
        killed.setattr(Shards, "replace", once)
        with pytest.raises(KeyboardInterrupt):
            set_labels(place, wanted, QUIET)
    set_labels(place, wanted, QUIET)
    assert labels_of(place) == NOW | wanted
    assert (in_milvus(place, "winter"), in_milvus(place, "cold")) == (0, 2)
    assert in_step(place) == {"labhist": 6, "efficientnet_lite0": 48}


def test_one_unknown_id_changes_nothing(place, labelled):
    with pytest.raises(LibraryError, match=r"lib/snow/x.mp4 is no library, folder or stored"):
        set_labels(place, {"lib/a.mp4": "other", "lib/snow/x.mp4": "other"}, QUIET)
    with pytest.raises(LibraryError, match="is longer than 2048 bytes; shorten it"):
        set_labels(place, {"lib/a.mp4": "other", "lib/snow/b.mp4": "x" * 2049}, QUIET)
    assert labels_of(place) == NOW


def test_labels_of_audioset_come_with_its_features(place):
    store(place, audioset_clip("set/a", "Dog"))
    with pytest.raises(LibraryError, match="ingest-audioset --class-labels"):
        set_labels(place, {"set/a": "Cat"}, QUIET)


# --- the CSV


@pytest.mark.parametrize(
    "text",
    [
        "l/a,x\nl/b,\n",
        "video_id,label\nl/a,x\nl/b,\n",
        "\ufefflabel,path,video_id\r\nx,/p,l/a\r\n\r\n,/q,l/b\r\n",
        '"l/a","x"\nl/b,""\nl/a,x\n',
    ],
)
def test_a_table_of_ids_and_labels_is_read(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text, "utf-8", newline="")
    assert read_labels(path) == {"l/a": "x", "l/b": ""}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no label; give a CSV with the columns video_id and label"),
        ("video_id,label\n", "holds no label; give"),
        ("l/a\n", "is no table of labels: 'l/a'; give"),
        ("l/a;x\n", "is no table of labels: 'l/a;x'; give"),
        ("video_id,label\nl/a,x,y\n", "is no table of labels: 'l/a,x,y'; give"),
        ("l/a,x\nl/a,y\n", "gives l/a two labels; leave one of them out"),
        ("l/a,\x01\n", "is no table of labels: it is no text; give"),
    ],
)
def test_another_table_is_refused(tmp_path, text, said):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(LibraryError, match=said):
        read_labels(path)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(LibraryError, match="cannot be read as a table of labels"):
        read_labels(tmp_path / "none.csv")
