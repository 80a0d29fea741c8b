"""Read the lines of a list that a person or a program wrote, in any common encoding."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from ...schemas.errors import LibraryError
from .unreadable import hindrance

_MARKS: tuple[tuple[bytes, str], ...] = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks; the Unicode Standard, 23.8."""

_LINE = re.compile(r"\r\n|\r|\n")
"""Line ends. `str.splitlines` splits at more characters, which names may hold."""

_INVISIBLE = "\ufeff\u200b\u2060"
"""Zero-width marks, which concatenated files hold in their middle."""

_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f]")


def read_lines(path: Path, what: str, give: str, legacy: bool = False) -> list[str]:
    """Read the lines of a text file, stripped of invisible characters, including blank ones.

    UTF-8, UTF-16 or UTF-32 with a byte order mark; UTF-8 or UTF-16 without.

    Args:
        path: The file.
        what: What it should be: ``a list of videos``.
        give: What to give instead, for the error.
        legacy: Whether anything else is read as Windows-1252: suitable for names that are looked
            up, not for names that are stored.

    Raises:
        LibraryError: It cannot be read, or is not text.
    """
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise LibraryError(
            f"{path} cannot be read as {what} ({error.strerror}); {give}."
        ) from error
    except OSError as error:
        found = hindrance(error)
        raise LibraryError(
            found.sentence(str(path))
            if found
            else f"{path} cannot be read as {what} ({error}); {give}."
        ) from error
    try:
        text = _decoded(data, legacy)
    except UnicodeDecodeError as error:
        raise LibraryError(f"{path} is no {what[2:]}: it is no text in UTF-8; {give}.") from error
    if _CONTROL.search(text):
        raise LibraryError(f"{path} is no {what[2:]}: it is no text; {give}.")
    return [line.strip().strip(_INVISIBLE).strip() for line in _LINE.split(text)]


def _decoded(data: bytes, legacy: bool) -> str:
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding)
    if b"\0" in data and len(data) % 2 == 0:
        # In UTF-16, mostly ASCII text has every other byte 0.
        little = data[1::2].count(0) > data[::2].count(0)
        return data.decode("utf-16-le" if little else "utf-16-be")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        if not legacy:
            raise
        return data.decode("cp1252")
