"""Clips for a browser: the stretch that was asked for, upright, picture and sound in step."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from vidsim.ingest.decode.clip import MOST_HIGH, encode_clip
from vidsim.schemas.errors import MediaError

from ...helpers.clips import MakeClip
from ...helpers.media_cases import Piece, number_of, restamp, write

TIMES = [n / 25 for n in range(100)]


def frames(path: Path) -> list[tuple[float, np.ndarray]]:
    """Seconds and pixels (h, w, 3) of each frame."""
    with av.open(str(path)) as container:
        return [(float(f.time), f.to_ndarray(format="rgb24")) for f in container.decode(video=0)]


def sound(path: Path) -> np.ndarray:
    """The sound (n,) at 48 kHz, its first sample that of second 0."""
    with av.open(str(path)) as container:
        decoded = [*container.decode(audio=0)]
    assert decoded[0].time == pytest.approx(0, abs=1e-3)
    return np.concatenate([f.to_ndarray()[0] for f in decoded])


def duration_s(path: Path) -> float:
    with av.open(str(path)) as container:
        return container.duration / av.time_base


@pytest.mark.parametrize("suffix", ["mp4", "ts", "avi"])
def test_a_stretch_has_its_frames_and_its_sound_in_step(tmp_path: Path, suffix: str) -> None:
    codec = "mpeg4" if suffix == "avi" else "libx264"
    clip = write(tmp_path / f"a.{suffix}", [Piece(8)], codec=codec)
    target = tmp_path / "clip.mp4"
    encoded = encode_clip(str(clip), 2.5, 7, str(target))
    assert (encoded.picture, encoded.sound) == (True, True)
    assert duration_s(target) == pytest.approx(4.5, abs=0.03)
    shown = [(at, number_of(rgb)) for at, rgb in frames(target)]
    numbers = [number for _, number in shown]
    # Of a transport stream's sound some hundredths of a second come before the picture.
    assert numbers[0] in (61, 62)
    assert numbers == [*range(numbers[0], numbers[0] + len(numbers))]
    steps = [b - a for (a, _), (b, _) in pairwise(shown[1:])]
    assert steps == pytest.approx([0.04] * len(steps), abs=0.002)
    for second, at in changes(sound(target)).items():
        number = [number for shown_s, number in shown if shown_s <= at][-1]
        assert number / 25 == pytest.approx(second, abs=0.05)


def changes(heard: np.ndarray) -> dict[int, float]:
    """When in a clip each second of the file begins, by its pitch."""
    found: dict[int, float] = {}
    for at in range(4800, len(heard) - 4800, 240):  # but for the codec's first and last samples
        second = round((hertz(heard[at - 1200 : at + 1200]) - 400) / 100)
        found.setdefault(second, at / 48_000)
    first, *others = sorted(found)
    assert others == [*range(first + 1, first + 1 + len(others))]
    assert len(others) >= 2
    return {second: found[second] for second in others}


def hertz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 1 << 14))
    return float(spectrum.argmax() * 48_000 / (1 << 14))


def test_a_clip_of_a_recording_whose_clock_starts_again_is_of_one_timeline(tmp_path: Path) -> None:
    clip = write(tmp_path / "a.ts", [Piece(4), Piece(4, clock=1000)], codec="libx264")
    target = tmp_path / "clip.mp4"
    encode_clip(str(clip), 3, 6, str(target))
    assert duration_s(target) == pytest.approx(3, abs=0.05)
    shown = frames(target)
    numbers = [number_of(rgb) for _, rgb in shown]
    assert numbers == [*range(74, 150)]
    assert max(b - a for (a, _), (b, _) in pairwise(shown)) < 0.1


def test_one_wrong_stamp_moves_nothing(tmp_path: Path) -> None:
    clip = restamp(write(tmp_path / "a.ts", [Piece(4)]), True, {40}, 500.0)
    target = tmp_path / "clip.mp4"
    encode_clip(str(clip), 0, 60, str(target))
    assert duration_s(target) == pytest.approx(4, abs=0.1)


def test_a_clip_is_upright_with_square_pixels_and_even_sides(
    tmp_path: Path, make_clip: MakeClip
) -> None:
    image = np.zeros((50, 66, 3), np.uint8)
    image[:, :33] = 255  # the left half is white
    how = {"times": TIMES[:10], "images": [image], "codec": "libx264"}
    turned = make_clip("turned.mp4", rotation=90, **how)
    wide = make_clip("wide.mp4", aspect=Fraction(2), **how)
    target = tmp_path / "clip.mp4"
    encode_clip(str(turned), 0, 1, str(target))
    upright = frames(target)[0][1]
    assert upright.shape == (66, 50, 3)
    assert abs(float(upright[:20].mean()) - float(upright[-20:].mean())) > 200
    encode_clip(str(wide), 0, 1, str(target))
    assert frames(target)[0][1].shape == (50, 132, 3)


def test_colours_stay(tmp_path: Path, make_clip: MakeClip) -> None:
    image = np.full((48, 64, 3), (200, 60, 40), np.uint8)
    clip = make_clip("a.mkv", times=TIMES[:5], images=[image], pix_fmt="bgr0")
    encode_clip(str(clip), 0, 1, str(tmp_path / "clip.mp4"))
    with av.open(str(tmp_path / "clip.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.colorspace, frame.color_range) == (1, 1)  # BT.709, limited
        rgb = frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray()
    assert rgb.mean(axis=(0, 1)) == pytest.approx((200, 60, 40), abs=4)


def test_what_is_large_or_fast_becomes_small_and_plays_while_it_loads(
    tmp_path: Path, make_clip: MakeClip
) -> None:
    image = np.zeros((1080, 608, 3), np.uint8)
    clip = make_clip("a.mp4", times=[n / 60 for n in range(31)], images=[image], codec="libx264")
    target = tmp_path / "clip.mp4"
    encode_clip(str(clip), 0, 1, str(target))
    shown = frames(target)
    assert shown[0][1].shape == (MOST_HIGH, 270, 3)
    assert len(shown) == 16
    content = target.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(target)) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"


def test_a_picture_that_stays_is_shown_to_the_end(tmp_path: Path, make_clip: MakeClip) -> None:
    clip = make_clip("a.mkv", times=[0.0], tone=(440, 4.5, 16000, 1))
    target = tmp_path / "clip.mp4"
    encode_clip(str(clip), 1.5, 60, str(target))
    assert duration_s(target) == pytest.approx(3, abs=0.05)
    assert [at for at, _ in frames(target)] == [0, 1, 2]


def test_a_sound_gives_a_sound(tmp_path: Path, make_clip: MakeClip) -> None:
    clip = make_clip("a.wav", tone=(440, 5, 22_050, 2))
    target = tmp_path / "clip.m4a"
    encoded = encode_clip(str(clip), 1, 3.5, str(target))
    assert (encoded.picture, encoded.sound) == (False, True)
    assert (encoded.start_s, encoded.end_s) == (1, 3.5)
    heard = sound(target)
    assert len(heard) / 48_000 == pytest.approx(2.5, abs=0.03)
    assert np.sqrt((heard[4800:-4800] ** 2).mean()) == pytest.approx(0.5 / np.sqrt(2), abs=0.02)
    assert hertz(heard[:16_000]) == pytest.approx(440, abs=3)


def test_what_is_not_there_is_told(tmp_path: Path, make_clip: MakeClip) -> None:
    clip = make_clip("a.mkv", times=TIMES[:25])
    with pytest.raises(MediaError, match=r"begins at"):
        encode_clip(str(clip), 5, 6, str(tmp_path / "clip.mp4"))
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(MediaError, match="not a video"):
        encode_clip(str(tmp_path / "text.mp4"), 0, 1, str(tmp_path / "clip.mp4"))
