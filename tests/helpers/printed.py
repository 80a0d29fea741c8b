"""Text as the command line prints it."""

from __future__ import annotations

from collections.abc import Iterable

from vidsim.cli import table_lines
from vidsim.schemas.answer import Heading, Line, Table


def printed(text: Iterable[Line]) -> list[str]:
    """The lines of a command's text in a pipe."""
    lines: list[str] = []
    for line in text:
        if isinstance(line, Table):
            lines += table_lines(line, None)
        else:
            lines.append(line.text if isinstance(line, Heading) else line)
    return lines
