"""What decoding a file gives, event by event."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...schemas.embedding import NO_DAMAGE, ByteArray, Damage, FloatArray
from ...schemas.video import Segment
from ..system.stages import Spent


@dataclass(frozen=True)
class Opened:
    """A file was opened and scanned; comes before its segments.

    Attributes:
        duration_s: Seconds from the start of the earliest stream to the end of the last.
        segments: Segments that its part is cut into; fewer follow if it is damaged or some hold
            nothing that was requested.
        has_video: Whether a frame could be decoded, or there is video that was not requested.
        has_audio: The same for audio.
        divisible: Whether another decoder may give some of its segments, the very same.
        megapixels: Million pixels of all its pictures and of one more per segment.
    """

    duration_s: float
    segments: int
    has_video: bool
    has_audio: bool
    divisible: bool = False
    megapixels: float = field(default=0.0, compare=False)


@dataclass(frozen=True)
class SegmentMedia:
    """The decoded frames and audio of one segment.

    Attributes:
        segment: The segment, in seconds from the start of the earliest stream.
        frames: (count, size, size, 3) uint8 RGB by the request's names; empty if nothing is on
            the screen or no frames were requested.
        audio: (n,) float32 mono at 16 kHz, None if there is no audio.
    """

    segment: Segment
    frames: dict[str, ByteArray] = field(default_factory=dict)
    audio: FloatArray | None = None


@dataclass(frozen=True)
class Finished:
    """A file was decoded to its end, into `segments` segments (0 if nothing requested was found).

    `damage` describes what did not decode; `without_sound` is whether the audio was left out
    because the decoder failed with it.
    """

    segments: int
    spent: Spent = field(default=Spent(), compare=False)
    damage: Damage = NO_DAMAGE
    without_sound: bool = False


@dataclass(frozen=True)
class Failed:
    """Decoding of a file failed, perhaps after some segments.

    Attributes:
        reason: Why, as it follows "path: ".
        lasting: Whether its content is the cause, so that another try would fail as well. A
            decoder that crashed, or reached a limit of time or memory, proves nothing of that.
        killed: Whether a decoder did so.
    """

    reason: str
    lasting: bool = False
    killed: bool = field(default=False, compare=False)


Event = Opened | SegmentMedia | Finished | Failed
"""What a pool of decoders gives."""
