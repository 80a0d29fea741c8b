"""AudioSet's embedding files: every clip arrives as TensorFlow reads it, damage costs itself."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import google_crc32c
import numpy as np
import pytest

from vidsim.cli import main
from vidsim.ingest.exchange.audioset import ingest_audioset, parse_clip, read_class_names
from vidsim.ingest.exchange.sequence_example import _SEQUENCE_EXAMPLE
from vidsim.ingest.exchange.tfrecord import DamagedRecord, Record, read_records
from vidsim.ingest.extract.embed import EmbedOptions
from vidsim.ingest.milvus.filters import equals
from vidsim.ingest.milvus.store import open_store
from vidsim.ingest.pipeline import ingest
from vidsim.ingest.shards.home import Place, open_shards, read_notes
from vidsim.ingest.sync.libraries import summarize
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.errors import LibraryError
from vidsim.schemas.modality import Modality
from vidsim.search.query import QueryOptions, query

from ...helpers.embedded_videos import embedded

VGGISH = BACKBONES["vggish"]
CLIPS, ROWS = 932, 9239  # in the 175 real files, by TensorFlow's own reader

DECODE = """
import glob, json, sys
import numpy as np
import tensorflow as tf
def parse(data):
    context, steps = tf.io.parse_single_sequence_example(
        data,
        {"video_id": tf.io.FixedLenFeature([], tf.string),
         "start_time_seconds": tf.io.FixedLenFeature([], tf.float32),
         "end_time_seconds": tf.io.FixedLenFeature([], tf.float32),
         "labels": tf.io.VarLenFeature(tf.int64)},
        {"audio_embedding": tf.io.FixedLenSequenceFeature([], tf.string)})
    times = [context["start_time_seconds"], context["end_time_seconds"]]
    levels = tf.io.decode_raw(steps["audio_embedding"], tf.uint8)
    return context["video_id"], times, context["labels"].values, levels
files = sorted(glob.glob(sys.argv[1] + "/*/*.tfrecord"))
clips = [(name.decode(), times.tolist(), labels.tolist(), levels)
         for name, times, labels, levels
         in tf.data.TFRecordDataset(files).map(parse).as_numpy_iterator()]
np.savez(sys.argv[2], levels=np.concatenate([c[3] for c in clips]))
json.dump([(*c[:3], len(c[3])) for c in clips], open(sys.argv[3], "w"))
"""


@pytest.fixture(scope="session")
def features(shared_data: Path) -> Path:
    """The folder of the 175 real files."""
    return shared_data / "audioset_vggish_tfrecords"


@pytest.fixture(scope="module")
def imported(features, tmp_path_factory):
    """A home that holds them all, and what the import said."""
    place = Place(tmp_path_factory.mktemp("audioset"))
    return place, ingest_audioset(features, place, Silent(), "audioset")


@pytest.fixture
def folder(features: Path, tmp_path: Path) -> Path:
    """Two of the files, to be damaged: split/a.tfrecord with 7 clips, split/b.tfrecord."""
    split = tmp_path / "features" / "split"
    split.mkdir(parents=True)
    by_count = {len(records(p)): p for p in sorted((features / "bal_train").iterdir())}
    shutil.copy(by_count[7], split / "a.tfrecord")
    shutil.copy(by_count[4], split / "b.tfrecord")
    return split.parent


def records(path: Path) -> list[bytes]:
    """The data of a file's records, by its framing alone."""
    content, found = path.read_bytes(), []
    while content:
        (length,) = struct.unpack("<Q", content[:8])
        found.append(content[12 : 12 + length])
        content = content[length + 16 :]
    return found


def checksum(part: bytes) -> bytes:
    """The masked CRC-32C of the format."""
    crc = google_crc32c.value(part)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def frame(data: bytes) -> bytes:
    """A record as the format has it."""
    length = struct.pack("<Q", len(data))
    return length + checksum(length) + data + checksum(data)


def stored_rows(place: Place) -> int:
    """The rows in the shards, once Milvus holds a segment for each that has some."""
    shards = open_shards(place.home)
    stored = [e for name in shards.libraries() for e in shards.catalog(name).values()]
    with open_store(place) as store:
        segments = store.count(VGGISH, level="segments")
    assert segments == sum(e.stored.described[VGGISH.name] for e in stored)
    return sum(e.rows[VGGISH.name] for e in stored)


@pytest.mark.acceptance
def test_every_clip_arrives_as_tensorflow_reads_it(imported, features, tmp_path):
    place, report = imported
    assert (report.videos, report.embedded, report.rows) == (CLIPS, CLIPS, {"audio": ROWS})
    assert not report.failed
    assert not report.notes
    levels, facts = tmp_path / "levels.npz", tmp_path / "facts.json"
    done = subprocess.run(
        [sys.executable, "-c", DECODE, str(features), str(levels), str(facts)],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    shards = open_shards(place.home)
    catalog = shards.catalog("audioset")
    videos = {v.video.video_id: v for v in shards.read(catalog.values())}
    expected = json.loads(facts.read_text())
    assert len(expected) == len(videos) == CLIPS
    every = np.load(levels)["levels"]
    # What YouTube-8M's reader makes of a byte: a 255th of the range each, and a 512th of it.
    vectors = every.astype(np.float64) * (4 / 255) + 4 / 512 - 2
    at = 0
    for name, (start, end), labels, seconds in expected:
        video = videos[f"audioset/{name}@{start:g}"]
        assert video.video.label == "; ".join(f"label {n}" for n in labels)
        assert video.video.path == f"https://www.youtube.com/watch?v={name}&t={start:.0f}"
        (segment,) = video.segments
        assert (segment.start_s, segment.end_s) == (start, end)
        rows = video.embeddings[0].rows["vggish"]
        assert rows.start_s.tolist() == [start + i for i in range(seconds)]
        assert rows.end_s.tolist() == [min(start + i + 1, end) for i in range(seconds)]
        np.testing.assert_allclose(rows.vectors, vectors[at : at + seconds], atol=1e-6)
        at += seconds
    assert at == len(every) == ROWS == stored_rows(place)


def test_again_does_nothing(imported, features):
    place, _ = imported
    before = {p: p.stat().st_mtime_ns for p in open_shards(place.home).files("audioset")}
    report = ingest_audioset(features, place, Silent(), "audioset")
    assert (report.embedded, report.unchanged, report.videos) == (0, CLIPS, CLIPS)
    assert {p: p.stat().st_mtime_ns for p in open_shards(place.home).files("audioset")} == before


def test_a_stored_clip_can_be_queried(imported):
    place, _ = imported
    clip = "audioset/--cB2ZVjpnA@30"
    options = QueryOptions((Modality.AUDIO,), k=5, exclude_self=False)
    found = query(clip, place, options, Silent())
    best = found.results[0]
    assert (best.video_id, best.label) == (clip, "label 399")
    assert best.modalities["audio"].similarity == pytest.approx(1, abs=1e-5)
    assert best.modalities["audio"].start_s == 30  # seconds of the video on YouTube
    assert len(found.results) == 5
    assert summarize(place)[0].root == "https://www.youtube.com"


def test_any_label_can_be_filtered_by(imported):
    place, _ = imported
    options = QueryOptions(
        (Modality.AUDIO,), k=20, expression='label like "%; label 137%"', exclude_self=True
    )
    found = query("audioset/--cB2ZVjpnA@30", place, options, Silent())
    assert len(found.results) == 20
    assert all("label 137" in result.label.split("; ")[1:] for result in found.results)


def test_class_names_replace_numbers_also_later(place, folder, tmp_path):
    first = ingest_audioset(folder, place, Silent())
    table = tmp_path / "class_labels_indices.csv"
    lines = [f'{n},/m/{n},"Sound {n}, of a kind"' for n in range(527)]
    table.write_text("\n".join(["index,mid,display_name", *lines]))
    report = ingest_audioset(folder, place, Silent(), class_names=read_class_names(table))
    assert (report.videos, report.embedded) == (first.videos, first.videos)
    shards = open_shards(place.home)
    labels = [e.video.label for e in shards.catalog("features").values()]
    assert all(part.startswith("Sound ") for label in labels for part in label.split("; "))
    assert stored_rows(place) == sum(first.rows.values())
    with open_store(place) as store:
        assert store.count(VGGISH, equals("label", labels[0]), "segments") > 0
        assert store.count(VGGISH, 'label like "label%"') == 0
    again = ingest_audioset(folder, place, Silent())  # without the table
    assert (again.embedded, again.unchanged) == (0, first.videos)
    assert [e.video.label for e in shards.catalog("features").values()] == labels


def test_other_labels_in_the_record_replace_stored_names(place, folder):
    names = {n: f"Sound {n}" for n in range(527)}
    ingest_audioset(folder, place, Silent(), class_names=names)
    path = folder / "split" / "a.tfrecord"
    first, *others = records(path)
    message = _SEQUENCE_EXAMPLE.FromString(first)
    for entry in message.context.feature:
        if entry.key == "labels":
            entry.value.int64_list.value[:] = [3]
    path.write_bytes(b"".join(map(frame, [message.SerializeToString(), *others])))
    assert ingest_audioset(folder, place, Silent()).embedded == 1
    clip = parse_clip(first)
    catalog = open_shards(place.home).catalog("features")
    assert catalog[f"features/{clip.youtube_id}@{clip.start_s:g}"].video.label == "label 3"


def test_published_rows_do_not_name_the_weights_that_lie_here(place, folder, monkeypatch):
    monkeypatch.setattr("vidsim.ingest.models.weights.digests", lambda _: "f" * 64)
    ingest_audioset(folder, place, Silent())
    assert open_shards(place.home).weights("features", "vggish") == ""
    assert read_notes(place.home)["features"].weights == {"vggish": ""}


def test_a_class_list_with_a_byte_order_mark_is_read(tmp_path):
    table = tmp_path / "names.csv"
    table.write_bytes(b"\xef\xbb\xbfindex,mid,display_name\r\n0,/m/09x0r,Speech\r\n")
    assert read_class_names(table) == {0: "Speech"}


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2\n",
        b"index,mid,display_name\nx,/m/1,A\n",
        b"index,display_name\n1,\xff",
        b"",
        b"index,mid,display_name\n",
        b"index,mid,display_name\n0,/m/1,A\n1,/m/2,\n",
        b"index,mid,display_name\n0,/m/1\n",
    ],
)
def test_another_table_is_no_list_of_classes(tmp_path, content):
    table = tmp_path / "names.csv"
    table.write_bytes(content)
    with pytest.raises(LibraryError, match=r"names\.csv is no list of AudioSet's classes"):
        read_class_names(table)


def test_a_flipped_byte_costs_one_clip(place, folder):
    path = folder / "split" / "a.tfrecord"
    parts = [frame(data) for data in records(path)]
    content = bytearray(path.read_bytes())
    content[len(parts[0]) + 500] ^= 1  # within the data of the second record
    path.write_bytes(content)
    report = ingest_audioset(folder, place, Silent())
    assert (report.videos, len(report.failed)) == (7 + 4 - 1, 1)
    assert report.failed[0].path == str(path)
    assert report.failed[0].reason == (
        f"The record at byte {len(parts[0]):,} was skipped: its data fail their checksum."
    )


@pytest.mark.parametrize("damage", ["length", "cut in the data", "cut in the head"])
def test_lost_framing_keeps_what_came_before(place, folder, damage):
    path = folder / "split" / "a.tfrecord"
    content = bytearray(path.read_bytes())
    third = sum(len(frame(data)) for data in records(path)[:2])
    if damage == "length":
        content[third] ^= 1
    else:
        del content[third + (900 if damage == "cut in the data" else 5) :]
    path.write_bytes(content)
    report = ingest_audioset(folder, place, Silent())
    assert report.videos == 2 + 4
    (failed,) = report.failed
    assert f"byte {third:,} was skipped" in failed.reason
    assert ("length is damaged" if damage == "length" else "cut short") in failed.reason


def test_a_length_beyond_the_file_is_not_believed(tmp_path):
    path = tmp_path / "a.tfrecord"
    length = struct.pack("<Q", 1 << 60)
    path.write_bytes(frame(b"one") + length + checksum(length) + b"some")
    assert list(read_records(path)) == [
        Record(0, b"one"),
        DamagedRecord(len(frame(b"one")), "the file is cut short"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"audio_embedding", b"image_embedding", "no embeddings of 128 bytes"),
        (b"start_time_seconds", b"stop__time_seconds", "no start and end"),
        (struct.pack("<f", 40.0), struct.pack("<f", 20.0), "no start and end"),
        (struct.pack("<f", 40.0), struct.pack("<f", np.nan), "no start and end"),
        (b"video_id", b"clip__id", "names no YouTube video"),
        (b"--cB2ZVjpnA", b"../../../et", "names no YouTube video"),
    ],
)
def test_a_record_that_is_no_clip_is_skipped(place, folder, features, old, new, reason):
    clip = next(d for p in (features / "bal_train").iterdir() for d in records(p) if b"--cB2Z" in d)
    assert parse_clip(clip).youtube_id == "--cB2ZVjpnA"
    assert clip.count(old) == 1
    with (folder / "split" / "b.tfrecord").open("ab") as file:
        file.write(frame(clip.replace(old, new)) + frame(b"\xff no message") + frame(clip))
    report = ingest_audioset(folder, place, Silent())
    assert report.videos == 7 + 4 + 1
    first, second = report.failed
    assert reason in first.reason
    assert "no SequenceExample" in second.reason


def test_an_embedding_of_another_length_is_skipped(folder):
    message = _SEQUENCE_EXAMPLE.FromString(records(folder / "split" / "b.tfrecord")[0])
    (steps,) = message.feature_lists.feature_list
    (levels,) = steps.value.feature[1].bytes_list.value
    assert parse_clip(message.SerializeToString()).levels[1].tobytes() == levels
    steps.value.feature[1].bytes_list.value[0] = levels[:127]
    with pytest.raises(ValueError, match="no embeddings of 128 bytes"):
        parse_clip(message.SerializeToString())


def test_two_clips_of_one_video_stay_apart(place, folder, features):
    clip = records(folder / "split" / "a.tfrecord")[0]
    start = parse_clip(clip).start_s
    later = clip.replace(struct.pack("<f", start), struct.pack("<f", start + 0.5))
    assert parse_clip(later).start_s == start + 0.5
    with (folder / "split" / "b.tfrecord").open("ab") as file:
        file.write(frame(later) + frame(clip))
    report = ingest_audioset(folder, place, Silent())
    youtube_id = parse_clip(clip).youtube_id
    ids = [i for i in open_shards(place.home).catalog("features") if youtube_id in i]
    assert ids == [f"features/{youtube_id}@{start:g}", f"features/{youtube_id}@{start + 0.5:g}"]
    assert [f.reason.partition(": ")[2] for f in report.failed] == ["the same clip came before."]
    assert ingest_audioset(folder, place, Silent()).unchanged == 7 + 4 + 1


def test_a_clip_has_the_same_id_whichever_folder_is_given(place, folder):
    (folder / "split" / "b.tfrecord").rename(folder / "b.tfrecord")
    whole = ingest_audioset(folder, place, Silent(), "audioset")
    part = ingest_audioset(folder / "split", place, Silent(), "audioset")
    assert (part.embedded, part.unchanged, part.videos) == (0, 7, whole.videos)


def test_clips_of_one_video_in_two_splits_do_not_overwrite_each_other(place, folder):
    (clip, *_) = records(folder / "split" / "a.tfrecord")
    start = parse_clip(clip).start_s
    later = folder / "later" / "a.tfrecord"
    later.parent.mkdir()
    later.write_bytes(frame(clip.replace(struct.pack("<f", start), struct.pack("<f", start + 0.5))))
    ingest_audioset(folder / "split", place, Silent(), "audioset")
    report = ingest_audioset(folder / "later", place, Silent(), "audioset")
    assert (report.embedded, report.videos) == (1, 7 + 4 + 1)


@pytest.mark.acceptance
def test_a_killed_import_goes_on_where_it_stopped(place, features, tmp_path, monkeypatch):
    class Stopped(Silent):
        files = 0

        def advance(self, stage: str, amount: float) -> None:
            self.files += 1
            if self.files == 12:
                raise KeyboardInterrupt

    clips = {}
    for split in ("bal_train", "eval"):
        (tmp_path / split).mkdir()
        files = sorted((features / split).iterdir())[:20]
        for path in files:
            (tmp_path / split / path.name).symlink_to(path)
        clips[split] = sum(len(records(path)) for path in files)
    monkeypatch.setattr("vidsim.ingest.exchange.audioset._FLUSH_SEGMENTS", 20)
    with pytest.raises(KeyboardInterrupt):
        ingest_audioset(tmp_path / "bal_train", place, Stopped(), "audioset")
    kept = len(open_shards(place.home).catalog("audioset"))
    assert len(open_shards(place.home).files("audioset")) > 2  # written as they came
    report = ingest_audioset(tmp_path / "bal_train", place, Silent(), "audioset")
    assert 0 < kept == report.unchanged < report.videos == clips["bal_train"]
    assert stored_rows(place) == report.rows["audio"]
    # Another split joins the library; what its folder does not hold is left alone.
    both = ingest_audioset(tmp_path / "eval", place, Silent(), "audioset")
    assert (both.videos, both.missing) == (sum(clips.values()), [])
    assert stored_rows(place) == both.rows["audio"] > report.rows["audio"]


def test_videos_and_clips_do_not_share_a_library(place, folder, tmp_path):
    shards = open_shards(place.home)
    shards.write("mine", [embedded("mine/a.mp4")])
    with pytest.raises(LibraryError, match="mine was made from /videos/mine; name AudioSet's"):
        ingest_audioset(folder, place, Silent(), "mine")
    ingest_audioset(folder, place, Silent(), "audioset")
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mkv").write_bytes(b"not looked at")
    options = EmbedOptions({Modality.COLOR: BACKBONES["labhist"]})
    with pytest.raises(LibraryError, match="audioset was imported, not made from a folder"):
        ingest(tmp_path / "clips", place, options, Silent(), library="audioset")


def call(monkeypatch, capsys, *words: str) -> tuple[object, str, str]:
    monkeypatch.setattr(sys, "argv", ["vidsim", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, *capsys.readouterr()


def test_the_command(place, folder, tmp_path, monkeypatch, capsys):
    code, out, _ = call(monkeypatch, capsys, "ingest-audioset", str(folder), "--json")
    assert not code
    assert json.loads(out)["videos"] == 7 + 4
    code, out, err = call(monkeypatch, capsys, "ingest-audioset", str(folder))
    assert not code
    assert out.startswith("features: 11 videos, 11 segments")
    assert "11 unchanged" in err
    code, out, err = call(monkeypatch, capsys, "ingest-audioset", str(tmp_path / "none"))
    assert (code, out) == (1, "")
    assert (
        err == f"Error: There is no folder {tmp_path}/none; give the one of AudioSet's features.\n"
    )
    (tmp_path / "empty").mkdir()
    code, _, err = call(monkeypatch, capsys, "ingest-audioset", str(tmp_path / "empty"))
    assert code == 1
    assert "holds no .tfrecord file" in err
