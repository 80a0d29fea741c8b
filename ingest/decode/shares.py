"""Divide long files among decoders that have nothing else to do.

A file begins as one share, of one decoder. One that finds no other file takes the later half of
what is left of the longest share, if decoding may begin there with the very same pictures.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..system.stages import Spent
from .events import Failed, Finished, Opened, SegmentMedia
from .lost import Lost, together
from .segments import DecodeRequest

LEAST = 12
"""Segments that must be left for two decoders (a choice): the second one reads all timestamps of
the file first, and hears its sound from the beginning, some 12 s for an hour."""

_LOOK_S = 0.2
"""Seconds between two looks whether to go on."""


@dataclass(frozen=True)
class Decoded:
    """What came of a share.

    Attributes:
        lost: What did not decode up to its end.
        spent: What it took.
        without_sound: Why the sound was left out; "" where it was not.
    """

    lost: Lost
    spent: Spent
    without_sound: str = ""


@dataclass(eq=False)
class Share:
    """A stretch of a file that one decoder decodes.

    Attributes:
        file: The file.
        request: What to decode, from its `first_segment` on.
        at: Number of the segment that comes next.
        end: Number of the segment before which it ends; None for the end of the file.
    """

    file: _File
    request: DecodeRequest
    at: int
    end: int | None = None


@dataclass(eq=False)
class _File:
    """A file that is being decoded, in one share or several."""

    number: int
    shares: list[Share] = field(default_factory=list)
    opened: Opened | None = None
    given: set[int] = field(default_factory=set)
    decoded: list[Decoded] = field(default_factory=list)
    failed: Failed | None = None


class Shares:
    """The files that are being decoded; any thread may call its methods."""

    def __init__(self) -> None:
        """Start with none."""
        self._lock = threading.Condition()  # notified of all that lets others take, or end
        self._files: list[_File] = []
        self._ended = False

    def begin(self, number: int, request: DecodeRequest) -> Share:
        """Return a share that is all of a file."""
        file = _File(number)
        share = Share(file, request, request.first_segment)
        file.shares.append(share)
        with self._lock:
            self._files.append(file)
        return share

    def end(self) -> None:
        """Say that no other file will begin."""
        with self._lock:
            self._ended = True
            self._lock.notify_all()

    def is_new(self, share: Share, event: Opened | SegmentMedia) -> bool:
        """Note what a decoder gave; return whether no other one gave it before."""
        with self._lock:
            file = share.file
            if isinstance(event, Opened):
                new = file.opened is None
                file.opened = file.opened or event
                self._lock.notify_all()
                return new and file.failed is None
            index = event.segment.index
            share.at = max(share.at, index + 1)
            new = index not in file.given
            file.given.add(index)
            return new and file.failed is None

    def ended(self, share: Share, result: Decoded | Failed) -> Finished | Failed | None:
        """Note what came of a share; return what came of the file once its last one has ended."""
        with self._lock:
            self._lock.notify_all()
            file = share.file
            file.shares.remove(share)
            if isinstance(result, Decoded):
                file.decoded.append(result)
            else:
                file.failed = file.failed or result
                for other in file.shares:
                    other.end = other.request.first_segment  # for nothing
            if file.shares:
                return None
            self._files.remove(file)
        return file.failed or _finished(file)

    def wait_to_take(self, goes_on: Callable[[], bool]) -> Share | None:
        """Return a part of another decoder's share; None once there will be none.

        Args:
            goes_on: Asked now and then whether to wait any longer.
        """
        with self._lock:
            while (taken := self._take()) is None:
                if self._ended and not any(_may_be_divided(file) for file in self._files):
                    return None
                if not goes_on():
                    return None
                self._lock.wait(_LOOK_S)
            return taken

    def _take(self) -> Share | None:
        """Return the later half of the longest share, if it is long enough."""
        longest: tuple[int, Share] | None = None
        for file in self._files:
            if file.opened is not None and file.opened.divisible and file.failed is None:
                for share in file.shares:
                    left = _end(share, file.opened) - share.at
                    if left >= LEAST and (longest is None or left > longest[0]):
                        longest = left, share
        if longest is None:
            return None
        left, share = longest
        first = share.at + (left + 1) // 2
        taken = Share(share.file, replace(share.request, first_segment=first), first, share.end)
        share.end = first
        share.file.shares.append(taken)
        return taken


def _end(share: Share, opened: Opened) -> int:
    return opened.segments if share.end is None else share.end


def _may_be_divided(file: _File) -> bool:
    """Return whether a part of a file could be taken now or once it has been opened."""
    if file.failed is not None:
        return False
    if file.opened is None:
        return True
    lefts = (_end(share, file.opened) - share.at for share in file.shares)
    return file.opened.divisible and max(lefts, default=0) >= LEAST


def _finished(file: _File) -> Finished:
    """Put together what came of the shares of a file."""
    decoded = file.decoded
    duration_s = file.opened.duration_s if file.opened is not None else 0.0
    damage = together([one.lost for one in decoded]).damage(duration_s)
    without = next((one.without_sound for one in decoded if one.without_sound), "")
    if without:
        damage = replace(damage, sound=without)
    spent = sum((one.spent for one in decoded), Spent())
    return Finished(len(file.given), spent, damage, bool(without))
