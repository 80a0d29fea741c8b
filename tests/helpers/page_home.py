"""A home to show: generated clips with and without sound, copies of them, and sounds alone."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import cv2
import numpy as np

from vidsim.search.demo import disguise, write_generated
from vidsim.search.library import Library

from .clips import write_clip

SCRIPT = "<img src=x onerror=alert(1)>.mp4"
"""A file name that does harm where it is taken for markup."""

_RATE = 16_000


def home_to_show(folder: Path) -> Path:
    """Makes ``folder/clips``, ``tones`` and ``more``, and ``folder/home``, which holds the first
    two; ``more`` is for an ingest.

    ``clips`` has drawn clips of 5 s, copies of two, an AVI without sound, which no browser plays, a
    video of 15 s that begins and ends as ``ball.mp4``, and a name with markup.
    """
    drawn, copies = folder / "clips/drawn", folder / "clips/copies"
    odd = folder / "clips/<i onclick=alert(1)>"
    for each in (drawn, copies, odd, folder / "clips/old", folder / "tones/bell", folder / "more"):
        each.mkdir(parents=True)
    write_generated(drawn)
    disguise(drawn / "ball.mp4", copies / "ball_copy.mp4")
    disguise(drawn / "snow.mp4", copies / "snow_copy.mp4")
    disguise(drawn / "sunset.mp4", odd / SCRIPT)
    _write_avi(drawn / "checkers.mp4", folder / "clips/old/checkers.avi")
    _write_joined([drawn / f"{n}.mp4" for n in ("ball", "sunset", "ball")], drawn / "long.mp4")
    for name, hertz in (("low", 220), ("high", 880), ("mixed", 500)):
        write_tone(folder / f"tones/bell/{name}.wav", hertz)
    disguise(drawn / "checkers.mp4", folder / "more/new.mp4")
    with Library.open(folder / "home") as library:
        library.ingest(folder / "clips")
        library.ingest(folder / "tones")
    return folder / "home"


def write_tone(path: Path, hertz: float, seconds: float = 4.0) -> Path:
    """Writes a tone that swells and fades."""
    at = np.arange(int(seconds * _RATE)) / _RATE
    samples = 9000 * np.sin(2 * np.pi * hertz * at) * (1.2 + np.sin(2 * np.pi * at)) / 2.2
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def write_still(video: Path, path: Path) -> Path:
    """Writes the first frame of a video as a picture."""
    cv2.imwrite(str(path), _frames(video)[0][..., ::-1])
    return path


def _frames(video: Path) -> list[np.ndarray]:
    with av.open(str(video)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def _write_avi(source: Path, target: Path) -> None:
    frames = _frames(source)
    times = [n / 25 for n in range(len(frames))]
    write_clip(target, times=times, images=frames, codec="mpeg4")


def _write_joined(sources: list[Path], target: Path) -> None:
    frames = [frame for source in sources for frame in _frames(source)]
    times = [n / 25 for n in range(len(frames))]
    write_clip(target, times=times, images=frames, codec="libx264")
