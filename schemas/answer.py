"""The output of a command: data for machines, text for people. The command line prints it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .errors import VidsimError


@dataclass(frozen=True)
class Heading:
    """An emphasised line."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header.

    Attributes:
        header: A name for each column.
        rows: A cell for each column.
        numbers: Right-aligned columns.
        indent: Spaces before each line.
        markdown: Whether it is meant for a document: then every cell is right-aligned.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    indent: int = 0
    markdown: bool = False


@dataclass(frozen=True)
class Control:
    """What a terminal is sent as it is: made by us, of nothing that a file is called."""

    sequence: str


Line = str | Heading | Table | Control


@dataclass(frozen=True)
class Answer:
    """The output that a command returns instead of printing it.

    Attributes:
        data: Output of ``--json``: a result, or a list of them.
        text: Text on stdout, consumed lazily as it is printed.
        notes: Messages for the user, on stderr.
        as_json: Whether ``--json`` was given: then `text` is not printed, nor are `notes`, which
            the data include.
        error: A remaining fault, printed last; the exit code is then 1.
        always: Whether `notes` are printed with ``--json``, too.
        code: The exit code where there is no `error`.
    """

    data: object = None
    text: Iterable[Line] = ()
    notes: Sequence[str] = ()
    as_json: bool = False
    error: VidsimError | None = None
    always: bool = False
    code: int = 0


def count(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 video``, ``2,000 videos``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def clock(seconds: float, tenths: bool = False) -> str:
    """Return a time of a video as ``m:ss``, or ``h:mm:ss`` from an hour on.

    Args:
        seconds: From its start.
        tenths: Whether to tell tenths of a second where there are some, as ``1:18.5``.
    """
    whole, tenth = divmod(round(seconds * 10), 10) if tenths else (round(seconds), 0)
    minutes, rest = divmod(whole, 60)
    hours, short = divmod(minutes, 60)
    text = f"{hours}:{short:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
    return f"{text}.{tenth}" if tenth else text


def decimals(likeness: float) -> str:
    """Return a likeness with two decimals, cut so that it agrees with its word."""
    return f"{math.floor(100 * likeness + 1e-9) / 100:.2f}"
