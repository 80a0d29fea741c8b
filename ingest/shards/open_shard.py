"""One shard as a file: open it for reading, and detect damaged and foreign files."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...schemas.errors import StoreError
from ...schemas.exports import SHARD_FORMAT, SHARD_VERSION, VIDEO_STRINGS
from ...schemas.video import Video
from ..system.unreadable import hindrance, open_h5

if TYPE_CHECKING:  # a query may read no shard, and then need not load HDF5
    import h5py


DAMAGE = (OSError, KeyError, IndexError, RuntimeError, ValueError)
"""Errors by which h5py tells of damage, on opening a shard or on reading it later."""


def is_shard(name: str) -> bool:
    """Return whether a file of this name in a library's folder is one of its shards."""
    return re.fullmatch(r"\d{6,}\.h5", name) is not None


class UnusableShardError(StoreError):
    """A shard was read, and what it holds cannot be used."""


class DamagedShardError(UnusableShardError):
    """A shard was read, and is not as it was written."""


class ForeignShardError(UnusableShardError):
    """A shard was read, and belongs to another library or to another version of vidsim."""


def open_shard(path: Path, patience_s: float | None = None) -> h5py.File:
    """Open a shard for reading, once no other program holds it.

    Args:
        path: The shard.
        patience_s: Seconds to wait for that; None for a short default.

    Raises:
        StoreError: It cannot be read, is damaged, or is not a shard of this version.
    """
    try:
        file = open_h5(path, f"The shard {path}", patience_s)
        found = text_of(file.attrs.get("format", "")), int(file.attrs.get("version", 0))
    except DAMAGE as error:
        if (why := hindrance(error)) is not None:
            raise StoreError(why.sentence(f"The shard {path}")) from error
        raise damaged(path, error) from error
    if found[0] != SHARD_FORMAT or not 1 <= found[1] <= SHARD_VERSION:
        file.close()
        raise ForeignShardError(f"{path} is no shard of this version of vidsim; move it away.")
    try:
        library = text_of(file.attrs.get("library", ""))
    except DAMAGE as error:
        file.close()
        raise damaged(path, error) from error
    if library != path.parent.name:
        file.close()
        raise ForeignShardError(
            f"The shard {path} holds videos of {library}, not of {path.parent.name}; move it to "
            "where it belongs."
        )
    return file


@contextmanager
def reading_shard(path: Path) -> Iterator[h5py.File]:
    """Open a shard for reading; errors while reading are raised as those of opening.

    Raises:
        StoreError: As `open_shard`.
    """
    with open_shard(path) as file, damage_told(path):
        yield file


def version_of(path: Path) -> int:
    """Return the version of a shard's layout.

    Raises:
        StoreError: It cannot be read.
    """
    with reading_shard(path) as file:
        return int(file.attrs["version"])


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """Raise errors of reading an open shard as those of opening it.

    Raises:
        StoreError: As `open_shard`.
    """
    try:
        yield
    except DAMAGE as error:
        if (found := hindrance(error)) is not None:
            raise StoreError(found.sentence(f"The shard {path}")) from error
        raise damaged(path, error) from error


def damaged(path: Path, error: BaseException) -> DamagedShardError:
    """Return the error about a shard that was read and found wrong."""
    return DamagedShardError(
        f"The shard {path} is damaged ({error}); 'vidsim verify --repair' moves it away, and "
        "'vidsim ingest' then embeds its videos again."
    )


def text_of(value: str | bytes) -> str:
    """Return a text attribute: variable-length in version 1, of fixed length since."""
    return value.decode() if isinstance(value, bytes) else str(value)


def texts(dataset: h5py.Dataset) -> list[str]:
    """Return the texts of a dataset: variable-length in version 1, of fixed length since."""
    return [
        value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
        for value in dataset[:].tolist()
    ]


def read_video_table(file: h5py.File) -> list[Video]:
    """Read the videos of an open shard, in order."""
    table = file["videos"]
    library = text_of(file.attrs["library"])
    ids, paths, labels, contents = (texts(table[name]) for name in VIDEO_STRINGS)
    labels = [sys.intern(label) for label in labels]
    numbers = table["size"][:].tolist(), table["mtime_ns"][:].tolist()
    same = itertools.repeat(library)
    return [Video(*of) for of in zip(ids, same, paths, labels, contents, *numbers)]
