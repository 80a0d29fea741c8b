"""What of a file did not decode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...schemas.embedding import Damage

_WORTH_TELLING_S = 0.1
"""A shorter loss does not count as damage: three frames."""

_MOST_STRETCHES = 5
"""Intervals listed in a sentence; its seconds count all of them."""


@dataclass(frozen=True)
class Lost:
    """The parts of a file that did not decode; comes after its segments.

    Attributes:
        picture_s: (start, end) intervals without frames, in seconds.
        sound_s: Seconds of audio in total.
        breaks_off: Whether the file ends in unreadable data.
        missing: What is known to be missing from the file, as text.
        left_out: Why its sound was not decoded though it was wanted; "" if it was.
    """

    picture_s: tuple[tuple[float, float], ...] = ()
    sound_s: float = 0.0
    breaks_off: bool = False
    missing: str = ""
    left_out: str = ""

    def damage(self, duration_s: float) -> Damage:
        """Describe the damage to a file of `duration_s` seconds, without negligible losses."""
        picture_s = sum(end - start for start, end in self.picture_s)
        picture, sound = "", ""
        if picture_s >= _WORTH_TELLING_S:
            where = [f"{start:.1f}-{end:.1f}" for start, end in self.picture_s[:_MOST_STRETCHES]]
            where += ["..."] * (len(self.picture_s) > _MOST_STRETCHES)
            stretches = ", ".join(where)
            lost = f"{picture_s:.1f} s of the picture ({stretches})"
            picture = f"of {duration_s:.1f} s, {lost} did not decode"
        if self.sound_s >= _WORTH_TELLING_S:
            sound = f"of {duration_s:.1f} s, {self.sound_s:.1f} s of the sound did not decode"
        broken = "it breaks off in something unreadable" if self.breaks_off else ""
        both = (self.missing, broken)
        told = ((picture, *both), (self.left_out, sound, *both))
        return Damage(*("; ".join(filter(None, facts)) for facts in told))


def together(lost: Sequence[Lost]) -> Lost:
    """Put together what was lost up to the ends of several shares of one file."""
    stretches: list[tuple[float, float]] = []
    for start, end in sorted(stretch for one in lost for stretch in one.picture_s):
        if stretches and start <= stretches[-1][1]:
            stretches[-1] = stretches[-1][0], max(end, stretches[-1][1])
        else:
            stretches.append((start, end))
    return Lost(
        tuple(stretches),
        max((one.sound_s for one in lost), default=0.0),
        any(one.breaks_off for one in lost),
        next((one.missing for one in lost if one.missing), ""),
        next((one.left_out for one in lost if one.left_out), ""),
    )
