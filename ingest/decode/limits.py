"""What decoding one file may cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DecodeLimits:
    """Limits for one file; time counts only while the pool waits for its decoder.

    Attributes:
        stall_s: Seconds without any sign of progress.
        base_s: Seconds allowed for a file of zero duration.
        per_second: Further seconds allowed per second of video.
        scan_s: Seconds allowed until the duration is known.
        memory_mb: Address space of a decoder in MiB; with `nvdec`, its private memory.
        file_mb: Largest file a decoder may write, in MiB.
        worker: ``module:function`` that a decoder runs; tests substitute a misbehaving one.
        env: Environment variables added for a decoder.
        nvdec: Whether decoders will be asked to decode on a GPU.
    """

    stall_s: float = 20.0
    base_s: float = 60.0
    per_second: float = 20.0
    scan_s: float = 600.0
    memory_mb: int = 4096
    file_mb: int = 1
    worker: str = f"{__package__}.worker:main"
    env: Mapping[str, str] = field(default_factory=dict)
    nvdec: bool = False


LIMITS = DecodeLimits()
