"""Split lists, such as UCF101's, and the stored videos that their entries match.

A list comes from its publisher, a spreadsheet, or another machine: the text around names differs,
as do the case of folders and the extensions of files. UCF101 itself has the folder
HandstandPushups with files named v_HandStandPushups_g01_c01.avi.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...ingest.system.list_text import read_lines
from ...schemas.errors import LibraryError

_GIVE = "give a text file with one Class/name a line"

_NUMBER = re.compile(r"(?<![\s,;])[\s,;]+-?\d+[\s,;]*$")
"""Numbers after a name: UCF101's training lists add the class number, others more."""

_MOST_NUMBERS = 64
"""Numbers that are looked for after a name; a line of more holds something else."""

_ENDING = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}$")
"""A file extension: ``.avi``, ``.mp4``, ``.webm``."""

_TO_ENDING = re.compile(r"(.+?\.[A-Za-z][A-Za-z0-9]{1,4})\s+\S")
_NUMBERED = re.compile(r"\d+\s+(\S.*)")
_NOTED = re.compile(r"(.+?)\s+#")
_QUOTED = re.compile(r"""(["'])(.+?)\1(?=[\s,;]|$)""")
_COMMENT = re.compile(r"#|;|//|%")

_HEADINGS = frozenset(
    {"video", "videos", "path", "file", "filename", "file_name", "name", "clip", "video_name"}
    | {"video_path", "video_id", "clip_name", "clip_path", "videoname", "filepath", "file_path"}
)
"""First cells of a header line."""

_LONGEST = 4096
"""Characters of a line that may name a video, as many as a path may have bytes."""

_SHOWN = 40
"""Characters of a longer line that a message shows."""

_NAMED = 5
"""Most entries that a message names; the rest is counted."""


@dataclass(frozen=True)
class Matched:
    """The videos that a list matches.

    Attributes:
        videos: Indexes of the videos that it names, in its order, each once.
        entries: Number of its entries.
        missing: Entries that match no video, as written.
        odd: Entries that match a video of another case or extension, with that video's id.
    """

    videos: tuple[int, ...]
    entries: int
    missing: tuple[str, ...]
    odd: tuple[tuple[str, str], ...]


class Names:
    """Stored videos, indexed by the names that a list may use."""

    def __init__(self, ids: Sequence[str]) -> None:
        """Index the videos with these ids."""
        self._ids = ids
        self._parts = [_parts(video_id) for video_id in ids]
        self._places: dict[str, list[int]] = {}
        for place, parts in enumerate(self._parts):
            for key in {parts[-1].casefold(), _stem(parts[-1]).casefold()}:
                self._places.setdefault(key, []).append(place)

    def find(self, name: str) -> tuple[int, list[int]]:
        """Find the videos that best match a name, and the number of differences.

        Folders above those that both have do not matter, but the one that a file lies in does.

        Returns:
            0 for an exact match, else the number of parts that differ in case or extension; and
            the indexes of the videos, empty where none match.
        """
        parts = _parts(name)
        if not parts:
            return 0, []
        keys = {parts[-1].casefold(), _stem(parts[-1]).casefold()}
        best: dict[tuple[int, int], list[int]] = {}
        for place in sorted({p for key in keys for p in self._places.get(key, ())}):
            theirs = self._parts[place]
            same = 0
            for a, b in zip(reversed(parts[:-1]), reversed(theirs[:-1])):
                if a.casefold() != b.casefold():
                    break
                same += 1
            if len(parts) > 1 and not same:
                continue
            differs = sum(a != b for a, b in zip(parts[-1 - same : -1], theirs[-1 - same : -1]))
            differs += _file_differs(parts[-1], theirs[-1])
            best.setdefault((-same, differs), []).append(place)
        if not best:
            return 0, []
        rank = min(best)
        return rank[1], best[rank]


def read_split(path: Path, names: Names, ids: Sequence[str]) -> Matched:
    """Read a list: one video per line, ``Class/name.avi``, with or without further columns.

    Blank lines, comments and a header line are skipped; byte order marks, any line ends,
    backslashes, quotes, columns separated by commas, semicolons, tabs or spaces, and numbers
    after a name do not matter.

    Args:
        path: The list.
        names: The videos.
        ids: Their ids.

    Raises:
        LibraryError: It cannot be read, has no entry, or has one that matches several videos.
    """
    videos: dict[int, None] = {}
    missing: list[str] = []
    odd: list[tuple[str, str]] = []
    entries = 0
    first = True
    for line in read_lines(path, "a list of videos", _GIVE, legacy=True):
        if not line:
            continue
        if len(line) > _LONGEST:
            entries += 1
            missing.append(f"{line[:_SHOWN]}...")
            continue
        readings = list(dict.fromkeys(_readings(line)))
        differs, found = _best(names, readings)
        heading, first = first and not found and _is_heading(readings), False
        if not found and (heading or _COMMENT.match(line)):
            continue
        entries += 1
        if len(found) > 1:
            said = _few([ids[place] for place in found])
            raise LibraryError(
                f"{path} has the entry {_shown(line)}, which means several videos ({said}); "
                "write their folders out, or export one library alone with "
                "'vidsim export FOLDER --library NAME'."
            )
        if not found:
            missing.append(_shown(line))
            continue
        videos.setdefault(found[0])
        if differs:
            odd.append((_shown(line), ids[found[0]]))
    if not entries:
        raise LibraryError(f"{path} names no video; {_GIVE}.")
    return Matched(tuple(videos), entries, tuple(missing), tuple(odd))


def describe_missing(matched: Matched) -> str:
    """Describe the first few entries that match no video, and their total number."""
    return f"{len(matched.missing)} of {matched.entries}: {_few(matched.missing)}"


def _few(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _best(names: Names, readings: Sequence[str]) -> tuple[int, list[int]]:
    """Return the videos of the first reading that matches any.

    A trailing number may belong to the name or be the class: where both readings match a video,
    both are returned.
    """
    for reading in readings:
        differs, found = names.find(reading)
        if not found:
            continue
        places = dict.fromkeys(found)
        for shorter in _without_numbers(reading):
            places.update(dict.fromkeys(names.find(shorter)[1]))
        return differs, list(places)
    return 0, []


def _readings(line: str) -> Iterator[str]:
    """Yield possible readings of the name in a line, the likeliest first."""
    for text in _whole(line):
        yield text
        if "\\" in text:
            yield text.replace("\\", "/")
        for shorter in _without_numbers(text):
            yield from _unquoted(shorter)
            yield from _unquoted(shorter.replace("\\", "/"))


def _whole(line: str) -> Iterator[str]:
    yield from _unquoted(line)
    if quoted := _QUOTED.match(line):
        yield quoted[2].strip()
    for delimiter in "\t,;":
        if delimiter in line:
            for cell in next(csv.reader([line], delimiter=delimiter, skipinitialspace=True)):
                if not re.fullmatch(r"\s*-?[\d.]*\s*", cell):
                    yield from _unquoted(cell.strip())
    for pattern in (_TO_ENDING, _NUMBERED, _NOTED):
        if named := pattern.match(line):
            yield from _unquoted(named[1])


def _unquoted(text: str) -> Iterator[str]:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        yield text[1:-1].strip()
    yield text


def _without_numbers(text: str) -> Iterator[str]:
    """Yield `text` without its last number, without its last two, and so on."""
    for _ in range(_MOST_NUMBERS):
        shorter = _NUMBER.sub("", text)
        if shorter == text:
            break
        text = shorter
        yield text


def _is_heading(readings: Sequence[str]) -> bool:
    return any(reading.casefold() in _HEADINGS for reading in readings)


def _shown(line: str) -> str:
    """Return the name in a line, as written there."""
    cells = next(iter(re.split(r"[\t,;]", line)))
    short = [cells, *_without_numbers(cells)][-1]
    return short.strip().strip("\"'") or line


def _parts(name: str) -> list[str]:
    """Split a name into folders and file, with the accents that file systems vary normalised."""
    whole = unicodedata.normalize("NFC", name)
    return [part for part in whole.split("/") if part not in ("", ".")]


def _stem(name: str) -> str:
    return _ENDING.sub("", name) or name


def _file_differs(ours: str, theirs: str) -> int:
    """Return 0 for the same file, 1 for another case or extension, 2 for both."""
    if ours == theirs:
        return 0
    if ours.casefold() == theirs.casefold():
        return 1
    return 1 if _stem(ours) == _stem(theirs) else 2
