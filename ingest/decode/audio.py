"""The sound of one file as 16 kHz mono, pulled a stretch at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

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
"""Timestamps this far from where the samples before them end are a gap, not jitter."""

_MEMORY_S = 0.5
"""Half-life of the energies by which channels are mixed."""

_LOUDER = 4.0
"""Another channel leads once it has so many times the energy, 6 dB more."""

_SILENT_BESIDE = 1e-6
"""A channel with this part of the loudest one's energy, 60 dB less, is silent beside it."""

_OPPOSITE = 0.5
"""Channels whose correlation is below the negative of this are of opposite phase. Music and speech
in stereo lie above 0; reverberation alone around it."""


def _is_discontinuity(time_s: float | None, expected_s: float | None) -> bool:
    if expected_s is None:
        return True
    return time_s is not None and abs(time_s - expected_s) > _JUMP_S


def _channels(frames: list[AudioFrame]) -> FloatArray:
    """(channels, n) float32 of packed frames; NaN and infinity become silence."""
    parts = [frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T for frame in frames]
    joined = np.concatenate(parts, axis=1) if parts else np.zeros((1, 0), np.float32)
    return np.asarray(np.nan_to_num(joined, nan=0.0, posinf=0.0, neginf=0.0), np.float32)


class Mixer:
    """Mixes channels down to one, whatever their phase, without making anything quieter.

    The mean of the channels is what most recordings want, and libav's own downmix is louder than
    its input by a factor of 1.41. Two kinds need more: a channel that is the negative of another
    would cancel it, so it is turned over; and channels that are silent would make the others
    quieter, so they do not count. Both are told by the energy of about the last half second.
    """

    def __init__(self) -> None:
        """Has heard nothing yet."""
        self._products: npt.NDArray[np.float64] | None = None
        self._leading = 0

    def mix(self, channels: FloatArray) -> FloatArray:
        """The next samples (n,) float32 of channels (c, n), c as at the calls before."""
        count, samples = channels.shape
        if count == 1 or not samples:
            return np.asarray(channels[0], np.float32)
        new = channels.astype(np.float64) @ channels.T
        if self._products is None or len(self._products) != count:
            self._products, self._leading = np.zeros((count, count)), 0
        # One sum over time for every pair, of which the older half counts half as much.
        self._products = self._products * 0.5 ** (samples / (_MEMORY_S * SAMPLE_RATE)) + new
        energy = self._products.diagonal()
        # The one that others are held against stays: the sign of the mix would flip with it.
        if energy.max() > _LOUDER * energy[self._leading]:
            self._leading = int(energy.argmax())
        loudest = self._leading
        if not energy[loudest] > 0:
            return np.zeros(samples, np.float32)
        active = energy > energy[loudest] * _SILENT_BESIDE
        alike = self._products[loudest] / np.sqrt(np.maximum(energy * energy[loudest], 1e-30))
        weights = np.where(alike < -_OPPOSITE, -1.0, 1.0) * active / active.sum()
        return np.asarray(weights.astype(np.float32) @ channels, np.float32)


class AudioReader:
    """Reads ascending stretches of the sound of a file, holding little more than one.

    It has its own container, so that sound and picture may lie in the file in any order
    and neither waits in memory for the other.
    """

    def __init__(
        self,
        path: str,
        stream: int,
        track: Track,
        skipped: Skipped,
        on_progress: Callable[[], None],
    ) -> None:
        """Decodes nothing yet.

        Args:
            path: The file.
            stream: Index of the audio stream.
            track: When its packets are heard, on the clock of the file.
            skipped: Counts the packets that do not decode.
            on_progress: Called for every packet.
        """
        self._pieces = self._decode(path, stream, track, skipped, on_progress)
        self._held: deque[tuple[int, FloatArray]] = deque()
        self._end = 0
        self._exhausted = False

    def prime(self) -> bool:
        """Decodes the first samples; False where there are none."""
        return bool(self._held) or self._pull()

    def take(self, start_s: float, end_s: float) -> FloatArray | None:
        """The sound from `start_s` to `end_s`, which must ascend from call to call.

        Returns:
            (n,) float32 mono at `SAMPLE_RATE`, full scale 1.0. Gaps are zeros; it is
            shorter than asked where the sound ends earlier. None where there is none.
        """
        first, end = round(start_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE)
        while self._end < end and self._pull():
            pass
        while self._held and self._held[0][0] + len(self._held[0][1]) <= first:
            self._held.popleft()
        # Pieces may overlap where a clock has jumped: one behind another may end before it.
        inside = [(at, s) for at, s in self._held if at < end and at + len(s) > first]
        if not inside:
            return None
        if self._exhausted:
            end = min(end, self._end)
        sound = np.zeros(end - first, np.float32)
        for at, samples in inside:
            begin, stop = max(at, first), min(at + len(samples), end)
            sound[begin - first : stop - first] = samples[begin - at : stop - at]
        return sound

    def _pull(self) -> bool:
        """Holds one more piece; False at the end of the sound."""
        for at, samples in self._pieces:
            if len(samples) and at + len(samples) > 0:
                self._held.append((at, samples))
                self._end = max(self._end, at + len(samples))
                return True
        self._exhausted = True
        return False

    @staticmethod
    def _decode(
        path: str,
        stream_index: int,
        track: Track,
        skipped: Skipped,
        on_progress: Callable[[], None],
    ) -> Iterator[tuple[int, FloatArray]]:
        """Yields (position in output samples, samples (n,) float32)."""
        resampler: AudioResampler | None = None
        layout: tuple[str, str, int] | None = None
        mixer = Mixer()
        anchor = emitted = 0
        expected: float | None = None
        for frame in _frames(path, stream_index, track, skipped, on_progress):
            time_s = frame.time  # None without a timestamp.
            now = (frame.format.name, frame.layout.name, frame.sample_rate)
            if resampler is None or now != layout or _is_discontinuity(time_s, expected):
                if resampler is not None:
                    yield anchor + emitted, mixer.mix(_channels(resampler.resample(None)))
                # Channels are kept, for `Mixer`; packed, since planes over eight are out of reach.
                resampler = AudioResampler(format="flt", rate=SAMPLE_RATE)
                layout = now
                expected = (expected or 0.0) if time_s is None else time_s
                anchor, emitted = round(expected * SAMPLE_RATE), 0
            assert expected is not None
            expected += frame.samples / frame.sample_rate
            frame.pts = None  # The position is counted here; the resampler must not pad.
            try:
                samples = mixer.mix(_channels(resampler.resample(frame)))
            except (av.FFmpegError, ValueError):
                skipped.packets += 1
                resampler = None
                continue
            yield anchor + emitted, samples
            emitted += len(samples)
        if resampler is not None:
            yield anchor + emitted, mixer.mix(_channels(resampler.resample(None)))


def _frames(
    path: str,
    stream_index: int,
    track: Track,
    skipped: Skipped,
    on_progress: Callable[[], None],
) -> Iterator[AudioFrame]:
    """Decodes one stream; packets get the times of the file's clock before they are decoded."""
    number = -1
    with open_local(path) as container:
        stream = container.streams[stream_index]
        for packet in packets(container, stream_index, skipped):
            on_progress()
            if packet is not None and packet.size:
                number += 1
                if packet.pts is not None and number < len(track.packets_s) and packet.time_base:
                    packet.pts = round(float(track.packets_s[number]) / float(packet.time_base))
            try:
                yield from stream.codec_context.decode(packet)  # type: ignore[attr-defined]
            except MemoryError:
                raise
            except (av.FFmpegError, ValueError):
                skipped.packets += 1
                skipped.sound_s += track.period_s
