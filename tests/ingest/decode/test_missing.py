"""What is not in a file any more is told; pauses and headers that lie are not taken for it."""

from __future__ import annotations

import random
import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from ...helpers import media_cases
from ...helpers.decoded import run
from ...helpers.media_cases import RATE, Piece
from ...helpers.random_files import Plan
from ...helpers.random_files import write as write_plan

SECONDS = 20
CODECS = {
    "ts": ("mpeg4", "mp2"),
    "mkv": ("mpeg4", "aac"),
    "avi": ("mpeg4", "mp2"),
    "mp4": ("mpeg4", "aac"),
    "flv": ("libx264", "aac"),
}


def film(path: Path) -> Path:
    container = path.suffix[1:]
    codecs = CODECS[container]
    if container != "mp4":
        return media_cases.write(path, [Piece(float(SECONDS))], *codecs)
    source = media_cases.write(path.with_suffix(".mkv"), [Piece(float(SECONDS))], *codecs)
    options = {"movflags": "faststart"}
    with av.open(str(source)) as read, av.open(str(path), "w", options=options) as output:
        streams = [output.add_stream_from_template(stream) for stream in read.streams]
        for packet in read.demux():
            if packet.size:
                packet.stream = streams[packet.stream_index]
                output.mux(packet)
    return path


def sound(path: Path, codec: str, **options: str) -> Path:
    """Noise beside the tones, so that every second has as many bytes."""
    noise = np.random.default_rng(0).integers(-3000, 3000, SECONDS * RATE)
    samples = (media_cases.tone(0, SECONDS) // 2 + noise).astype(np.int16)
    with av.open(str(path), "w", options=options) as output:
        stream = output.add_stream(codec, rate=48_000 if codec == "libopus" else RATE)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples[None], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    return path


def holed(path: Path, start: float, end: float, noise: bool = False) -> Path:
    """Nothing, or noise, in the place of a part of the file."""

    def change(content: bytearray) -> None:
        a, b = round(start * len(content)), round(end * len(content))
        content[a:b] = random.Random(1).randbytes(b - a) if noise else bytes(b - a)

    return media_cases.patch(path, change)


def cut(path: Path, part: float) -> Path:
    path.write_bytes(path.read_bytes()[: round(part * path.stat().st_size)])
    return path


def told(path: Path) -> str:
    opened, _, lost = run(path)
    return lost.damage(opened.duration_s).describe()


@pytest.mark.parametrize("container", CODECS)
def test_of_a_whole_file_nothing_is_told(tmp_path: Path, container: str) -> None:
    assert told(film(tmp_path / f"x.{container}")) == ""


@pytest.mark.parametrize("container", ["mkv", "ts"])
@pytest.mark.parametrize("noise", [False, True])
def test_a_hole_is_told_with_its_place(tmp_path: Path, container: str, noise: bool) -> None:
    path = holed(film(tmp_path / f"x.{container}"), 0.5, 0.65, noise)
    found = re.search(r"of 20\.\d s, (\d+\.\d) s are missing \(([\d.]+)-([\d.]+)\)", told(path))
    assert found
    lost_s, start, end = map(float, found.groups())
    assert 2.5 < lost_s < 6.5
    assert 9 < start < 11.5
    assert end - start == pytest.approx(lost_s, abs=0.11)


@pytest.mark.parametrize("container", ["mkv", "mp4", "avi", "flv"])
def test_a_file_that_was_cut_short_is_told(tmp_path: Path, container: str) -> None:
    said = told(cut(film(tmp_path / f"x.{container}"), 0.6))
    by_header = re.search(r"its header says 20\.\d s, (\d+\.\d) s are there", said)
    by_bytes = re.search(r"about (\d+\.\d) s are missing at its end", said)
    assert by_header or by_bytes, said
    there_s = float(by_header[1]) if by_header else SECONDS - float(by_bytes[1])
    assert there_s == pytest.approx(12, abs=2.0)


def test_pictures_that_avi_passes_over_are_told(tmp_path: Path) -> None:
    said = told(holed(film(tmp_path / "x.avi"), 0.5, 0.65))
    assert re.search(r"its header says 20\.\d s, 1[67]\.\d s are there", said)


@pytest.mark.parametrize("noise", [False, True])
def test_the_end_of_a_transport_stream_that_is_none_is_told(tmp_path: Path, noise: bool) -> None:
    said = told(holed(film(tmp_path / "x.ts"), 0.6, 1.0, noise))
    found = re.search(r"about (\d+\.\d) s are missing at its end", said)
    assert found, said
    assert float(found[1]) == pytest.approx(8, abs=1.5)


@pytest.mark.parametrize(
    ("ending", "codec"),
    [("flac", "flac"), ("ogg", "libopus"), ("mp3", "libmp3lame"), ("aac", "aac")],
)
def test_holes_in_sound_alone_are_told(tmp_path: Path, ending: str, codec: str) -> None:
    path = sound(tmp_path / f"x.{ending}", codec)
    assert told(path) == ""
    assert re.search(r"missing|its header says", told(holed(path, 0.4, 0.6)))


@pytest.mark.parametrize(("ending", "codec"), [("flac", "flac"), ("wav", "pcm_s16le")])
def test_sound_that_was_cut_short_is_told(tmp_path: Path, ending: str, codec: str) -> None:
    path = cut(sound(tmp_path / f"x.{ending}", codec), 0.5)
    assert re.search(r"its header says 20|about 10\.\d s are missing at its end", told(path))


@pytest.mark.parametrize("container", ["ts", "mkv", "mp4"])
def test_a_pause_of_picture_and_sound_is_no_hole(tmp_path: Path, container: str) -> None:
    times = tuple(i / 25 + (6.0 if i >= 100 else 0.0) for i in range(200))
    plan = Plan(
        container,
        "mpeg4",
        "aac",
        Fraction(25),
        12,
        False,
        times,
        (0.0, 14.0),
        silent_s=(4.0, 10.0),
    )
    assert told(write_plan(tmp_path / f"x.{container}", plan)) == ""


def test_a_pause_that_a_transport_stream_fills_is_no_hole(tmp_path: Path) -> None:
    path = media_cases.write(tmp_path / "x.ts", [Piece(5.0), Piece(5.0, clock=10.0)])

    def change(content: bytearray) -> None:
        half = len(content) // 2 // 188 * 188
        content[half:half] = (b"\x47\x1f\xff\x10" + b"\xff" * 184) * 2000

    assert told(media_cases.patch(path, change)) == ""


def test_a_hole_after_which_the_clock_is_another_is_told(tmp_path: Path) -> None:
    path = media_cases.write(tmp_path / "x.ts", [Piece(8.0), Piece(8.0, clock=40.0)])

    def change(content: bytearray) -> None:
        half = len(content) // 2 // 188 * 188
        content[half:half] = bytes(300_000)

    assert re.search(
        r"about \d+\.\d s are missing at 8\.\d s", told(media_cases.patch(path, change))
    )
