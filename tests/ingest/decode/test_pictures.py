"""Pictures of files at given times: the right frame, upright, and no failure whatever the file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from vidsim.ingest.decode.pictures import PictureReader, jpeg, png

from ...helpers.clips import MakeClip

TIMES = [n / 25 for n in range(100)]

BAD = """
import os, signal
import numpy as np

def main(channel):
    while True:
        path = channel.receive().fields["path"]
        if path.startswith("crash"):
            os.kill(os.getpid(), signal.SIGKILL)
        high = 2 if path.startswith("good") else 5000
        channel.send("picture", {"number": 0}, {"rgb": np.zeros((high, 4, 3), np.uint8)})
        channel.send("done")
"""


def level(rgb: np.ndarray | None) -> float:
    """The number of the frame of `write_clip` that a grey picture shows."""
    assert rgb is not None
    return (float(rgb.mean()) * 219 / 255 + 16) - 16


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "ffv1"), ("a.mp4", "libx264"), ("a.ts", "libx264")]
)
def test_the_frame_on_the_screen_at_each_time(make_clip: MakeClip, name: str, codec: str) -> None:
    clip = make_clip(name, times=TIMES, codec=codec)
    times = [3.0, 0.0, 1.99, 3.9, 9.0]
    with PictureReader() as reader:
        seen = reader.look(str(clip), times, 64)
    assert seen.reason == ""
    assert [level(p) for p in seen.pictures] == pytest.approx([75, 0, 49, 97, 99], abs=2.1)
    assert {p.shape for p in seen.pictures if p is not None} == {(48, 64, 3)}


def test_a_picture_is_upright_and_its_pixels_are_square(make_clip: MakeClip) -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :32] = 255  # the left half is white
    turned = make_clip("turned.mp4", times=TIMES[:5], images=[image], codec="libx264", rotation=90)
    wide = make_clip(
        "wide.mp4", times=TIMES[:5], images=[image], codec="libx264", aspect=Fraction(2)
    )
    with PictureReader() as reader:
        (upright,) = reader.look(str(turned), [0], 64).pictures
        (square,) = reader.look(str(wide), [0], 128).pictures
    assert upright is not None
    assert upright.shape == (64, 48, 3)
    halves = upright[:20].mean(), upright[-20:].mean()
    assert abs(halves[0] - halves[1]) > 200
    assert square is not None
    assert square.shape == (48, 128, 3)


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp", "x.gif"])
def test_a_still_picture_is_on_the_screen_at_all_times(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (64, 48), (200, 30, 30)).save(tmp_path / name)
    with PictureReader() as reader:
        seen = reader.look(str(tmp_path / name), [0.0, 3.0], 32)
    assert seen.reason == ""
    for rgb in seen.pictures:
        assert rgb is not None
        assert rgb.shape == (24, 32, 3)
        assert rgb.mean(axis=(0, 1)) == pytest.approx((200, 30, 30), abs=6)


def test_a_damaged_still_picture_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    with PictureReader() as reader:
        assert "no picture could be decoded" in reader.look(str(tmp_path / "x.png"), [0]).reason


def test_a_file_that_is_gone_or_no_video_gives_none_and_why(
    tmp_path: Path, make_clip: MakeClip
) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    sound = make_clip("sound.wav", tone=(440, 1, 16000, 1))
    clip = make_clip("a.mkv", times=TIMES[:5])
    with PictureReader() as reader:
        gone = reader.look(str(tmp_path / "gone.mp4"), [0, 1])
        assert gone.pictures == [None, None]
        assert "not there" in gone.reason
        assert "not a video" in reader.look(str(tmp_path / "text.mp4"), [0]).reason
        assert reader.look(str(sound), [0]).reason == "it has no picture"
        assert reader.look(str(clip), [0]).reason == ""


def test_a_decoder_that_crashes_or_lies_costs_its_file_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad_pictures.py").write_text(BAD)
    monkeypatch.syspath_prepend(str(tmp_path))
    with PictureReader("bad_pictures:main") as reader:
        assert "crashed" in reader.look("crash.mp4", [0]).reason
        assert "something unreadable" in reader.look("huge.mp4", [0]).reason
        assert [*map(np.shape, reader.look("good.mp4", [0], 4).pictures)] == [(2, 4, 3)]


def test_pictures_as_jpeg_and_png() -> None:
    red = np.full((24, 32, 3), (200, 30, 30), np.uint8)
    for data in (jpeg(red), png(red)):
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert bgr.shape == (24, 32, 3)
        assert bgr.mean(axis=(0, 1)) == pytest.approx((30, 30, 200), abs=3)
