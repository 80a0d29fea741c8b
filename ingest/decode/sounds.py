"""The sound of a stretch of a file, decoded in a child process, as media is untrusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing

import numpy as np

from ...schemas.embedding import FloatArray
from ...schemas.errors import WorkerError
from ...schemas.modality import SAMPLE_RATE
from ...schemas.part import Part
from .events import SegmentMedia
from .pool import decode_all
from .segments import DecodeRequest, decode


def sound_between(path: str, start_s: float, end_s: float) -> FloatArray | None:
    """Return the sound of a stretch of a file; None where it has none, is gone or does not decode.

    Args:
        path: The file, of which the stretch alone is decoded.
        start_s: Seconds from its start.
        end_s: Where the stretch ends.

    Returns:
        (n,) float32 mono at 16 kHz, silence where a part is missing.
    """
    if end_s <= start_s:
        return None
    try:
        with closing(decode_all([(0, _request(path, start_s, end_s))], 1)) as events:
            return _joined((event for _, event in events), start_s, end_s)
    except WorkerError:
        return None


def hear(
    path: str, start_s: float, end_s: float, on_progress: Callable[[], None]
) -> FloatArray | None:
    """Return the same as `sound_between`, in a child process that runs already.

    Raises:
        MediaError: It does not decode, or is gone.
    """
    found = decode(_request(path, start_s, end_s), on_progress)
    return _joined(found, start_s, end_s)


def _request(path: str, start_s: float, end_s: float) -> DecodeRequest:
    return DecodeRequest(path, {}, audio=True, part=Part(start_s, end_s))


def _joined(events: Iterable[object], start_s: float, end_s: float) -> FloatArray | None:
    """Return the sound of all segments among `events`, None where none has any."""
    begin, end = round(start_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE)
    found = np.zeros(max(0, end - begin), np.float32)
    heard = False
    for event in events:
        if isinstance(event, SegmentMedia) and event.audio is not None:
            first = round(event.segment.start_s * SAMPLE_RATE)
            heard |= _lay(found, event.audio, first - begin)
    return found if heard else None


def _lay(target: FloatArray, audio: FloatArray, at: int) -> bool:
    """Copy `audio` to where it lies in `target`, from sample `at` on; return whether any does."""
    low, high = max(at, 0), min(at + len(audio), len(target))
    if low >= high:
        return False
    target[low:high] = audio[low - at : high - at]
    return True
