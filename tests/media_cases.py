"""Small media files whose every frame and second can be told from the content.

Pictures carry their number in `BITS` stripes of black and white, the lowest bit at the left. The
sound is a sine whose pitch tells the second: 400 + 100 n Hz in second n.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 12
WIDTH, HEIGHT = 96, 32
RATE = 16_000
FIRST_HERTZ, STEP_HERTZ = 400, 100


@dataclass(frozen=True)
class Piece:
    """A stretch of a recording; times in seconds.

    Attributes:
        seconds: Its length.
        fps: Pictures a second; 0 for none.
        clock: What the file's clock says at its start.
        sound_after: How much later than the picture its sound starts.
        has_sound: Whether it has any.
    """

    seconds: float
    fps: int = 25
    clock: float = 0.0
    sound_after: float = 0.0
    has_sound: bool = True

    @property
    def frames(self) -> int:
        return round(self.seconds * self.fps)


def picture(number: int) -> av.VideoFrame:
    levels = np.array([235 if number >> bit & 1 else 16 for bit in range(BITS)], np.uint8)
    luma = np.tile(np.repeat(levels, WIDTH // BITS), (HEIGHT, 1))
    chroma = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
    return av.VideoFrame.from_ndarray(np.concatenate([luma, chroma]), "yuv420p")


def number_of(rgb: np.ndarray) -> int:
    """The number that a picture (h, w, 3) carries, whatever its size."""
    columns = rgb.mean(axis=(0, 2))
    middles = (np.arange(BITS) + 0.5) * len(columns) / BITS
    return sum(1 << bit for bit, at in enumerate(middles) if columns[int(at)] > 128)


def tone(first_second: float, seconds: float) -> np.ndarray:
    """(n,) int16 at `RATE`: the sound from one second on."""
    at = np.arange(round(first_second * RATE), round((first_second + seconds) * RATE))
    hertz = FIRST_HERTZ + STEP_HERTZ * (at // RATE)
    return (12_000 * np.sin(2 * np.pi * hertz * at / RATE)).astype(np.int16)


def second_of(samples: np.ndarray) -> int | None:
    """Which second samples of at least a quarter of one come from; None for silence."""
    if np.abs(samples).max() < 0.02:
        return None
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    hertz = spectrum.argmax() * RATE / len(samples)
    return round((hertz - FIRST_HERTZ) / STEP_HERTZ)


def write(
    path: Path,
    pieces: Sequence[Piece],
    codec: str = "mpeg4",
    audio_codec: str = "mp2",
    options: dict[str, str] | None = None,
) -> Path:
    """Writes pieces one after another: each as a file of its own, whose bytes are put together.

    Numbers of pictures and seconds of sound run on over all of them.
    """
    with path.open("wb") as file:
        number, second = 0, 0.0
        for piece in pieces:
            file.write(_encode(path.suffix[1:], piece, number, second, codec, audio_codec, options))
            number, second = number + piece.frames, second + piece.seconds
    return path


def _encode(
    container: str,
    piece: Piece,
    number: int,
    second: float,
    codec: str,
    audio_codec: str,
    options: dict[str, str] | None,
) -> bytes:
    names = {"ts": "mpegts", "mkv": "matroska", "mpg": "vob", "mp4": "mp4", "avi": "avi"}
    written = io.BytesIO()
    with av.open(written, "w", format=names[container], options=options or {}) as output:
        packets = []
        video = sound = None
        if piece.fps:
            video = output.add_stream(codec, rate=piece.fps)
            video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            video.codec_context.options = {"qscale": "2"}
            video.codec_context.gop_size = 5
        if piece.has_sound:
            sound = output.add_stream(audio_codec, rate=RATE)
            sound.layout = "mono"
        if video is not None:
            for i in range(piece.frames):
                frame = picture(number + i)
                frame.pts, frame.time_base = i, Fraction(1, piece.fps)
                packets += [(p, piece.clock) for p in video.encode(frame)]
            packets += [(p, piece.clock) for p in video.encode(None)]
        if sound is not None:
            samples = tone(second + max(0.0, piece.sound_after), piece.seconds)
            samples = samples[: round((piece.seconds - max(0.0, piece.sound_after)) * RATE)]
            frame = av.AudioFrame.from_ndarray(samples[None], "s16", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            fifo = av.AudioFifo()
            fifo.write(frame)
            start = piece.clock + piece.sound_after
            while chunk := fifo.read(sound.codec_context.frame_size or 1024, partial=True):
                packets += [(p, start) for p in sound.encode(chunk)]
            packets += [(p, start) for p in sound.encode(None)]
        for packet, start in sorted(packets, key=lambda item: item[1] + _seconds(item[0])):
            shift = round(start / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            output.mux(packet)
    return written.getvalue()


def _seconds(packet: av.Packet) -> float:
    return float(packet.dts * packet.time_base)


def patch(path: Path, change: Callable[[bytearray], None]) -> Path:
    """Changes the bytes of a file in place."""
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return path
