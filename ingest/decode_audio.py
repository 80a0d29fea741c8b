"""The sound of one file as 16 kHz mono, pulled a stretch at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from ..schemas.embedding import FloatArray
from ..schemas.modality import SAMPLE_RATE
from .decode_video import Skipped, open_local, packets

_JUMP_S = 0.1
"""Timestamps this far from where the samples before them end are a gap, not jitter."""


def _is_discontinuity(time_s: float | None, expected_s: float | None) -> bool:
    if expected_s is None:
        return True
    return time_s is not None and abs(time_s - expected_s) > _JUMP_S


def _mono(frames: list[AudioFrame]) -> FloatArray:
    """The mean of the channels, (n,) float32; NaN and infinity become silence.

    libav's own downmix to mono is louder than its input by a factor of 1.41.
    """
    parts = [frame.to_ndarray().mean(axis=0, dtype=np.float32) for frame in frames]
    joined = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    return np.asarray(np.nan_to_num(joined, nan=0.0, posinf=0.0, neginf=0.0), np.float32)


class AudioReader:
    """Reads ascending stretches of the sound of a file, holding little more than one.

    It has its own container, so that sound and picture may lie in the file in any order
    and neither waits in memory for the other.
    """

    def __init__(
        self,
        path: str,
        stream: int,
        origin_s: float | None,
        skipped: Skipped,
        on_progress: Callable[[], None],
    ) -> None:
        """Decodes nothing yet.

        Args:
            path: The file.
            stream: Index of the audio stream.
            origin_s: What counts as second 0, on the file's own clock; None for the
                first sample.
            skipped: Counts the packets that do not decode.
            on_progress: Called for every packet.
        """
        self._pieces = self._decode(path, stream, origin_s, skipped, on_progress)
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
        inside = [(at, samples) for at, samples in self._held if at < end]
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
        origin_s: float | None,
        skipped: Skipped,
        on_progress: Callable[[], None],
    ) -> Iterator[tuple[int, FloatArray]]:
        """Yields (position in output samples, samples (n,) float32)."""
        resampler: AudioResampler | None = None
        layout: tuple[str, str, int] | None = None
        anchor = emitted = 0
        expected: float | None = None
        for frame in _frames(path, stream_index, skipped, on_progress):
            seconds = frame.time  # None without a timestamp.
            if origin_s is None:
                origin_s = seconds or 0.0
            time_s = None if seconds is None else seconds - origin_s
            now = (frame.format.name, frame.layout.name, frame.sample_rate)
            if resampler is None or now != layout or _is_discontinuity(time_s, expected):
                if resampler is not None:
                    yield anchor + emitted, _mono(resampler.resample(None))
                # Channels are kept: `_mono` mixes them.
                resampler = AudioResampler(format="fltp", rate=SAMPLE_RATE)
                layout = now
                expected = (expected or 0.0) if time_s is None else time_s
                anchor, emitted = round(expected * SAMPLE_RATE), 0
            assert expected is not None
            expected += frame.samples / frame.sample_rate
            frame.pts = None  # The position is counted here; the resampler must not pad.
            try:
                samples = _mono(resampler.resample(frame))
            except (av.FFmpegError, ValueError):
                skipped.packets += 1
                resampler = None
                continue
            yield anchor + emitted, samples
            emitted += len(samples)
        if resampler is not None:
            yield anchor + emitted, _mono(resampler.resample(None))


def _frames(
    path: str, stream_index: int, skipped: Skipped, on_progress: Callable[[], None]
) -> Iterator[AudioFrame]:
    with open_local(path) as container:
        stream = container.streams[stream_index]
        for packet in packets(container, stream_index, skipped):
            on_progress()
            try:
                yield from stream.codec_context.decode(packet)  # type: ignore[attr-defined]
            except MemoryError:
                raise
            except (av.FFmpegError, ValueError):
                skipped.packets += 1
