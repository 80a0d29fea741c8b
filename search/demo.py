"""The demo: a small library of real and generated clips, and a disguised copy to find."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from ..ingest.models.sample_clips import ensure_sample_clips
from ..ingest.system.atomic_file import whole_file
from ..ingest.system.progress import Progress, shown
from ..schemas.results import IngestReport, QueryResult
from ..schemas.settings import settings
from .library import Library

LIBRARY = "demo"
_ORIGINAL = "bigbuckbunny.mp4"
_FPS = 25
_RATE = 44_100
_SIZE = (240, 320)
_SECONDS = 5

Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Demo:
    """Results of the demo, for the CLI to show."""

    report: IngestReport
    result: QueryResult
    clip: Path
    original: str
    change: str
    places: dict[str, str]


def run(library: Library, progress: Progress) -> Demo:
    """Make the clips, ingest them as the library ``demo`` and query it with a copy.

    Raises:
        WeightsError: Clips or weights cannot be fetched.
        VidsimError: As `ingest` and `query`.
    """
    place = library.place
    folder = place.home / "demo"
    clips = folder / LIBRARY
    clips.mkdir(parents=True, exist_ok=True)
    with shown(progress, "pulling sample clips") as advance:
        samples = ensure_sample_clips(advance)
    for sample in samples:
        _copy(sample, clips / sample.name)
    write_generated(clips)
    report = library.ingest(clips, library=LIBRARY, progress=progress)
    copy = folder / "copy.mp4"
    change = disguise(clips / _ORIGINAL, copy)
    result = library.query(copy, k=5, libraries=(LIBRARY,), progress=progress)
    return Demo(
        report=report,
        result=result,
        clip=copy,
        original=f"{LIBRARY}/{_ORIGINAL}",
        change=change,
        places={
            "clips": str(clips),
            "shards": str(place.home / "shards" / LIBRARY),
            "Milvus": place.uri or str(place.home / "milvus.db"),
            "weights": str(settings().cache / "weights"),
        },
    )


def _copy(sample: Path, target: Path) -> None:
    """Copy a clip, also in the place of a link: a server shows no file outside of a library."""
    if target.is_symlink() or not target.exists():
        with whole_file(target) as partial:
            shutil.copyfile(sample, partial)


def write_generated(folder: Path) -> None:
    """Write the generated clips (320x240, five seconds) that do not exist yet."""
    for name, (picture, sound) in _GENERATED.items():
        if not (folder / name).exists():
            _write_clip(folder / name, picture, sound)


def disguise(
    source: Path, target: Path, crop: float = 0.1, trim: float = 0.2, bit_rate: int = 150_000
) -> str:
    """Write a re-encoded, cropped and trimmed copy of a clip; return in words what it did.

    Args:
        source: A video file.
        target: The copy, an mp4.
        crop: Part of width and height cut away, half on each side.
        trim: Part of the length cut away, half at each end.
        bit_rate: Bits per second of the copy's picture.
    """
    with av.open(str(source)) as container:
        frames = [
            np.asarray(f.to_ndarray(format="rgb24"), np.uint8) for f in container.decode(video=0)
        ]
        fps = container.streams.video[0].average_rate or _FPS
    sound = _read_sound(source)
    first = int(len(frames) * trim / 2)
    last = max(first + 1, len(frames) - first)
    height, width = frames[0].shape[:2]
    top, left = int(height * crop / 2), int(width * crop / 2)
    pictures = [f[top : height - top, left : width - left] for f in frames[first:last]]
    begin, end = (int(n / float(fps) * _RATE) for n in (first, last))
    _encode(target, pictures, sound[begin:end], fps, bit_rate)
    return (
        f"{crop:.0%} of width and height cropped, {trim:.0%} of its length trimmed, "
        f"re-encoded at {bit_rate // 1000} kbit/s"
    )


def _read_sound(source: Path) -> npt.NDArray[np.float32]:
    """Read the first sound track as mono float32 at `_RATE`; empty where there is none."""
    with av.open(str(source)) as container:
        if not container.streams.audio:
            return np.zeros(0, np.float32)
        resampler = av.AudioResampler("flt", "mono", _RATE)
        parts = [
            piece.to_ndarray()[0]
            for frame in [*container.decode(audio=0), None]
            for piece in resampler.resample(frame)
        ]
    return np.concatenate(parts)


def _encode(
    target: Path,
    pictures: list[Picture],
    sound: npt.NDArray[np.float32],
    fps: Fraction | int,
    bit_rate: int,
) -> None:
    height, width = (n // 2 * 2 for n in pictures[0].shape[:2])
    with av.open(str(target), "w", format="mp4") as container:
        video = container.add_stream("libx264", rate=fps)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.bit_rate = bit_rate
        audio = container.add_stream("aac", rate=_RATE, layout="mono") if len(sound) else None
        for picture in pictures:
            pixels = np.ascontiguousarray(picture[:height, :width])
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode())
        if audio is not None:
            for start in range(0, len(sound), 1024):
                block = np.ascontiguousarray(sound[None, start : start + 1024])
                frame = av.AudioFrame.from_ndarray(block, format="flt", layout="mono")
                frame.sample_rate, frame.pts = _RATE, start
                container.mux(audio.encode(frame))
            container.mux(audio.encode())


def _write_clip(
    path: Path,
    picture: Callable[[float], Picture],
    sound: Callable[[npt.NDArray[np.float64]], object],
) -> None:
    pictures = [picture(i / _FPS) for i in range(_SECONDS * _FPS)]
    seconds = np.arange(_SECONDS * _RATE) / _RATE
    wave = np.asarray(sound(seconds), np.float32)
    with whole_file(path) as partial:
        _encode(partial, pictures, wave, _FPS, 500_000)


def _ball(t: float) -> Picture:
    """A red ball bouncing on green."""
    canvas = np.full((*_SIZE, 3), (40, 140, 60), np.uint8)
    center = (int(160 + 120 * math.sin(1.3 * t)), int(200 - 150 * abs(math.sin(3 * t))))
    return np.asarray(cv2.circle(canvas, center, 24, (220, 40, 30), -1), np.uint8)


def _sunset(t: float) -> Picture:
    """A sky that darkens from orange to violet."""
    rows = np.linspace(0, 1, _SIZE[0])[:, None, None]
    late = t / _SECONDS
    top = np.array([250, 150, 60]) * (1 - late) + np.array([60, 30, 110]) * late
    bottom = np.array([250, 90, 50]) * (1 - late) + np.array([20, 10, 60]) * late
    sky = top * (1 - rows) + bottom * rows
    return np.broadcast_to(sky, (*_SIZE, 3)).astype(np.uint8)


def _checkers(t: float) -> Picture:
    """A turning black and white chessboard."""
    y, x = np.mgrid[: _SIZE[0], : _SIZE[1]] - np.array(_SIZE).reshape(2, 1, 1) / 2
    u = x * math.cos(t) - y * math.sin(t)
    v = x * math.sin(t) + y * math.cos(t)
    board = ((u // 30 + v // 30) % 2 * 255).astype(np.uint8)
    return np.repeat(board[..., None], 3, axis=2)


def _snow(t: float) -> Picture:
    """White flakes falling on blue."""
    flakes = np.random.default_rng(7).uniform(0, 1, (120, 2))
    canvas = np.full((*_SIZE, 3), (40, 60, 120), np.uint8)
    for x, y in flakes:
        center = (int(x * _SIZE[1]), int((y + 0.3 * t) % 1 * _SIZE[0]))
        cv2.circle(canvas, center, 3, (245, 245, 250), -1)
    return canvas


def _tone(frequency: float) -> Callable[[npt.NDArray[np.float64]], object]:
    return lambda s: 0.3 * np.sin(2 * np.pi * frequency * s)


def _beeps(s: npt.NDArray[np.float64]) -> object:
    """A short beep twice a second."""
    return 0.3 * np.sin(2 * np.pi * 1000 * s) * (s % 0.5 < 0.1)


def _wind(s: npt.NDArray[np.float64]) -> object:
    """Noise that swells and fades."""
    noise = np.random.default_rng(3).standard_normal(len(s))
    return 0.1 * noise * (1.2 + np.sin(2 * np.pi * 0.4 * s))


_GENERATED = {
    "ball.mp4": (_ball, _beeps),
    "sunset.mp4": (_sunset, _tone(220)),
    "checkers.mp4": (_checkers, _tone(880)),
    "snow.mp4": (_snow, _wind),
}
