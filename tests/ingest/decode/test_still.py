"""A still picture: one frame, upright, for colour and frame; no motion, no time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vidsim.ingest.decode.events import Opened, SegmentMedia
from vidsim.ingest.decode.lost import Lost
from vidsim.ingest.decode.segments import DecodeRequest, decode
from vidsim.ingest.decode.still import decode_still
from vidsim.ingest.discover.stills import still_format
from vidsim.schemas.errors import MediaError
from vidsim.schemas.modality import FrameSampling
from vidsim.schemas.part import WHOLE, Part

SAMPLINGS = {
    "color": FrameSampling(3, 64, "stretch"),
    "frame": FrameSampling(2, 32, "crop", resize=32),
    "motion": FrameSampling(4, 32, "crop", fps=8, resize=32),
}
STILLS = {
    "x.jpg": "jpeg_pipe",
    "x.png": "png_pipe",
    "x.webp": "webp_pipe",
    "x.bmp": "bmp_pipe",
    "x.tiff": "tiff_pipe",
    "x.avif": "mov",
    "x.gif": "gif",
}


def image() -> Image.Image:
    """Red above, blue below, 96 x 64."""
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32], pixels[32:] = (200, 40, 40), (40, 40, 200)
    return Image.fromarray(pixels)


def read(path: Path, part: Part = WHOLE) -> tuple[Opened, SegmentMedia, Lost]:
    request = DecodeRequest(str(path), SAMPLINGS, True, part=part, still=still_format(path))
    opened, media, lost = decode_still(request)
    assert isinstance(opened, Opened)
    assert isinstance(media, SegmentMedia)
    assert isinstance(lost, Lost)
    return opened, media, lost


@pytest.mark.parametrize("name", STILLS)
def test_a_picture_is_one_frame_without_motion_or_time(tmp_path: Path, name: str) -> None:
    image().save(tmp_path / name)
    assert still_format(tmp_path / name) == STILLS[name]
    opened, media, lost = read(tmp_path / name)
    assert (opened.duration_s, opened.segments, opened.has_audio) == (0.0, 1, False)
    assert (media.segment.start_s, media.segment.end_s, media.audio) == (0.0, 0.0, None)
    assert {n: f.shape for n, f in media.frames.items()} == {
        "color": (3, 64, 64, 3),
        "frame": (2, 32, 32, 3),
    }
    for frame in media.frames["color"].astype(int):
        assert np.abs(frame[10] - (200, 40, 40)).max() < 12
        assert np.abs(frame[-10] - (40, 40, 200)).max() < 12
    assert lost == Lost()


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp", "x.tiff", "x.avif"])
def test_a_picture_is_turned_as_its_exif_says(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # what is above comes to the right
    image().save(tmp_path / name, exif=exif)
    frame = read(tmp_path / name)[1].frames["color"][0].astype(int)
    assert np.abs(frame[:, -10] - (200, 40, 40)).max() < 12
    assert np.abs(frame[:, 10] - (40, 40, 200)).max() < 12


def test_only_the_region_of_a_picture_is_seen(tmp_path: Path) -> None:
    image().save(tmp_path / "x.png")
    frame = read(tmp_path / "x.png", Part(region=(0.0, 0.5, 1.0, 0.5)))[1].frames["color"][0]
    assert np.abs(frame.astype(int) - (40, 40, 200)).max() <= 3


def test_animations_and_videos_are_no_stills(tmp_path: Path) -> None:
    frames = [image().rotate(angle) for angle in (0, 90, 180)]
    for name in ("x.gif", "x.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], duration=100)
        assert still_format(tmp_path / name) == ""
        opened, *_ = decode(DecodeRequest(str(tmp_path / name), SAMPLINGS, False))
        assert isinstance(opened, Opened)
        assert opened.duration_s == pytest.approx(0.3)
    image().save(tmp_path / "pictures.jpg")
    jpeg = (tmp_path / "pictures.jpg").read_bytes()
    (tmp_path / "pictures.mjpeg").write_bytes(3 * jpeg)
    assert still_format(tmp_path / "pictures.mjpeg") == ""
    (tmp_path / "text.jpg").write_bytes(b"no picture")
    assert still_format(tmp_path / "text.jpg") == ""


def test_a_damaged_picture_is_told(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "x.jpg")
    content = (tmp_path / "x.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(content[: len(content) // 2])
    assert read(tmp_path / "x.jpg")[2].breaks_off
    (tmp_path / "x.jpg").write_bytes(content[:20] + bytes(200))
    with pytest.raises(MediaError, match="^damaged: no picture could be decoded"):
        read(tmp_path / "x.jpg")
    turning = [image(), image().rotate(180)]
    turning[0].save(tmp_path / "x.webp", save_all=True, append_images=turning[1:])
    with pytest.raises(MediaError, match="^damaged, or an animated WebP: no picture"):
        read(tmp_path / "x.webp")


def test_a_library_takes_no_stills(tmp_path: Path) -> None:
    """Else the pictures beside videos, which cameras write, would be found with them."""
    image().save(tmp_path / "x.jpg")
    with pytest.raises(MediaError, match="not a video"):
        list(decode(DecodeRequest(str(tmp_path / "x.jpg"), SAMPLINGS, False)))
