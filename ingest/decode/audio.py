"""Decode the audio of one file on demand: as 16 kHz mono, or as a person hears it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from ...schemas.embedding import FloatArray
from ...schemas.modality import SAMPLE_RATE
from .container import Skipped, open_local, packets
from .timeline import Track

_JUMP_S = 0.1
"""A timestamp further than this from the end of the previous samples is a discontinuity, not
jitter."""

_MEMORY_S = 0.5
"""Half-life of the channel energies that decide the mix."""

_LOUDER = 4.0
"""Another channel becomes the reference once it has this many times the energy, 6 dB more."""

_SILENT_BESIDE = 1e-6
"""A channel with at most this fraction of the loudest one's energy, -60 dB, counts as silent."""

_OPPOSITE = 0.5
"""Channels whose correlation is below minus this have opposite phase. Stereo music and speech are
above 0, reverberation alone around it."""


def _is_discontinuity(time_s: float | None, expected_s: float | None) -> bool:
    if expected_s is None:
        return True
    return time_s is not None and abs(time_s - expected_s) > _JUMP_S


def _channels(frames: list[AudioFrame]) -> FloatArray:
    """Return packed frames as (channels, n) float32; NaN and infinity become silence."""
    parts = [frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T for frame in frames]
    joined = np.concatenate(parts, axis=1) if parts else np.zeros((1, 0), np.float32)
    return np.asarray(np.nan_to_num(joined, nan=0.0, posinf=0.0, neginf=0.0), np.float32)


class Mixing(Protocol):
    """Makes of a file's channels those that are wanted."""

    def mix(self, channels: FloatArray) -> FloatArray:
        """Mix the next samples, (c, n) float32, to (n,) or (wanted, n) float32."""


class Mixer:
    """Mixes channels down to mono, whatever their phase, without making anything quieter.

    The mean of the channels suits most recordings; libav's own downmix is louder than its input
    by a factor of 1.41. Two cases need more: a channel that is the negative of another would
    cancel it, so it is inverted; silent channels would make the others quieter, so they are left
    out. Both are detected from the energies of about the last half second.
    """

    def __init__(self) -> None:
        """Start without history."""
        self._products: npt.NDArray[np.float64] | None = None
        self._leading = 0

    def mix(self, channels: FloatArray) -> FloatArray:
        """Mix the next samples, (c, n) float32 with the c of previous calls, to (n,) float32."""
        count, samples = channels.shape
        if count == 1 or not samples:
            return np.asarray(channels[0], np.float32)
        new = channels.astype(np.float64) @ channels.T
        if self._products is None or len(self._products) != count:
            self._products, self._leading = np.zeros((count, count)), 0
        # A sum over time per pair of channels, which decays with the half-life.
        self._products = self._products * 0.5 ** (samples / (_MEMORY_S * SAMPLE_RATE)) + new
        energy = self._products.diagonal()
        # Keep the reference channel while it is loud enough: a change may flip the mix's sign.
        if energy.max() > _LOUDER * energy[self._leading]:
            self._leading = int(energy.argmax())
        loudest = self._leading
        if not energy[loudest] > 0:
            return np.zeros(samples, np.float32)
        active = energy > energy[loudest] * _SILENT_BESIDE
        alike = self._products[loudest] / np.sqrt(np.maximum(energy * energy[loudest], 1e-30))
        weights = np.where(alike < -_OPPOSITE, -1.0, 1.0) * active / active.sum()
        return np.asarray(weights.astype(np.float32) @ channels, np.float32)


class Stereo:
    """Leaves two channels as they are; of any other number it makes two that are the same."""

    def __init__(self) -> None:
        """Start without history."""
        self._mono = Mixer()

    def mix(self, channels: FloatArray) -> FloatArray:
        """Mix the next samples, (c, n) float32, to (2, n) float32."""
        return channels if len(channels) == 2 else np.stack([self._mono.mix(channels)] * 2)


class AudioReader:
    """Reads ascending intervals of a file's audio, holding little more than one in memory.

    It opens its own container, so that audio and video may lie in the file in any order and
    neither waits in memory for the other.
    """

    def __init__(
        self,
        path: str,
        stream: int,
        track: Track,
        skipped: Skipped,
        on_progress: Callable[[], None],
        first: int = 0,
        rate: int = SAMPLE_RATE,
        mixing: Callable[[], Mixing] = Mixer,
    ) -> None:
        """Prepare to read, without decoding yet.

        Args:
            path: The file.
            stream: Index of the audio stream.
            track: Its packets' times on the clock of the file.
            skipped: Counts the packets that do not decode.
            on_progress: Called per packet.
            first: Number of the first packet that is decoded, in file order.
            rate: Samples per second that it gives.
            mixing: Makes what mixes the channels.
        """
        self._rate = rate
        frames = _frames(path, stream, track, skipped, on_progress, first)
        self._pieces = _resampled(frames, skipped, rate, mixing())
        self._held: deque[tuple[int, FloatArray]] = deque()
        self._end = 0
        self._exhausted = False

    def prime(self) -> bool:
        """Decode the first samples; return False if there are none."""
        return bool(self._held) or self._pull()

    def take(self, start_s: float, end_s: float) -> FloatArray | None:
        """Return the audio from `start_s` to `end_s`, which must ascend from call to call.

        Returns:
            (n,) float32 mono, or (channels, n), full scale 1.0. Gaps are zeros; it is shorter
            than requested if the audio ends earlier. None if there is none.
        """
        first, end = round(start_s * self._rate), round(end_s * self._rate)
        while self._end < end and self._pull():
            pass
        while self._held and self._held[0][0] + self._held[0][1].shape[-1] <= first:
            self._held.popleft()
        # Pieces may overlap where a clock has jumped: a later one may end before an earlier one.
        inside = [(at, s) for at, s in self._held if at < end and at + s.shape[-1] > first]
        if not inside:
            return None
        if self._exhausted:
            end = min(end, self._end)
        sound = np.zeros((*inside[0][1].shape[:-1], end - first), np.float32)
        for at, samples in inside:
            begin, stop = max(at, first), min(at + samples.shape[-1], end)
            sound[..., begin - first : stop - first] = samples[..., begin - at : stop - at]
        return sound

    def _pull(self) -> bool:
        """Decode one more piece; return False at the end of the audio."""
        for at, samples in self._pieces:
            count = samples.shape[-1]
            if count and at + count > 0:
                self._held.append((at, samples))
                self._end = max(self._end, at + count)
                return True
        self._exhausted = True
        return False


def _resampled(
    frames: Iterable[AudioFrame], skipped: Skipped, rate: int, mixer: Mixing
) -> Iterator[tuple[int, FloatArray]]:
    """Yields (position in output samples, samples (..., n) float32)."""
    resampler: AudioResampler | None = None
    layout: tuple[str, str, int] | None = None
    anchor = emitted = 0
    expected: float | None = None
    for frame in frames:
        time_s = frame.time  # None if it has no timestamp
        now = (frame.format.name, frame.layout.name, frame.sample_rate)
        if resampler is None or now != layout or _is_discontinuity(time_s, expected):
            if resampler is not None:
                yield anchor + emitted, mixer.mix(_channels(resampler.resample(None)))
            # All channels, for `Mixer`; packed, as PyAV does not reach planes beyond eight.
            resampler = AudioResampler(format="flt", rate=rate)
            layout = now
            expected = (expected or 0.0) if time_s is None else time_s
            anchor, emitted = round(expected * rate), 0
        assert expected is not None
        expected += frame.samples / frame.sample_rate
        frame.pts = None  # the position is counted here, so the resampler must not pad
        try:
            samples = mixer.mix(_channels(resampler.resample(frame)))
        except (av.FFmpegError, ValueError):
            skipped.packets += 1
            resampler = None
            continue
        yield anchor + emitted, samples
        emitted += samples.shape[-1]
    if resampler is not None:
        yield anchor + emitted, mixer.mix(_channels(resampler.resample(None)))


def _frames(
    path: str,
    stream_index: int,
    track: Track,
    skipped: Skipped,
    on_progress: Callable[[], None],
    first: int,
) -> Iterator[AudioFrame]:
    """Decode one stream, after setting its packets' timestamps to the clock of the file."""
    number = -1
    with open_local(path) as container:
        stream = container.streams[stream_index]
        for packet in packets(container, stream_index, skipped):
            on_progress()
            if packet is not None and packet.size:
                number += 1
                if number < first:
                    continue
                if packet.pts is not None and number < len(track.packets_s) and packet.time_base:
                    packet.pts = round(float(track.packets_s[number]) / float(packet.time_base))
            try:
                yield from stream.codec_context.decode(packet)  # type: ignore[attr-defined]
            except MemoryError:
                raise
            except (av.FFmpegError, ValueError):
                skipped.packets += 1
                skipped.sound_s += track.period_s
