"""The sound of a stretch of a file, decoded in a child process, as media is untrusted."""

from __future__ import annotations

from contextlib import closing

import numpy as np

from ...schemas.embedding import FloatArray
from ...schemas.errors import WorkerError
from ...schemas.modality import SAMPLE_RATE
from ...schemas.part import Part
from .pool import Failed, decode_all
from .segments import DecodeRequest, SegmentMedia


def sound_between(path: str, start_s: float, end_s: float) -> FloatArray | None:
    """Return the sound of a stretch of a file; None where it has none, is gone or does not decode.

    Args:
        path: The file, of which the stretch alone is decoded.
        start_s: Seconds from its start.
        end_s: Where the stretch ends.

    Returns:
        (n,) float32 mono at 16 kHz, silence where a part is missing.
    """
    begin, end = round(start_s * SAMPLE_RATE), round(end_s * SAMPLE_RATE)
    if end <= begin:
        return None
    found = np.zeros(end - begin, np.float32)
    heard = False
    request = DecodeRequest(path, {}, audio=True, part=Part(start_s, end_s))
    try:
        with closing(decode_all([(0, request)], 1)) as events:
            for _, event in events:
                if isinstance(event, Failed):
                    break
                if not isinstance(event, SegmentMedia):
                    continue
                if event.audio is not None:
                    first = round(event.segment.start_s * SAMPLE_RATE)
                    heard |= _lay(found, event.audio, first - begin)
    except WorkerError:
        return None
    return found if heard else None


def _lay(target: FloatArray, audio: FloatArray, at: int) -> bool:
    """Copy `audio` to where it lies in `target`, from sample `at` on; return whether any does."""
    low, high = max(at, 0), min(at + len(audio), len(target))
    if low >= high:
        return False
    target[low:high] = audio[low - at : high - at]
    return True
