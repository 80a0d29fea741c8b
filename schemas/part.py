"""A part of a clip: a stretch of its time, and a region of its picture."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .answer import clock
from .errors import MediaError

Region = tuple[float, float, float, float]
"""Left, top, width and height of a rectangle of the picture as it is shown: upright, with square
pixels. Fractions of its width and height where all four are at most 1, else pixels."""

_CLOCK = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d*)?|\.\d+)")
"""Seconds, minutes and seconds, or hours, minutes and seconds."""


@dataclass(frozen=True)
class Part:
    """A part of a clip; by default all of it.

    Attributes:
        start_s: Where it begins, seconds of the clip.
        end_s: Where it ends; None for the clip's end. It may lie beyond that.
        region: The rectangle of the picture that counts; None for all of it.
    """

    start_s: float = 0.0
    end_s: float | None = None
    region: Region | None = None

    @property
    def at_all_times(self) -> bool:
        """Return whether no stretch is chosen."""
        return not self.start_s and self.end_s is None


WHOLE = Part()


def parse_part(
    start: float | str | None = None,
    end: float | str | None = None,
    region: Sequence[float] | str | None = None,
) -> Part:
    """Read ``12``, ``1:18`` or ``1:02:03.5`` as times, and ``x,y,width,height`` as a region.

    Raises:
        MediaError: A time is none, the part ends before it begins, or the region is empty.
    """
    start_s = 0.0 if start is None else parse_time(start, "--from")
    end_s = None if end is None else parse_time(end, "--to")
    if end_s is not None and end_s <= start_s:
        raise MediaError(
            f"A part from {clock(start_s, tenths=True)} to {clock(end_s, tenths=True)} "
            "holds nothing; "
            "give a --to that is later than --from."
        )
    return Part(start_s, end_s, None if region is None else _region(region))


def is_fraction(region: Region) -> bool:
    """Return whether a region is given in fractions of the picture, not in pixels."""
    return max(region) <= 1


def parse_time(value: float | str, option: str) -> float:
    """Return the seconds of ``78.5``, ``1:18.5`` or ``1:02:03``.

    Args:
        value: As a person writes it, or seconds.
        option: What it is given to, for the error.

    Raises:
        MediaError: It is no time.
    """
    if isinstance(value, str):
        found = _CLOCK.fullmatch(value.strip())
        seconds = math.nan
        if found:
            hours, minutes, rest = found.groups(default="0")
            seconds = float(hours) * 3600 + float(minutes) * 60 + float(rest)
    else:
        seconds = float(value)
    if not 0 <= seconds < math.inf:
        raise MediaError(f"{option} {value} is no time; write seconds, as 78.5, or as 1:18.5.")
    return seconds


def _region(value: Sequence[float] | str) -> Region:
    parts = value.split(",") if isinstance(value, str) else value
    said = value if isinstance(value, str) else ",".join(f"{number:g}" for number in value)
    how = "write x,y,width,height in pixels, as 320,0,320,240, or in fractions, as 0.5,0,0.5,1."
    try:
        x, y, width, height = map(float, parts)
    except ValueError:
        raise MediaError(f"--region {said} is no region; {how}") from None
    region = x, y, width, height
    if not all(0 <= number < math.inf for number in region):
        raise MediaError(f"--region {said} is no region; {how}")
    if not width or not height:
        raise MediaError(f"--region {said} is empty; give a width and a height above 0.")
    if not is_fraction(region) and not all(number.is_integer() for number in region):
        raise MediaError(f"--region {said} mixes fractions and pixels; {how}")
    return region
