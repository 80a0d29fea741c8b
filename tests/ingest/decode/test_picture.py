"""A frame's pixels: the colours that were meant, upright, of the right shape, of one moment."""

from __future__ import annotations

import io
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import av
import cv2
import numpy as np
import pytest
import torch
from av.filter import Graph
from av.stream import Stream
from av.video.reformatter import Interpolation, VideoReformatter
from av.video.stream import VideoStream
from PIL import Image

from vidsim.ingest.decode.colorimetry import (
    Primaries,
    gamut_matrix,
    hlg_signal,
    pq_signal,
    rgb_to_xyz,
)
from vidsim.ingest.decode.events import SegmentMedia
from vidsim.ingest.decode.picture import Picture
from vidsim.ingest.decode.pixel_aspect import PixelAspect
from vidsim.ingest.decode.segments import DecodeRequest, decode
from vidsim.ingest.extract.frame import FrameExtractor
from vidsim.schemas.backbones import BACKBONES
from vidsim.schemas.modality import FrameSampling
from vidsim.schemas.video import Segment

WHOLE = FrameSampling(1, 200, "stretch")
CROP = FrameSampling(1, 224, "crop")
LITE0 = BACKBONES["efficientnet_lite0"]

LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Weights of red and blue by the matrix's number in ITU-T H.273."""

HIGH, LOW = 180, 60
BARS = np.array(
    [[LOW if bar >> bit & 1 else HIGH for bit in range(3)] for bar in range(8)], np.uint8
)


def bars(width: int, height: int) -> np.ndarray:
    """Eight bars of colour, (h, w, 3) uint8."""
    return BARS[np.arange(width) * 8 // width][None].repeat(height, 0)


def levels(picture: np.ndarray) -> np.ndarray:
    """The colour in the middle of each of eight bars, (8, 3)."""
    width = picture.shape[1]
    return picture[picture.shape[0] // 2, (np.arange(8) * 2 + 1) * width // 16].astype(int)


def coded(
    signal: np.ndarray, pixel_format: str, matrix: int, tag: int | None = None, **tags: int
) -> av.VideoFrame:
    """(h, w, 3) RGB in 0..1 as a frame of luma and chroma.

    `matrix` is the one that is used, `tag` the one that is named; `tags` are other attributes.
    """
    red, blue = LUMA[matrix]
    r, g, b = np.moveaxis(signal, -1, 0)
    luma = red * r + (1 - red - blue) * g + blue * b
    chroma = (b - luma) / (2 - 2 * blue), (r - luma) / (2 - 2 * red)
    bits = 12 if "12" in pixel_format else 10 if "10" in pixel_format else 8
    most = 2**bits - 1
    full = "yuvj" in pixel_format or tags.get("color_range") == 2
    height, width = luma.shape
    frame = av.VideoFrame(width, height, pixel_format)
    for i, (plane, part) in enumerate(zip(frame.planes, (luma, *chroma))):
        part = cv2.resize(part, (plane.width, plane.height), interpolation=cv2.INTER_AREA)
        scale, offset = (219, 16) if i == 0 else (224, 128)
        unit = 2 ** (bits - 8)
        numbers = part * scale * unit + offset * unit
        if full:
            numbers = part * most + (0 if i == 0 else 2 ** (bits - 1))
        fill(plane, np.clip(np.rint(numbers), 0, most))
    frame.colorspace = matrix if tag is None else tag
    for name, value in tags.items():
        setattr(frame, name, value)
    return frame


def fill(plane: av.video.plane.VideoPlane, numbers: np.ndarray) -> None:
    kind = np.dtype("<u2" if plane.line_size >= 2 * plane.width else "u1")
    rows = np.zeros((plane.height, plane.line_size // kind.itemsize), kind)
    rows[:, : numbers.shape[1]] = numbers
    plane.update(rows.tobytes())


def shown(frame: av.VideoFrame, sampling: FrameSampling = WHOLE, aspect: float = 1) -> np.ndarray:
    return Picture(frame, aspect, VideoReformatter()).fitted(sampling)


@pytest.mark.parametrize("size", [(160, 96), (641, 481)])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuvj422p", "yuv420p10le"])
@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("matrix", LUMA)
def test_matrix_and_range_are_those_of_the_frame(
    matrix: int, color_range: int, pixel_format: str, size: tuple[int, int]
) -> None:
    if "yuvj" in pixel_format:
        color_range = 2
    frame = coded(bars(*size) / 255, pixel_format, matrix, color_range=color_range)
    np.testing.assert_allclose(levels(shown(frame)), BARS, atol=3)


@pytest.mark.parametrize(
    ("size", "tags", "meant"),
    [
        ((720, 576), {}, 5),
        ((640, 480), {"color_range": 2}, 5),
        ((1280, 720), {}, 1),
        ((720, 1280), {}, 1),
        ((1920, 1080), {"color_range": 2}, 1),
        ((320, 240), {"color_primaries": 9, "color_trc": 14}, 9),
        ((1920, 1080), {"color_primaries": 9, "color_trc": 14}, 9),
    ],
)
@pytest.mark.parametrize("tag", [2, 3])
def test_a_matrix_that_is_not_named_is_guessed_by_size_and_primaries(
    size: tuple[int, int], tags: dict[str, int], meant: int, tag: int
) -> None:
    signal = bars(*size) / 255
    named = coded(signal, "yuv420p10le", meant, **tags)
    unnamed = coded(signal, "yuv420p10le", meant, tag, **tags)
    np.testing.assert_array_equal(shown(unnamed), shown(named))


@pytest.mark.parametrize("tag", [3, 8, 10, 11, 12, 13, 14])
def test_a_matrix_that_libswscale_refuses_costs_no_frame(tag: int) -> None:
    frame = coded(np.full((96, 160, 3), 0.5), "yuv420p", 5, tag)
    np.testing.assert_allclose(shown(frame), 128, atol=3)


@pytest.mark.parametrize("pixel_format", ["rgb24", "bgr24", "gbrp", "gray", "rgb565le", "bgra"])
def test_rgb_and_grey_take_no_matrix(pixel_format: str) -> None:
    picture = bars(1280, 720)
    if pixel_format == "gray":
        picture = picture[..., 1:2].repeat(3, 2)
    frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=pixel_format)
    np.testing.assert_allclose(levels(shown(frame)), levels(picture), atol=8)


@pytest.mark.parametrize("size", [(160, 96), (426, 240), (641, 481), (1280, 720)])
def test_an_ordinary_picture_is_converted_in_one_step(size: tuple[int, int]) -> None:
    """What libswscale makes of it, bit for bit: nothing on the way costs time or precision."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (size[1], size[0], 3)) / 255
    frame = coded(noise, "yuv420p", 1, color_range=1)
    grows = min(size) <= 200
    target = size if grows else (200, 200)
    how = Interpolation.AREA | Interpolation.FULL_CHR_H_INT
    expected = VideoReformatter().reformat(frame, *target, "rgb24", interpolation=how).to_ndarray()
    if grows:
        expected = cv2.resize(expected, (200, 200), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(shown(frame), expected)


# High dynamic range and wide gamuts


def wide(picture: np.ndarray, kind: str, white: float = 203) -> np.ndarray:
    """The signal of an SDR picture that was put into BT.2020, PQ or HLG, white at `white` cd/m2."""
    light = (picture / 255) ** 2.4 @ gamut_matrix(Primaries.BT709, Primaries.BT2020).T
    if kind == "pq":
        return pq_signal(light * white)
    if kind == "hlg":  # the inverse OOTF of BT.2100, table 5
        display = light * white / 1000
        luminance = np.maximum(display @ rgb_to_xyz(Primaries.BT2020)[1], 1e-9)
        return hlg_signal(display * luminance[..., None] ** (1 / 1.2 - 1))
    return np.clip(light, 0, 1) ** (1 / 2.4)


TRANSFER = {"pq": 16, "hlg": 18, "sdr": 14}


@pytest.mark.parametrize("size", [(160, 96), (641, 481)])
@pytest.mark.parametrize("pixel_format", ["yuv420p10le", "yuv444p12le", "p010le", "yuv422p10le"])
@pytest.mark.parametrize("kind", TRANSFER)
def test_wide_colours_come_back_as_the_screen_shows_them(
    kind: str, pixel_format: str, size: tuple[int, int]
) -> None:
    made = "yuv420p10le" if pixel_format == "p010le" else pixel_format
    signal = wide(bars(*size), kind)
    frame = coded(signal, made, 9, color_primaries=9, color_trc=TRANSFER[kind])
    frame = frame.reformat(format=pixel_format)
    np.testing.assert_allclose(levels(shown(frame)), BARS, atol=6)
    np.testing.assert_allclose(levels(shown(frame, CROP))[3:5], BARS[3:5], atol=6)


@pytest.mark.parametrize("kind", ["pq", "hlg"])
def test_hdr_that_names_only_its_transfer_is_taken_for_bt2020(kind: str) -> None:
    signal = wide(bars(160, 96), kind)
    frame = coded(signal, "yuv420p10le", 9, 2, color_primaries=2, color_trc=TRANSFER[kind])
    np.testing.assert_allclose(levels(shown(frame)), BARS, atol=6)


@pytest.mark.parametrize("number", [11, 12])
def test_p3_is_brought_to_bt709(number: int) -> None:
    light = (bars(160, 96) / 255) ** 2.4 @ gamut_matrix(Primaries.BT709, Primaries.P3).T
    signal = np.clip(light, 0, 1) ** (1 / 2.4)
    frame = coded(signal, "yuv444p", 1, color_primaries=number, color_trc=1)
    np.testing.assert_allclose(levels(shown(frame)), BARS, atol=6)


def test_highlights_of_hdr_are_told_apart_and_end_in_white() -> None:
    light = np.array([100, 203, 400, 700, 1000, 2000, 4000, 10000.0])
    signal = pq_signal(light)[np.arange(160) // 20][None, :, None].repeat(96, 0).repeat(3, 2)
    frame = coded(signal, "yuv420p10le", 9, color_primaries=9, color_trc=16)
    found = levels(shown(frame))[:, 0]
    assert (np.diff(found[:5]) > 0).all()
    assert found[1] > 235
    assert found[4:].min() >= 254


# Alpha


def with_alpha(pixel_format: str, alpha: np.ndarray) -> av.VideoFrame:
    """Bars with an (h, w) uint8 alpha channel."""
    height, width = alpha.shape
    straight = np.dstack([bars(width, height), alpha])
    frame = av.VideoFrame.from_ndarray(straight, "rgba")
    return frame if pixel_format == "rgba" else frame.reformat(format=pixel_format)


@pytest.mark.parametrize("size", [(160, 96), (640, 480)])
@pytest.mark.parametrize(
    "pixel_format",
    ["rgba", "bgra", "argb", "yuva420p", "yuva444p10le", "yuva444p12le", "gbrap", "rgba64le"],
)
def test_what_is_transparent_lies_over_black(pixel_format: str, size: tuple[int, int]) -> None:
    alpha = np.full(size[::-1], 128, np.uint8)
    alpha[: size[1] // 4] = 0
    alpha[-(size[1] // 4) :] = 255
    picture = shown(with_alpha(pixel_format, alpha))
    assert picture[:48].max() <= 1
    np.testing.assert_allclose(levels(picture), BARS * (128 / 255), atol=4)
    np.testing.assert_allclose(levels(picture[-40:]), BARS, atol=4)


@pytest.mark.parametrize("pixel_format", ["rgba", "argb", "yuva420p", "yuva444p10le"])
def test_an_opaque_alpha_channel_changes_nothing(pixel_format: str) -> None:
    frame = with_alpha(pixel_format, np.full((480, 640), 255, np.uint8))
    how = Interpolation.AREA | Interpolation.FULL_CHR_H_INT
    plain = VideoReformatter().reformat(frame, 200, 200, "rgb24", interpolation=how).to_ndarray()
    np.testing.assert_array_equal(shown(frame), plain)


def test_colours_under_what_is_transparent_do_not_bleed() -> None:
    straight = np.zeros((480, 640, 4), np.uint8)
    straight[:, ::2, 3] = 255  # columns of black between white ones that cannot be seen
    straight[:, 1::2, :3] = 255
    assert shown(av.VideoFrame.from_ndarray(straight, "rgba")).max() <= 1


def test_transparent_hdr_lies_over_black() -> None:
    signal = wide(bars(640, 480), "pq")
    frame = coded(signal, "yuva444p10le", 9, color_primaries=9, color_trc=16)
    opacity = np.full((480, 640), 1023)
    opacity[:240] = 0
    fill(frame.planes[3], opacity)
    picture = shown(frame)
    assert picture[:99].max() <= 1
    np.testing.assert_allclose(levels(picture[101:]), BARS, atol=6)


# Interlaced pictures


def woven(first: np.ndarray, second: np.ndarray, pixel_format: str = "yuv420p") -> av.VideoFrame:
    """An interlaced frame: the even rows of one picture, the odd rows of another."""
    frame, other = (coded(p / 255, pixel_format, 5) for p in (first, second))
    for plane, later in zip(frame.planes, other.planes):
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size).copy()
        rows[1::2] = np.frombuffer(later, np.uint8).reshape(rows.shape)[1::2]
        plane.update(rows.tobytes())
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 25)
    )
    flag, sink = graph.add("setfield", "tff"), graph.add("buffersink")
    source.link_to(flag)
    flag.link_to(sink)
    graph.configure()
    frame.pts = 0
    graph.push(frame)
    flagged = cast(av.VideoFrame, graph.pull())
    assert flagged.interlaced_frame
    return flagged


def stripe(at: int) -> np.ndarray:
    picture = np.full((480, 640, 3), 60, np.uint8)
    picture[:, at : at + 80] = 200
    return picture


@pytest.mark.parametrize("sampling", [WHOLE, CROP])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le"])
def test_an_interlaced_picture_is_of_one_moment(pixel_format: str, sampling: FrameSampling) -> None:
    found = shown(woven(stripe(200), stripe(320), pixel_format), sampling).astype(int)
    alone = shown(coded(stripe(200) / 255, "yuv420p", 5), sampling)
    assert np.abs(np.diff(found, axis=0)).max() <= 4  # no comb
    assert np.abs(found - alone).mean() < 2


def test_an_interlaced_picture_that_stands_still_keeps_its_detail() -> None:
    random = np.random.default_rng(0)
    grey = random.integers(0, 256, (120, 160, 1), np.uint8).repeat(3, 2)
    still = cv2.resize(grey, (640, 480), interpolation=cv2.INTER_CUBIC)
    alone = shown(coded(still / 255, "yuv420p", 5), CROP)
    found = shown(woven(still, still), CROP)
    assert np.abs(found.astype(int) - alone).mean() < 4


def clip(path: Path, codec: str, frame: av.VideoFrame, **context: object) -> Path:
    """A file of three such frames; `context` are attributes of the encoder."""
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25))
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        for i in range(3):
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_a_file_of_hdr_is_shown_as_a_screen_shows_it(tmp_path: Path) -> None:
    tags = {"color_primaries": 9, "color_trc": 16, "color_range": 1}
    frame = coded(wide(bars(160, 96), "pq"), "yuv420p10le", 9, **tags)
    path = clip(tmp_path / "a.mp4", "libx264", frame, colorspace=9, options={"crf": "2"}, **tags)
    (media,) = decoded(path)
    np.testing.assert_allclose(levels(media.frames["x"][0]), BARS, atol=12)


@pytest.mark.parametrize(
    ("codec", "name", "pixel_format"),
    [
        ("prores_ks", "a.mov", "yuva444p10le"),
        ("qtrle", "a.mov", "argb"),
        ("png", "a.mov", "rgba"),
        ("ffv1", "a.mkv", "bgra"),
        ("ffv1", "a.mkv", "yuva420p"),
    ],
)
def test_a_file_with_alpha_lies_over_black(
    tmp_path: Path, codec: str, name: str, pixel_format: str
) -> None:
    alpha = np.full((96, 160), 128, np.uint8)
    alpha[:24] = 0
    (media,) = decoded(clip(tmp_path / name, codec, with_alpha(pixel_format, alpha)))
    picture = media.frames["x"][0]
    assert picture[:44].max() <= 3
    np.testing.assert_allclose(levels(picture), BARS * (128 / 255), atol=8)


def test_an_interlaced_file_is_of_one_moment(tmp_path: Path) -> None:
    frame = woven(stripe(200), stripe(320))
    # AV_CODEC_FLAG_INTERLACED_DCT and _ME: the pictures are flagged as interlaced.
    path = clip(tmp_path / "a.mpg", "mpeg2video", frame, flags=1 << 18 | 1 << 29, qmax=2)
    (media,) = decoded(path)
    alone = shown(coded(stripe(200) / 255, "yuv420p", 5))
    found = media.frames["x"][0].astype(int)
    assert np.abs(found - alone).mean() < 4
    assert np.abs(np.diff(found, axis=0)).max() <= 40


# Which way up, and how wide


EIGHT = [
    (a, b, c, d)
    for a, b, c, d in [(1, 0, 0, 1), (0, 1, 1, 0)]
    for a, d in [(a, d), (-a, d), (a, -d), (-a, -d)][: 4 if a else 1]
    for b, c in [(b, c), (-b, c), (b, -c), (-b, -c)][: 4 if b else 1]
]

CORNERS = np.array([[(200, 40, 40), (40, 200, 40)], [(40, 40, 200), (200, 200, 200)]], np.uint8)
"""The colours of four quarters: red, green; blue, white."""


def quarters(width: int, height: int) -> np.ndarray:
    return cv2.resize(CORNERS, (width, height), interpolation=cv2.INTER_NEAREST)


def found_quarters(picture: np.ndarray) -> np.ndarray:
    height, width = picture.shape[:2]
    return picture[[height // 4, 3 * height // 4]][:, [width // 4, 3 * width // 4]].astype(int)


def placed(a: int, b: int, c: int, d: int) -> np.ndarray:
    """Where the matrix puts the four quarters, reckoned point by point."""
    out = np.empty_like(CORNERS)
    for row in range(2):
        for column in range(2):
            x, y = 2 * column - 1, 2 * row - 1
            out[(b * x + d * y + 1) // 2, (a * x + c * y + 1) // 2] = CORNERS[row, column]
    return out


def decoded(path: Path, sampling: FrameSampling = WHOLE, seconds: float = 10) -> list[SegmentMedia]:
    request = DecodeRequest(str(path), {"x": sampling}, False, segment_seconds=seconds)
    return [event for event in decode(request) if isinstance(event, SegmentMedia)]


@pytest.mark.parametrize(
    ("codec", "name", "pixel_format"),
    [
        ("libx264", "a.mp4", "yuv420p"),
        ("libx264", "a.mkv", "yuv420p"),
        ("mjpeg", "a.mov", "yuvj420p"),
        ("qtrle", "a.mov", "argb"),
    ],
)
@pytest.mark.parametrize("matrix", EIGHT)
def test_all_eight_display_matrices_of_a_stream_are_honoured(
    tmp_path: Path, matrix: tuple[int, int, int, int], codec: str, name: str, pixel_format: str
) -> None:
    a, b, c, d = (65536 * number for number in matrix)
    with av.open(str(tmp_path / name), "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25))
        stream.width, stream.height, stream.pix_fmt = 160, 96, pixel_format
        stream.set_display_matrix((a, b, 0, c, d, 0, 0, 0, 1 << 30))
        frame = av.VideoFrame.from_ndarray(quarters(160, 96), "rgb24").reformat(format=pixel_format)
        for i in range(3):
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (media,) = decoded(tmp_path / name)
    np.testing.assert_allclose(found_quarters(media.frames["x"][0]), placed(*matrix), atol=12)


@pytest.mark.parametrize(
    ("orientation", "matrix"),
    [  # What EXIF's tag 274 says of row 0 and column 0, as a matrix.
        *((1, (1, 0, 0, 1)), (2, (-1, 0, 0, 1)), (3, (-1, 0, 0, -1)), (4, (1, 0, 0, -1))),
        *((5, (0, 1, 1, 0)), (6, (0, 1, -1, 0)), (7, (0, -1, -1, 0)), (8, (0, -1, 1, 0))),
    ],
)
def test_a_picture_that_carries_exif_is_turned_by_it(
    tmp_path: Path, orientation: int, matrix: tuple[int, int, int, int]
) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    data = io.BytesIO()
    Image.fromarray(quarters(160, 96)).save(data, "jpeg", exif=exif.tobytes(), quality=95)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream("mjpeg", rate=25))
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuvj420p"
        for i in range(3):
            packet = av.Packet(data.getvalue())
            packet.stream, packet.pts, packet.dts = stream, i, i
            packet.time_base = Fraction(1, 25)
            container.mux(packet)
    (media,) = decoded(path)
    np.testing.assert_allclose(found_quarters(media.frames["x"][0]), placed(*matrix), atol=12)


def disc(width: int, height: int) -> np.ndarray:
    """A disc that is round where pixels are twice as wide as high."""
    picture = np.zeros((height, width, 3), np.uint8)
    cv2.ellipse(picture, (width // 2, height // 2), (25, 50), 0, 0, 360, (255, 255, 255), -1)
    return picture


def raw_h264(aspect: Fraction, picture: np.ndarray, frames: int = 50) -> bytes:
    """A stream whose pictures alone tell their shape: it has no container."""
    data = io.BytesIO()
    with av.open(data, "w", format="h264") as container:
        stream = cast(VideoStream, container.add_stream("libx264", rate=25))
        stream.height, stream.width = picture.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.sample_aspect_ratio = aspect
        frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuv420p")
        for i in range(frames):
            frame.pts = i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return data.getvalue()


def roundness(picture: np.ndarray) -> float:
    """Width over height of what is white."""
    white = picture[..., 0] > 128
    return np.ptp(np.flatnonzero(white.any(0))) / np.ptp(np.flatnonzero(white.any(1)))


def test_the_shape_of_pixels_may_be_in_the_pictures_and_may_change(tmp_path: Path) -> None:
    path = tmp_path / "a.h264"
    square, wide_pixels = Fraction(1), Fraction(2)
    picture = disc(160, 120)
    path.write_bytes(raw_h264(square, picture) + raw_h264(wide_pixels, picture))
    sampling = FrameSampling(4, 224, "crop")
    (media,) = decoded(path, sampling)
    shapes = [roundness(picture) for picture in media.frames["x"]]
    assert shapes == pytest.approx([0.5, 0.5, 1, 1], abs=0.04)


@pytest.mark.parametrize(
    ("container", "coded_first", "coded_later", "expected"),
    [
        (Fraction(2), Fraction(1), Fraction(1), 2),  # the container says otherwise
        (Fraction(2), None, Fraction(1), 2),  # as for VP9 in Matroska
        (Fraction(2), Fraction(2), Fraction(1), 1),  # both did, until it changed
        (None, None, Fraction(3, 2), 1.5),  # it comes with the first picture
        (None, None, None, 1),
        (Fraction(1000), Fraction(1000), Fraction(1000), 1),
        (Fraction(1), Fraction(1), Fraction(1, 1000), 1),
    ],
)
def test_the_containers_word_on_the_shape_counts_before_the_pictures(
    container: Fraction | None,
    coded_first: Fraction | None,
    coded_later: Fraction | None,
    expected: float,
) -> None:
    context = SimpleNamespace(sample_aspect_ratio=coded_first)
    stream = SimpleNamespace(sample_aspect_ratio=container, codec_context=context)
    aspect = PixelAspect(cast(Stream, stream))
    context.sample_aspect_ratio = coded_later
    assert aspect.now() == expected


# What a network makes of it


CLIPS = ["capstone70/animals/1.mp4", "capstone70/children/2.mp4", "capstone70/snow/2.mp4"]
CLIPS += ["ucf101_mini/YoYo/v_YoYo_g12_c02.avi", "ucf101_mini/Punch/v_Punch_g06_c02.avi"]


def neighbours(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A frame from within a clip and the one after it, (h, w, 3), their sides even."""
    with av.open(str(path)) as container:
        frames = [f.to_ndarray(format="rgb24") for f in islice(container.decode(video=0), 15)]
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    return frames[-2][:height, :width], frames[-1][:height, :width]


def doubled(picture: np.ndarray) -> np.ndarray:
    """Of the 480 rows that interlaced video has."""
    return cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)


def copies(picture: np.ndarray, following: np.ndarray) -> dict[str, av.VideoFrame]:
    """Copies of a frame that differ in how they are coded alone."""
    signal = picture / 255
    ten, hdr = "yuv420p10le", {"color_primaries": 9}
    opaque = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    return {
        "PQ": coded(wide(picture, "pq"), ten, 9, color_trc=16, **hdr),
        "PQ, white of 100 cd/m2": coded(wide(picture, "pq", 100), ten, 9, color_trc=16, **hdr),
        "PQ, 12 bit": coded(wide(picture, "pq"), "yuv420p12le", 9, color_trc=16, **hdr),
        "HLG": coded(wide(picture, "hlg"), ten, 9, color_trc=18, **hdr),
        "BT.2020": coded(wide(picture, "sdr"), ten, 9, color_trc=14, **hdr),
        "BT.601, full range": coded(signal, "yuv420p", 5, color_range=2),
        "BT.709": coded(signal, "yuv420p", 1, color_range=1),
        "yuvj": coded(signal, "yuvj420p", 1, 1),
        "alpha": av.VideoFrame.from_ndarray(opaque, "rgba").reformat(format="yuva420p"),
        "interlaced": woven(doubled(picture), doubled(following)),
    }


@pytest.mark.acceptance
def test_copies_that_are_only_coded_differently_stay_near_their_original(
    weights: Path, shared_data: Path
) -> None:
    crop = FrameSampling(8, 224, "crop")
    pictures: dict[str, list[np.ndarray]] = {}
    for clip in CLIPS:
        picture, following = neighbours(shared_data / clip)
        original = av.VideoFrame.from_ndarray(picture, "rgb24")
        progressive = av.VideoFrame.from_ndarray(doubled(picture), "rgb24")
        for name, frame in {
            "original": original,
            "progressive": progressive,
            **copies(picture, following),
        }.items():
            pictures.setdefault(name, []).append(shown(frame, crop))
    extractor = FrameExtractor(LITE0, torch.device("cpu"))
    vectors = {}
    for name, shots in pictures.items():
        media = [SegmentMedia(Segment(0, 0, 1), {LITE0.modality: shot[None]}) for shot in shots]
        rows = [e.rows[LITE0.name].vectors[0] for e in extractor.embed(media)]
        vectors[name] = np.stack([row / np.linalg.norm(row) for row in rows])
    cosines = {
        name: np.median((found * vectors["progressive" if "inter" in name else "original"]).sum(1))
        for name, found in vectors.items()
    }
    assert {name: cosine for name, cosine in cosines.items() if cosine < 0.97} == {}
