"""What a command has to say: data for machines, text for people. The command line prints it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .errors import VidsimError


@dataclass(frozen=True)
class Heading:
    """A line that stands out."""

    text: str


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header.

    Attributes:
        header: A name for each column.
        rows: A cell for each column.
        numbers: Columns that are aligned at the right.
        indent: Spaces before each line.
        markdown: Whether it is to be put into a document: every cell is aligned at the right.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    indent: int = 0
    markdown: bool = False


Line = str | Heading | Table


@dataclass(frozen=True)
class Answer:
    """What a command gives back instead of printing it.

    Attributes:
        data: What ``--json`` prints: a result, or a list of them.
        text: What a person reads on stdout; read as it is printed.
        notes: What a person should know about it, on stderr.
        as_json: Whether ``--json`` was given: then `text` is not printed, nor are `notes`, which
            the data has.
        error: What is wrong all the same: said last, and the exit code is 1.
        always: Whether `notes` are printed with ``--json``, too.
    """

    data: object = None
    text: Iterable[Line] = ()
    notes: Sequence[str] = ()
    as_json: bool = False
    error: VidsimError | None = None
    always: bool = False


def count(number: int, noun: str) -> str:
    """A number and what it counts: ``1 video``, ``2,000 videos``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
