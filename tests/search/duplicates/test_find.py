"""Near-duplicates: copies are found where they are, other videos are not."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vidsim.ingest import pipeline
from vidsim.ingest.extract.embed import EmbedOptions
from vidsim.ingest.shards.home import open_shards
from vidsim.ingest.shards.shard_files import Shards
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.duplicates import DuplicateOptions
from vidsim.schemas.errors import LibraryError
from vidsim.schemas.modality import Modality
from vidsim.schemas.presets import choose_backbones
from vidsim.schemas.results import DuplicatesReport
from vidsim.schemas.video import Segment
from vidsim.search.demo import disguise
from vidsim.search.duplicates.find import find_duplicates, match_videos
from vidsim.search.duplicates.frame_hashes import (
    CROPS,
    FrameHashes,
    frame_hashes,
    hash_frames,
    wavelet_hashes,
    without_bars,
)
from vidsim.search.report_text import duplicates_text

from ...helpers.embedded_videos import embedded

QUIET = Silent()
OPTIONS = DuplicateOptions()


def duplicates(home: Path, *libraries: str) -> DuplicatesReport:
    return find_duplicates(home, libraries, OPTIONS, 1, QUIET)


def ingest(folder: Path, place) -> None:
    pipeline.ingest(
        folder, place, EmbedOptions(choose_backbones([Modality.FRAME]), workers=1), QUIET
    )


@pytest.fixture
def without_networks(monkeypatch) -> None:
    """Each file is of two seconds, and has a sound, if it is a wav, or else eight frames."""

    def embed_all(videos, *_, **__):
        for video in videos:
            name = "yamnet" if video.path.endswith(".wav") else "efficientnet_lite0"
            yield replace(
                embedded(video.video_id, backbones=(name,), seed=len(video.path)),
                video=video,
                duration_s=2.0,
                backbones=frozenset({"efficientnet_lite0", "yamnet"}),
                segments=(Segment(0, 0.0, 2.0),),
            )

    monkeypatch.setattr(pipeline, "embed_all", embed_all)


def pairs(report: DuplicatesReport) -> set[frozenset[str]]:
    return {frozenset((p.first.video_id, p.second.video_id)) for p in report.pairs}


def random_hashes(seed: int, count: int, start_s: float = 0.25) -> FrameHashes:
    codes = np.random.default_rng(seed).integers(0, 256, (count, 8), np.uint8)
    return hashes_of(codes, start_s)


def hashes_of(codes: np.ndarray, start_s: float = 0.25) -> FrameHashes:
    """Frames twice a second, whose crops all have the hash of the whole."""
    times = start_s + np.arange(len(codes)) / 2
    return FrameHashes(codes, times, np.repeat(codes[:, None], len(CROPS), axis=1), times)


def flipped(hashes: np.ndarray, bits: int) -> np.ndarray:
    """The hashes with their first `bits` bits turned over."""
    return hashes ^ np.packbits(np.arange(64) < bits)


@pytest.mark.acceptance
def test_a_disguised_copy_is_found_with_its_times(weights, place, shared_data, tmp_path):
    clips = tmp_path / "lib"
    clips.mkdir()
    for name in ("snow/0", "snow/1", "animals/0", "children/0", "drive/0"):
        source = shared_data / "capstone70" / f"{name}.mp4"
        if source.exists():
            os.symlink(source, clips / f"{name.replace('/', '_')}.mp4")
    disguise(clips / "snow_0.mp4", clips / "copy.mp4", crop=0.06, trim=0.4)
    ingest(clips, place)
    report = duplicates(place.home, "lib", "lib")  # named twice, compared once
    assert pairs(report) == {frozenset(("lib/copy.mp4", "lib/snow_0.mp4"))}
    (found,) = report.pairs
    catalog = open_shards(place.home).catalog("lib")
    length = catalog["lib/snow_0.mp4"].duration_s
    assert found.first.video_id == "lib/copy.mp4"
    assert found.second.start_s - found.first.start_s == pytest.approx(0.2 * length, abs=0.7)
    assert found.second.end_s - found.second.start_s == pytest.approx(0.6 * length, abs=1.5)
    assert found.hash_distance <= OPTIONS.max_distance
    assert found.similarity >= OPTIONS.min_similarity
    assert DuplicatesReport.model_validate_json(report.model_dump_json()) == report
    assert [line.split()[-1] for line in [*duplicates_text(report)][1:]] == [
        "lib/copy.mp4",
        "lib/snow_0.mp4",
    ]


@pytest.mark.acceptance
def test_hashes_are_made_once_and_a_lost_file_is_named(
    without_networks, place, make_clip, tmp_path
):
    shades = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), np.uint8)
    (tmp_path / "lib").mkdir()
    make_clip("lib/a.mkv", times=[i / 10 for i in range(40)], images=list(shades))
    ingest(tmp_path / "lib", place)
    videos = [e.video for e in open_shards(place.home).catalog("lib").values()]
    first, failed = frame_hashes(place.home, videos, 1, QUIET)
    assert failed == []
    assert len(first["lib/a.mkv"].whole) == 16
    assert first["lib/a.mkv"].crops.shape == (8, len(CROPS), 8)
    (tmp_path / "lib" / "a.mkv").unlink()
    again, _ = frame_hashes(place.home, videos, 1, QUIET)
    assert np.array_equal(again["lib/a.mkv"].crops, first["lib/a.mkv"].crops)
    changed = replace(videos[0], fingerprint="other")
    none, failed = frame_hashes(place.home, [changed], 1, QUIET)
    assert none == {}
    assert [Path(f.path).name for f in failed] == ["a.mkv"]
    assert "not there" in failed[0].reason


@pytest.fixture
def two_seconds(without_networks, place, make_clip, tmp_path):
    """A stored clip of two seconds, lib/a.mkv."""
    shades = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), np.uint8)
    (tmp_path / "lib").mkdir()
    make_clip("lib/a.mkv", times=[i / 10 for i in range(20)], images=list(shades))
    ingest(tmp_path / "lib", place)
    return open_shards(place.home).catalog("lib")["lib/a.mkv"].video


def test_hashes_in_a_file_that_was_cut_short_are_made_anew(place, two_seconds):
    first, _ = frame_hashes(place.home, [two_seconds], 1, QUIET)
    (kept,) = place.home.glob("hashes-*/*.npz")
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    again, failed = frame_hashes(place.home, [two_seconds], 1, QUIET)
    assert failed == []
    assert np.array_equal(again["lib/a.mkv"].whole, first["lib/a.mkv"].whole)
    assert kept.read_bytes() == whole


def test_hashes_of_another_video_under_this_ones_name_are_not_used(place, two_seconds):
    frame_hashes(place.home, [two_seconds], 1, QUIET)
    (kept,) = place.home.glob("hashes-*/*.npz")
    whole = kept.read_bytes()
    kept.rename(kept.with_stem("other"))
    other = replace(two_seconds, fingerprint="other", path="nowhere")
    found, failed = frame_hashes(place.home, [other], 1, QUIET)
    assert (found, len(failed)) == ({}, 1)
    frame_hashes(place.home, [two_seconds], 1, QUIET)
    assert kept.read_bytes() == whole


@pytest.mark.parametrize(
    "at",
    [6, 8],
    ids=["a password is asked for", "an unknown compression"],
)
def test_hashes_in_a_file_that_no_zip_reader_takes_are_made_anew(place, two_seconds, at):
    first, _ = frame_hashes(place.home, [two_seconds], 1, QUIET)
    (kept,) = place.home.glob("hashes-*/*.npz")
    content = bytearray(kept.read_bytes())
    central = content.find(b"PK\x01\x02")
    content[central + at + 2] |= 1 if at == 6 else 99
    kept.write_bytes(content)
    again, failed = frame_hashes(place.home, [two_seconds], 1, QUIET)
    assert failed == []
    assert np.array_equal(again["lib/a.mkv"].whole, first["lib/a.mkv"].whole)


def test_a_lost_shard_is_told(place):
    shards = open_shards(place.home).directory
    for name in ("a", "b"):
        path = Shards(shards).write(
            "lib", [embedded(f"lib/{name}.mp4", backbones=("efficientnet_lite0",))]
        )
    path.unlink()
    (told,) = (n for n in duplicates(place.home, "lib").notes if "missing" in n)
    assert "000002.h5 is missing" in told


def test_frames_that_were_in_a_lost_shard_are_told_as_lost(place):
    shards = open_shards(place.home)
    shards.write("lib", [embedded("lib/a.mp4", backbones=("labhist",))])
    shards.write("lib", [embedded("lib/a.mp4", backbones=("efficientnet_lite0",))]).unlink()
    with pytest.raises(LibraryError, match=r"000002\.h5 is missing"):
        duplicates(place.home, "lib")


@pytest.mark.parametrize("change", [{"size": 1}, {"mtime_ns": 1}])
def test_hashes_of_a_file_that_has_changed_are_not_kept(place, two_seconds, change):
    found, failed = frame_hashes(place.home, [replace(two_seconds, **change)], 1, QUIET)
    assert (list(found), failed) == (["lib/a.mkv"], [])
    assert list(place.home.glob("hashes-*/*")) == []


def test_a_copy_is_matched_at_its_shift_and_a_stranger_is_not():
    original = random_hashes(1, 30)
    copy = hashes_of(flipped(original.whole[10:26], 5))
    (match,) = match_videos([original, copy, random_hashes(2, 30)], 10, QUIET)
    assert (match.first, match.second) == (0, 1)
    assert match.times_s == pytest.approx(original.whole_s[10:26])
    assert match.shift_s == pytest.approx(-5, abs=0.25)
    assert (match.distance, match.coverage) == (5, 1)
    assert match_videos([original, copy], 5, QUIET) != []
    assert match_videos([original, copy], 4, QUIET) == []


def test_frames_that_match_only_at_different_shifts_or_crops_are_no_copy():
    original = random_hashes(1, 30)
    shuffled = hashes_of(original.whole[np.random.default_rng(0).permutation(30)])
    assert match_videos([original, shuffled], 10, QUIET) == []
    mixed = hashes_of(original.whole.copy())
    strangers = random_hashes(2, 30)
    mixed.whole[:] = strangers.whole
    mixed.crops[:] = strangers.crops
    for frame in range(30):
        mixed.crops[frame, frame % len(CROPS)] = original.whole[frame]
    assert match_videos([original, mixed], 10, QUIET) == []
    mixed.crops[:, 2] = original.whole
    assert len(match_videos([original, mixed], 10, QUIET)) == 1


def test_one_frame_that_two_videos_share_is_no_copy():
    one, other = random_hashes(1, 20), random_hashes(2, 20)
    other.whole[7] = one.whole[3]
    assert match_videos([one, other], 10, QUIET) == []


def test_a_stretch_is_what_matches_and_not_what_lies_between_chance_hits():
    one, other = random_hashes(1, 40), random_hashes(2, 40)
    other.whole[:20] = one.whole[:20]
    other.whole[[27, 33]] = one.whole[[27, 33]]  # two frames that are alike by chance
    (match,) = match_videos([one, other], 10, QUIET)
    assert match.times_s == pytest.approx(one.whole_s[:20])
    assert match.shift_s == 0
    assert match.coverage == pytest.approx(20 / 40)


def test_a_copy_of_which_every_other_frame_matches_is_one_stretch():
    one, other = random_hashes(1, 40), random_hashes(2, 40)
    other.whole[::2] = one.whole[::2]
    (match,) = match_videos([one, other], 10, QUIET)
    assert match.times_s == pytest.approx(one.whole_s[::2])


def test_matches_here_and_there_are_no_stretch():
    """Four tenths of the frames match, but in stretches that lie far apart."""
    one, other = random_hashes(1, 60), random_hashes(2, 60)
    for start in (0, 28, 52):
        other.whole[start : start + 8] = one.whole[start : start + 8]
    assert match_videos([one, other], 10, QUIET) == []


@pytest.mark.parametrize("frames", [1, 2])
def test_one_or_two_frames_are_no_evidence(frames):
    long, short = random_hashes(1, 30), random_hashes(2, 30)
    few = FrameHashes(*(part[:frames] for part in vars(short).values()))
    long.whole[10 : 10 + frames] = few.whole
    assert match_videos([long, few], 10, QUIET) == []


def page(seed: int, ground: np.ndarray, ink: int) -> np.ndarray:
    """A page with lines of small text in its upper left."""
    import cv2

    random, picture = np.random.default_rng(seed), ground.astype(np.uint8)
    for line in range(4):
        text = "".join(random.choice(list("abcdefghij klmnop 0123456789"), 10))
        cv2.putText(picture, text, (6, 16 + 14 * line), cv2.FONT_HERSHEY_SIMPLEX, 0.28, ink)
    return picture


_Y, _X = np.mgrid[:128, :128] / 127
_GRAIN = np.random.default_rng(0).normal(0, 3, (128, 128))
EMPTY = {
    "black": 0 * _X,
    "white with grain": 250 + np.minimum(_GRAIN, 5),
    "from top to bottom": 20 + 200 * _Y + _GRAIN,
    "from corner to corner": 30 + 90 * (_X + _Y),
    "around the middle": 255 - 200 * np.hypot(_X - 0.5, _Y - 0.5),
    "a page": page(1, 255 + 0 * _X, 0),
    "a grey page with grain": page(2, 190 + _GRAIN, 30),
    "a dark page": page(3, 20 + 0 * _X, 230),
}


@pytest.mark.parametrize("name", EMPTY)
def test_frames_of_which_a_hash_says_nothing_have_none(name):
    frames = np.repeat(EMPTY[name].astype(np.uint8)[None], 16, axis=0)
    found = hash_frames(frames, np.arange(16) / 4)
    assert (len(found.whole), len(found.crops)) == (0, 0)


def test_pictures_have_a_hash_however_dim_and_a_crop_that_is_empty_has_the_wholes():
    import cv2
    from sklearn.datasets import load_sample_image

    grey = cv2.cvtColor(load_sample_image("china.jpg"), cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, (128, 128), interpolation=cv2.INTER_AREA)
    dim = (grey * 0.1 + 30).astype(np.uint8)
    framed = np.full((128, 128), 235, np.uint8)
    framed[:20] = framed[-20:] = np.random.default_rng(0).integers(0, 200, 128)
    framed[:, :20] = framed[:, -20:] = np.random.default_rng(1).integers(0, 200, (128, 1))
    found = hash_frames(np.stack([grey, grey, dim, dim, framed, framed]), np.arange(6) / 4)
    assert len(found.whole) == 6
    assert np.array_equal(found.crops[2, -1], found.whole[4])


def silent_copies(folder: Path, make_clip) -> None:
    """Two identical black clips, another black one, and two identical sounds."""
    folder.mkdir()
    black = [np.zeros((48, 64, 3), np.uint8)]
    make_clip("lib/black.mkv", times=[i / 10 for i in range(20)], images=black)
    make_clip("lib/longer.mkv", times=[i / 10 for i in range(30)], images=black)
    make_clip("lib/tone.wav", tone=(440, 2, 16_000, 1))
    for name in ("black.mkv", "tone.wav"):
        shutil.copy(folder / name, folder / f"same_{name}")


def test_identical_files_are_duplicates_whatever_they_show(
    without_networks, place, make_clip, tmp_path
):
    silent_copies(tmp_path / "lib", make_clip)
    options = EmbedOptions(choose_backbones([Modality.FRAME, Modality.AUDIO]), workers=1)
    pipeline.ingest(tmp_path / "lib", place, options, QUIET)
    report = duplicates(place.home)
    assert pairs(report) == {
        frozenset(("lib/black.mkv", "lib/same_black.mkv")),
        frozenset(("lib/tone.wav", "lib/same_tone.wav")),
    }
    assert all(p.identical for p in report.pairs)
    whole = [(s.start_s, s.end_s) for p in report.pairs for s in (p.first, p.second)]
    assert whole == [(0.0, pytest.approx(2, abs=0.1))] * 4
    assert (report.videos, report.failed, report.notes) == (5, [], [])
    assert [*duplicates_text(report)][::3] == ["identical files"] * 2


def test_identical_sounds_are_listed_where_nothing_has_a_picture(place):
    sounds = [embedded(f"lib/{n}.wav", backbones=("yamnet",), seed=n) for n in range(3)]
    same = [replace(s, video=replace(s.video, fingerprint="f")) for s in sounds[:2]]
    other = replace(sounds[2], video=replace(sounds[2].video, fingerprint="g"))
    shards = open_shards(place.home)
    shards.write("lib", [*same, other], {"yamnet": ""})
    report = duplicates(place.home)
    assert pairs(report) == {frozenset(("lib/0.wav", "lib/1.wav"))}
    assert "no frame embeddings" in report.notes[0]


def test_rows_that_were_imported_without_a_file_are_not_identical(place):
    """Nothing says that clips without a fingerprint are the same."""
    rows = [embedded(f"lib/{n}", fingerprint="", seed=n, backbones=("labhist",)) for n in range(2)]
    open_shards(place.home).write("lib", rows)
    with pytest.raises(LibraryError, match="no frame embeddings"):
        duplicates(place.home)


def test_no_videos_and_no_hashes_have_no_duplicates():
    assert match_videos([], 10, QUIET) == []
    assert match_videos([random_hashes(1, 0), random_hashes(2, 0)], 10, QUIET) == []


def test_a_letterbox_is_cut_off_and_a_dark_scene_is_not():
    picture = np.random.default_rng(0).integers(60, 255, (3, 64, 64), np.uint8)
    boxed = np.pad(picture, ((0, 0), (12, 12), (5, 0)), constant_values=16)
    assert np.array_equal(without_bars(boxed), picture)
    dark = np.full((3, 64, 64), 16, np.uint8)
    dark[:, 40:, :] = 200
    assert without_bars(dark).shape == dark.shape


def test_hashes_outlive_noise_and_size_but_not_another_picture():
    import cv2
    from sklearn.datasets import load_sample_image

    grey = [
        cv2.cvtColor(load_sample_image(n), cv2.COLOR_RGB2GRAY) for n in ("china.jpg", "flower.jpg")
    ]
    small = cv2.resize(grey[0], (200, 128), interpolation=cv2.INTER_AREA)
    noisy = np.clip(small + np.random.default_rng(0).normal(0, 6, small.shape), 0, 255)
    codes = np.concatenate([wavelet_hashes(g[None]) for g in (*grey, noisy.astype(np.uint8))])
    bits = np.unpackbits(codes, axis=1)
    assert (bits[0] != bits[2]).sum() <= 4
    assert (bits[0] != bits[1]).sum() > OPTIONS.max_distance


def test_a_crop_is_hashed_like_the_copy_that_was_cut_to_it():
    from sklearn.datasets import load_sample_image

    picture = np.asarray(load_sample_image("flower.jpg")[..., 1])[None]
    _, height, width = picture.shape
    top, left = height // 10, width // 10
    copy = picture[:, top : height - top, left : width - left]
    original, cut = (hash_frames(p, np.zeros(1)) for p in (picture, copy))
    bits = np.unpackbits(original.crops[0] ^ cut.whole, axis=1).sum(axis=1)
    assert bits.argmin() == CROPS.index(0.8)
    assert bits.min() <= 2
    assert bits[0] > 4


def test_what_cannot_be_compared_ends_in_one_sentence(place):
    with pytest.raises(LibraryError, match="Nothing is stored yet"):
        duplicates(place.home)
    open_shards(place.home).write("lib", [embedded("lib/a.mp4", backbones=("labhist",))])
    with pytest.raises(LibraryError, match="no frame embeddings .* -m frame"):
        duplicates(place.home)
    with pytest.raises(LibraryError, match="No library is called other; there is lib"):
        duplicates(place.home, "other")
