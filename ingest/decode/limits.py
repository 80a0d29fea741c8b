"""What decoding one file may cost: time by what the file holds, memory, bytes written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from .events import Opened


@dataclass(frozen=True)
class DecodeLimits:
    """Limits for one file; time counts only while the pool waits for its decoder.

    Time is allowed for what is there, not for the length that a file claims: a small file can claim
    days. An hour of 1280x720 at 25 pictures a second takes some six minutes of a core, of which
    the pictures alone allow 69; tiny files of many hours (a slide, silence) are allowed what their
    segments take, some 0.03 s each.

    Attributes:
        stall_s: Seconds without any sign of progress.
        base_s: Seconds allowed for any file.
        per_mb_s: Further seconds allowed per megabyte of the file.
        per_megapixel_s: Further seconds per million pixels to decode, of all pictures there are.
        per_segment_s: Further seconds per segment that has come.
        memory_mb: Address space of a decoder in MiB; with `nvdec`, its private memory.
        file_mb: Largest file a decoder may write, in MiB.
        worker: ``module:function`` that a decoder runs; tests substitute a misbehaving one.
        env: Environment variables added for a decoder.
        nvdec: Whether decoders will be asked to decode on a GPU.
    """

    stall_s: float = 20.0
    base_s: float = 60.0
    per_mb_s: float = 2.0
    per_megapixel_s: float = 0.05
    per_segment_s: float = 0.25
    memory_mb: int = 4096
    file_mb: int = 1
    worker: str = f"{__package__}.worker:main"
    env: Mapping[str, str] = field(default_factory=dict)
    nvdec: bool = False

    def before_opened_s(self, size: int) -> float:
        """Return the seconds allowed to read all packets of a file of `size` bytes."""
        return self.base_s + self.per_mb_s * size / 1e6

    def opened_s(self, size: int, opened: Opened, max_pixels: int) -> float:
        """Return the seconds allowed once it is opened, before any segment has come."""
        # A decoder that was taken over says anything; a picture takes at least a byte.
        pictures = size + opened.segments
        megapixels = min(opened.megapixels, pictures * max_pixels / 1e6)
        return self.before_opened_s(size) + self.per_megapixel_s * megapixels


LIMITS = DecodeLimits()


def size_of(path: str) -> int:
    """Return the bytes of a file; 0 where that cannot be told."""
    try:
        return os.path.getsize(path)
    except (OSError, ValueError):
        return 0
