"""Small media files whose every frame and second can be told from the content.

Pictures carry their number in `BITS` stripes of black and white, the lowest bit at the left. The
sound is a sine whose pitch tells the second: 400 + 100 n Hz in second n.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

BITS = 12
WIDTH, HEIGHT = 96, 32
RATE = 16_000
TICKS = 90_000  # a second on MPEG's clock
FIRST_HERTZ, STEP_HERTZ = 400, 100
MUXERS = {"ts": "mpegts", "mkv": "matroska", "mpg": "vob", "mp4": "mp4", "avi": "avi", "flv": "flv"}


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
    fps: int | Fraction = 25
    clock: float = 0.0
    sound_after: float = 0.0
    has_sound: bool = True

    @property
    def frames(self) -> int:
        return round(self.seconds * self.fps)


def picture(number: int) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(_pixels(number), "yuv420p")


@cache
def _pixels(number: int) -> np.ndarray:
    levels = np.array([235 if number >> bit & 1 else 16 for bit in range(BITS)], np.uint8)
    luma = np.tile(np.repeat(levels, WIDTH // BITS), (HEIGHT, 1))
    chroma = np.full((HEIGHT // 2, WIDTH), 128, np.uint8)
    return np.concatenate([luma, chroma])


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
    reordered: bool = False,
) -> Path:
    """Writes pieces one after another: each as a file of its own, whose bytes are put together.

    Numbers of pictures and seconds of sound run on over all of them; pictures are `reordered`
    where two B-frames lie between others.
    """
    with path.open("wb") as file:
        number, second = 0, 0.0
        for piece in pieces:
            written = io.BytesIO()
            with av.open(written, "w", format=MUXERS[path.suffix[1:]], options=options) as output:
                _encode(output, piece, number, second, codec, audio_codec, reordered)
            file.write(written.getvalue())
            number, second = number + piece.frames, second + piece.seconds
    return path


def _encode(
    output: OutputContainer,
    piece: Piece,
    number: int,
    second: float,
    codec: str,
    audio_codec: str,
    reordered: bool,
) -> None:
    video = add_video(output, codec, piece.fps, reordered=reordered) if piece.fps else None
    sound = add_sound(output, audio_codec) if piece.has_sound else None
    packets = []
    if video is not None:
        numbers = range(number, number + piece.frames)
        packets += [(p, piece.clock) for p in encode_pictures(video, numbers)]
    if sound is not None:
        late = max(0.0, piece.sound_after)
        heard = encode_sound(sound, second + late, piece.seconds - late)
        packets += [(p, piece.clock + piece.sound_after) for p in heard]
    for packet, start in sorted(packets, key=lambda item: item[1] + _seconds(item[0])):
        retime(packet, start + _seconds(packet), start + float(packet.pts * packet.time_base))
        output.mux(packet)


def retime(packet: av.Packet, decoded_s: float, shown_s: float) -> None:
    """Gives a packet other times, on a clock that is fine enough for any of them."""
    packet.duration = round(float(packet.duration * packet.time_base) * TICKS)
    packet.dts, packet.pts = round(decoded_s * TICKS), round(shown_s * TICKS)
    packet.time_base = Fraction(1, TICKS)


def add_video(
    output: OutputContainer,
    codec: str,
    rate: int | Fraction,
    gop: int = 5,
    reordered: bool = False,
) -> VideoStream:
    video = output.add_stream(codec, rate=rate)
    video.width, video.height = WIDTH, HEIGHT
    video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    quality = {"preset": "ultrafast", "crf": "10"} if codec == "libx264" else {"qscale": "2"}
    video.codec_context.options = quality | ({"bf": "2"} if reordered else {})
    video.codec_context.gop_size = gop
    video.codec_context.thread_count = 1  # threads take longer to start than to work
    return video


def add_sound(output: OutputContainer, codec: str) -> AudioStream:
    sound = output.add_stream(codec, rate=RATE)
    sound.layout = "mono"
    if codec == "aac":
        sound.codec_context.options = {"aac_coder": "fast"}  # ten times as fast
    return sound


def encode_pictures(video: VideoStream, numbers: Iterable[int]) -> list[av.Packet]:
    """The packets of numbered pictures, one after another from 0 on."""
    packets = []
    for i, number in enumerate(numbers):
        frame = picture(number)
        frame.pts, frame.time_base = i, 1 / Fraction(video.codec_context.framerate)
        packets += video.encode(frame)
    return [*packets, *video.encode(None)]


def encode_sound(sound: AudioStream, first_second: float, seconds: float) -> list[av.Packet]:
    """The packets of the sound from one second on, from 0 on."""
    context = sound.codec_context
    samples = tone(first_second, seconds)[None]
    if context.format.name == "fltp":
        samples = samples.astype(np.float32) / 32_768
    frame = av.AudioFrame.from_ndarray(samples, context.format.name, "mono")
    frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
    fifo = av.AudioFifo()
    fifo.write(frame)
    packets = []
    while chunk := fifo.read(context.frame_size or 1024, partial=True):
        packets += sound.encode(chunk)
    return [*packets, *sound.encode(None)]


def _seconds(packet: av.Packet) -> float:
    return float(packet.dts * packet.time_base)


def patch(path: Path, change: Callable[[bytearray], None]) -> Path:
    """Changes the bytes of a file in place."""
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return path


def restamp(path: Path, of_picture: bool, numbers: Collection[int], by_s: float) -> Path:
    """Moves stamps in MPEG-TS, MPEG-PS or FLV, by their numbers among those of their kind."""
    change = _restamp_flv if path.suffix == ".flv" else _restamp_mpeg
    return patch(path, lambda content: change(content, of_picture, numbers, by_s))


def _restamp_mpeg(
    content: bytearray, of_picture: bool, numbers: Collection[int], by_s: float
) -> None:
    start = b"\0\0\1" + bytes([0xE0 if of_picture else 0xC0])
    at, number = content.find(start), 0
    while at >= 0:
        if content[at + 6] & 0xC0 == 0x80 and content[at + 7] & 0x80:
            places = [at + 9, at + 14] if content[at + 7] & 0x40 else [at + 9]
            for place in places if number in numbers else []:
                a, b, c, d, e = content[place : place + 5]
                ticks = (a >> 1 & 7) << 30 | b << 22 | c >> 1 << 15 | d << 7 | e >> 1
                ticks = (ticks + round(by_s * TICKS)) % 2**33
                content[place : place + 5] = bytes(
                    [
                        a & 0xF0 | ticks >> 29 & 0xE | 1,
                        ticks >> 22 & 0xFF,
                        ticks >> 14 & 0xFF | 1,
                        ticks >> 7 & 0xFF,
                        ticks << 1 & 0xFF | 1,
                    ]
                )
            number += 1
        at = content.find(start, at + 4)


def _restamp_flv(
    content: bytearray, of_picture: bool, numbers: Collection[int], by_s: float
) -> None:
    at, number = 13, 0
    while at + 11 < len(content):
        if content[at] == (9 if of_picture else 8) and content[at + 12]:  # 0 there: a header
            if number in numbers:
                ms = int.from_bytes(content[at + 4 : at + 7], "big") | content[at + 7] << 24
                ms += round(by_s * 1000)
                content[at + 4 : at + 8] = (ms & 0xFFFFFF).to_bytes(3, "big") + bytes([ms >> 24])
            number += 1
        at += 11 + int.from_bytes(content[at + 1 : at + 4], "big") + 4
