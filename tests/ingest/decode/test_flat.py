"""Flat frames: black before a clip is not what it is compared by."""

from __future__ import annotations

import os

import av
import numpy as np
import pytest

from vidsim.ingest.decode import segments
from vidsim.ingest.decode.flat import all_flat, flat_frames
from vidsim.ingest.decode.lost import Lost
from vidsim.ingest.decode.segments import DecodeRequest, decode
from vidsim.ingest.discover.videos import describe
from vidsim.ingest.extract.embed import EmbedOptions, embed_one
from vidsim.ingest.pipeline import ingest
from vidsim.ingest.system.progress import Silent
from vidsim.schemas.embedding import EmbeddedVideo, unit
from vidsim.schemas.modality import FrameSampling, Modality
from vidsim.schemas.presets import choose_backbones
from vidsim.search.query import QueryOptions, query

QUIET = Silent()
SIZE = 224
PICTURES = (Modality.COLOR, Modality.FRAME)


def plain(*rgb: float) -> np.ndarray:
    return np.full((SIZE, SIZE, 3), rgb or 0, np.float64)


def with_grain(picture: np.ndarray, sigma: float = 5) -> np.ndarray:
    return picture + np.random.default_rng(0).normal(0, sigma, picture.shape)


def boxed(picture: np.ndarray, axis: int, bar: int = 30) -> np.ndarray:
    """Between two dark bars, into which it runs over two pixels."""
    box = np.moveaxis(picture.copy(), axis, 0)
    box[:bar] = box[-bar:] = 16
    box[bar : bar + 2] = box[-bar - 2 : -bar] = (16 + box[bar + 2]) / 2
    return np.moveaxis(box, 0, axis)


def with_spot(picture: np.ndarray, side: int, level: float) -> np.ndarray:
    spotted = picture.copy()
    spotted[40 : 40 + side, 150 : 150 + side] = level
    return spotted


def gradient(low: float, high: float) -> np.ndarray:
    return plain() + np.linspace(low, high, SIZE)[:, None, None]


FLAT = {
    "black": plain(),
    "white": plain(255, 255, 255),
    "a colour": plain(200, 30, 90),
    "video black with grain": with_grain(plain(16, 16, 16)),
    "the last of a fade": 0.02 * gradient(0, 255),
    "white in a letterbox": boxed(with_grain(plain(235, 235, 235), 2), 0),
    "grey between bars at its sides": boxed(plain(120, 120, 120), 1),
    "black in a letterbox": boxed(with_grain(plain(16, 16, 16)), 0),
}

SHOWN = {
    "a small bird in a clear sky": with_spot(with_grain(plain(150, 170, 200), 2), 8, 90),
    "a gradient": gradient(100, 140),
    "a fade half-way": 0.5 * gradient(0, 80),
    "two colours of one brightness": np.where(
        np.arange(SIZE)[:, None, None] < 90, plain(200, 0, 0), plain(0, 102, 0)
    ),
    "a white square on black": with_spot(plain(), 70, 255),
    "a large white square in the middle of black": boxed(boxed(plain(255, 255, 255), 0), 1),
    "a gradient in a letterbox": boxed(gradient(80, 200), 0),
    "a bright ground under a dark sky": np.where(
        np.arange(SIZE)[:, None, None] < 60, plain(5, 5, 5), plain(200, 200, 200)
    ),
}


@pytest.mark.parametrize(("pictures", "flat"), [(FLAT, True), (SHOWN, False)])
def test_a_frame_is_flat_where_it_shows_nothing(pictures, flat):
    frames = np.array([np.clip(np.rint(p), 0, 255) for p in pictures.values()]).astype(np.uint8)
    wrong = [name for name, found in zip(pictures, flat_frames(frames)) if found != flat]
    assert wrong == []
    assert all_flat(frames) == flat


def embed(path, modalities=PICTURES) -> EmbeddedVideo:
    video = describe(path, path.parent, "lib")
    found = embed_one(video, EmbedOptions(choose_backbones(modalities)), QUIET)
    assert isinstance(found, EmbeddedVideo)
    return found


def at(frames: int) -> list[float]:
    """When so many frames are seen, 25 a second."""
    return [n / 25 for n in range(frames)]


@pytest.fixture
def noise():
    """Coarse patterns, so that what is small in them is not lost to a codec."""
    random = np.random.default_rng(0)
    return [np.kron(random.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)] * 50


@pytest.mark.acceptance
def test_black_within_a_segment_has_no_rows(weights, make_clip, noise):
    black = [np.zeros_like(noise[0])] * 50
    mixed = embed(make_clip("mixed.mkv", times=at(100), images=black + noise))
    alone = embed(make_clip("alone.mkv", times=at(50), images=noise))
    (of_mixed,), (of_alone,) = mixed.embeddings, alone.embeddings
    rows = of_mixed.rows["efficientnet_lite0"]
    assert rows.start_s.tolist() == [2, 2.5, 3, 3.5]  # where they were
    assert len(of_alone.rows["efficientnet_lite0"].vectors) == 8
    assert np.allclose(rows.vectors, of_alone.rows["efficientnet_lite0"].vectors[:4], atol=1e-3)
    assert np.array_equal(of_mixed.vid2img, of_alone.vid2img)
    assert np.array_equal(of_mixed.rows["labhist"].vectors, of_alone.rows["labhist"].vectors)


@pytest.mark.acceptance
def test_a_black_segment_has_no_rows_beside_another(weights, make_clip, noise):
    black = [np.zeros_like(noise[0])] * 250
    clip = make_clip(times=at(500), images=black + noise * 5)
    dark, shown = embed(clip).embeddings
    assert (dark.rows, dark.vid2img) == ({}, None)
    assert {name: len(rows.vectors) for name, rows in shown.rows.items()} == {
        "efficientnet_lite0": 8,
        "labhist": 1,
    }


MOTION = {"motion": FrameSampling(count=32, size=64, fit="crop", fps=25.0)}
SPREAD = {"frame": FrameSampling(count=8, size=64, fit="crop")}
TONE = (440.0, 40.0, 16_000, 1)


@pytest.mark.parametrize("black_first", [True, False])
@pytest.mark.parametrize("samplings", [MOTION, MOTION | SPREAD])
def test_motion_is_looked_for_where_something_is_shown(make_clip, noise, samplings, black_first):
    black = [np.zeros_like(noise[0])] * 150
    images = black + noise if black_first else noise + black
    clip = make_clip(times=at(200), images=images, tone=None)
    _, media, _ = decode(DecodeRequest(str(clip), samplings, audio=False))
    assert not flat_frames(media.frames["motion"]).any()


def test_segments_in_black_wait_for_another_look_and_none_is_lost(make_clip, noise):
    dark = [np.zeros_like(noise[0])] * 50
    clip = make_clip(times=at(1000), images=(noise * 2 + dark + noise * 2) * 4, tone=TONE)
    _, *media, lost = decode(DecodeRequest(str(clip), MOTION | SPREAD, audio=True))
    assert sorted(m.segment.index for m in media) == [0, 1, 2, 3]
    assert all({*m.frames} == {"motion", "frame"} for m in media)
    assert [round(len(m.audio) / 16_000) for m in media if m.audio is not None] == [10] * 4
    assert not any(flat_frames(m.frames["motion"]).any() for m in media)
    assert lost == Lost()


def test_segments_that_would_wait_in_vain_for_another_look_do_not(make_clip, noise, monkeypatch):
    monkeypatch.setattr(segments, "_MOST_LATE", 1)
    dark = [np.zeros_like(noise[0])] * 50
    clip = make_clip(times=at(1000), images=(noise * 2 + dark + noise * 2) * 4)
    _, *media, _ = decode(DecodeRequest(str(clip), MOTION | SPREAD, audio=False))
    assert [m.segment.index for m in media] == [1, 2, 3, 0]
    assert [flat_frames(m.frames["motion"]).any() for m in media] == [True, True, True, False]


@pytest.mark.acceptance
def test_a_window_that_is_black_does_not_count_where_nothing_longer_is_shown(
    weights, make_clip, noise
):
    black = np.zeros_like(noise[0])
    clip = make_clip(times=at(121), images=[black] * 7 + noise[:2] + [black] * 112)
    found = embed(clip, (Modality.FRAME, Modality.MOTION))
    assert found.row_counts() == {"efficientnet_lite0": 1, "i3d_192": 0}
    assert embed(clip, (Modality.MOTION,)).row_counts() == {"i3d_192": 1}  # nothing else is known


@pytest.mark.acceptance
def test_motion_after_black_is_that_of_the_clip_alone(weights, shared_data, tmp_path):
    (source,) = shared_data.glob("capstone70/animals/2.mp4")
    black_before(source, tmp_path / "late.mp4", black_s=3, seconds=1.7)
    black_before(source, tmp_path / "alone.mp4", black_s=0, seconds=1.7)
    late, alone = (
        unit(embed(tmp_path / name, (Modality.MOTION,)).embeddings[0].rows["i3d_192"].vectors)
        for name in ("late.mp4", "alone.mp4")
    )
    assert (late * alone).sum() > 0.95


@pytest.mark.acceptance
def test_a_video_that_is_flat_throughout_keeps_its_rows(weights, make_clip):
    black = [np.zeros((48, 64, 3), np.uint8)]
    found = embed(make_clip(times=at(500), images=black))
    assert found.row_counts() == {"efficientnet_lite0": 16, "labhist": 2}
    assert all(e.vid2img is not None and not e.flat for e in found.embeddings)


def black_before(source, target, black_s, seconds):
    """Writes the start of a clip after a stretch of black."""
    with av.open(str(source)) as clip, av.open(str(target), "w") as copy:
        rate = clip.streams.video[0].average_rate
        pictures = [f.to_ndarray(format="rgb24") for f in clip.decode(video=0)]
        pictures = pictures[: round(seconds * rate)]
        height, width = (n // 2 * 2 for n in pictures[0].shape[:2])
        stream = copy.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in [np.zeros_like(pictures[0])] * round(black_s * rate) + pictures:
            pixels = np.ascontiguousarray(picture[:height, :width])
            copy.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, "rgb24")))
        copy.mux(stream.encode(None))


@pytest.mark.acceptance
def test_a_clip_after_three_seconds_of_black_is_found_first(weights, place, shared_data, tmp_path):
    clips = tmp_path / "lib"
    clips.mkdir()
    for clip in sorted(shared_data.glob("capstone70/*/[0-3].mp4")):
        os.symlink(clip, clips / f"{clip.parent.name}_{clip.name}")
    ingest(clips, place, EmbedOptions(choose_backbones(PICTURES), workers=2), QUIET)
    for name in ("animals_2.mp4", "snow_2.mp4"):
        black_before(clips / name, tmp_path / name, black_s=3, seconds=1.7)
        for modalities in (PICTURES, *((m,) for m in PICTURES)):
            found = query(str(tmp_path / name), place, QueryOptions(modalities), QUIET).results
            assert (modalities, found[0].video_id) == (modalities, f"lib/{name}")
