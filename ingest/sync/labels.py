"""Labels that a person gives to stored videos, in place of the name of the folder they lie in.

They stand in the shards, as every label does. Later ingests keep each that is not the name of the
folder (`Video.relabelled`).
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from ...schemas.collections import MAX_ID_LENGTH
from ...schemas.errors import LibraryError, StoreError
from ...schemas.results import LabelReport
from ..milvus.store import open_store
from ..shards.home import Home, Place, distrust, distrust_others, distrusted
from ..shards.lock import writing
from ..system.list_text import read_lines
from ..system.progress import Progress
from .repair import reindex
from .stored_videos import unknown
from .writer import left_behind

_COLUMNS = ("video_id", "label")


def read_labels(path: Path) -> dict[str, str]:
    """Read labels by video id from a CSV, as ``vidsim videos --csv`` prints it.

    It has the columns ``video_id`` and ``label`` among any others, or no header and these two.

    Raises:
        LibraryError: It cannot be read, is another table, or gives a video two labels.
    """
    give = f"give a CSV with the columns {' and '.join(_COLUMNS)}, as 'vidsim videos --csv' prints"
    lines = read_lines(path, "a table of labels", give)
    try:
        rows = [row for row in csv.reader(lines) if row]
    except csv.Error as error:
        raise LibraryError(f"{path} is no table of labels ({error}); {give}.") from error
    header = rows.pop(0) if rows and set(_COLUMNS) <= set(rows[0]) else _COLUMNS
    labels: dict[str, str] = {}
    for row in rows:
        if len(row) != len(header):
            raise LibraryError(f"{path} is no table of labels: {','.join(row)!r}; {give}.")
        of = dict(zip(header, row))
        if labels.setdefault(of["video_id"], of["label"]) != of["label"]:
            raise LibraryError(f"{path} gives {of['video_id']} two labels; leave one of them out.")
    if not labels:
        raise LibraryError(f"{path} holds no label; {give}.")
    return labels


def set_labels(place: Place, labels: Mapping[str, str], progress: Progress) -> LabelReport:
    """Give stored videos other labels, in the shards and then in Milvus.

    A kill loses nothing: the same call goes on from there, and Milvus is marked as outdated until
    it is in step.

    Args:
        place: The home, and the Milvus to write to.
        labels: By video id.
        progress: Receives the progress of the rows in Milvus.

    Raises:
        LibraryError: A video is not stored or of AudioSet, or a label is too long; nothing was
            changed then.
        StoreError: A shard cannot be read or written, or another process holds the home.
    """
    home = Home(place)
    with writing(home.path, "labelling", place.wait), open_store(place, writing=True) as store:
        changed = _changes(home, labels)
        notes: list[str] = []
        for library, of in changed.items():
            if not of and not distrusted(home.path, library, store.name):
                continue
            home.shards.adopt(library)
            distrust(home.path, library, store.name)
            distrust_others(home.path, library, store.name)
            home.shards.relabel(library, of)
            try:
                reindex(store, home, [library], progress)
            except StoreError as error:
                notes.append(left_behind(error))
        done = sum(map(len, changed.values()))
        notes += store.notes
    return LabelReport(changed=done, unchanged=len(labels) - done, notes=notes)


def _changes(home: Home, labels: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return, for each of the libraries, the labels that are not those of the shards.

    Raises:
        LibraryError: As `set_labels`.
    """
    known = home.shards.libraries()
    named = {video_id.partition("/")[0] for video_id in labels}
    catalogs = {name: home.shards.catalog(name) for name in known if name in named}
    changed: dict[str, dict[str, str]] = {name: {} for name in catalogs}
    for video_id, label in labels.items():
        library = video_id.partition("/")[0]
        entry = catalogs.get(library, {}).get(video_id)
        if entry is None:
            raise unknown(video_id, {name: home.shards.catalog(name) for name in known})
        if urlsplit(entry.video.path).netloc:
            raise LibraryError(
                f"The labels of {library} come with AudioSet's features; name them with "
                "'vidsim ingest-audioset --class-labels'."
            )
        if len(label.encode(errors="surrogatepass")) > MAX_ID_LENGTH:
            raise LibraryError(
                f"The label of {video_id} is longer than {MAX_ID_LENGTH} bytes; shorten it."
            )
        if entry.video.label != label:
            changed[library][video_id] = label
    return changed
