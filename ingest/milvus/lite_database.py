"""Milvus Lite's folder in a home: which collections it has, opened, made or taken away.

All that is in it can be made again from the shards. So what was read and found to be damaged is
taken away by the next command that writes, which then finds rows missing and writes them.
"""

from __future__ import annotations

import errno
import logging
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ...schemas.collections import FIELDS, MAX_ID_LENGTH
from ...schemas.errors import StoreError
from ..system.unreadable import hindrance, patiently, unwritten

if TYPE_CHECKING:
    from milvus_lite import Collection, MilvusLite

_log = logging.getLogger(__name__)

_HELD = frozenset({errno.EAGAIN, errno.EACCES})
"""Errors of a lock held elsewhere; ``flock(2)`` and ``fcntl(2)``. Lite reports any failure to
lock as a held lock."""


class Database:
    """The collections in a folder of Milvus Lite, opened at the first use.

    Lite holds an open collection whole in memory, and gives it back only when its database is
    closed.

    Attributes:
        path: The folder as messages call it.
        notes: What was taken away.
    """

    def __init__(self, directory: Path, path: Path, writing: bool, one_at_a_time: bool) -> None:
        """Use Lite's folder `directory`.

        Args:
            directory: The folder; it need not exist.
            path: The folder of the home that it stands for.
            writing: Whether it may be changed; if not, nothing is created or taken away.
            one_at_a_time: Whether to close the other collections before one is opened.
        """
        self.path = path
        self.notes: list[str] = []
        self._directory = directory
        self._writing = writing
        self._one_at_a_time = one_at_a_time
        self._lite: MilvusLite | None = None
        self._open: dict[str, Collection] = {}

    def close(self) -> None:
        """Seal what was written, close all collections, and release the folder.

        Raises:
            Exception: Rows could not be sealed; they are in Lite's log, and the next open seals
                them.
        """
        try:
            for collection in self._open.values():
                collection.flush()  # `MilvusLite.close` keeps silent about failures
        finally:
            self._open.clear()
            if self._lite is not None:
                self._lite.close()
                self._lite = None

    def names(self) -> list[str]:
        """Return the names of the collections."""
        lite = self._existing()
        return [] if lite is None else list(lite.list_collections())

    def has(self, name: str) -> bool:
        """Return whether a collection exists.

        A damaged one does not: where that may be changed, it is deleted, with a note.
        """
        if name in self._open:
            return True
        lite = self._existing()
        if lite is None or not lite.has_collection(name):
            return False
        if self._writing:
            try:
                self.collection(name)
            except Exception as error:
                if not is_damage(error):
                    raise
                self._take_away(name, error)
                return False
        return True

    def is_open(self, name: str) -> bool:
        """Return whether a collection is in memory."""
        return name in self._open

    def collection(self, name: str) -> Collection:
        """Return a collection, opened.

        Raises:
            Exception: Whatever Lite's parts raise.
        """
        if name not in self._open:
            lite = self._alone()
            found = patiently(f"The store {self.path}", lambda: lite.get_collection(name))
            if found.has_index():  # an earlier version's
                if self._writing:
                    found.drop_index()
                found.load()
            self._open[name] = found
        return self._open[name]

    def create(self, name: str, dim: int) -> None:
        """Create a collection of `FIELDS` and a vector of dimension `dim`.

        A folder that was left before it became a collection is deleted first. The rows of a
        video lie in one of 16 parts, as its id has it: Lite merges files within a part only, and
        takes five times as much memory as these files for that.
        """
        from milvus_lite import CollectionSchema, DataType, FieldSchema

        kinds = {"string": DataType.VARCHAR, "integer": DataType.INT64, "number": DataType.DOUBLE}
        fields = [
            FieldSchema(
                name=field.name,
                dtype=kinds[field.kind],
                is_primary=field.name == FIELDS[0].name,
                max_length=MAX_ID_LENGTH if field.kind == "string" else None,
                is_partition_key=field.name == "video_id",
            )
            for field in FIELDS
        ]
        fields.append(FieldSchema(name="vector", dtype=DataType.FLOAT_VECTOR, dim=dim))
        schema = CollectionSchema(fields=fields)
        lite = self._alone()
        try:
            self._open[name] = lite.create_collection(name, schema)
        except FileExistsError as error:
            folder = Path(error.filename)
            if self._directory not in folder.parents:
                raise
            shutil.rmtree(folder)
            self._tell(f"{folder} was not finished")
            self._open[name] = lite.create_collection(name, schema)

    def drop(self, name: str) -> None:
        """Delete a collection and its files."""
        self._open.pop(name, None)
        lite = self._existing()
        if lite is not None:
            lite.drop_collection(name)

    def _alone(self) -> MilvusLite:
        """Return the database to open a collection in, others closed where that is wanted."""
        if self._one_at_a_time and self._open:
            self.close()
        if self._lite is None:
            self._lite = self._opened()
        return self._lite

    def _existing(self) -> MilvusLite | None:
        """Return the database; None where there is none."""
        if self._lite is None and self._directory.exists():
            self._lite = self._opened()
        return self._lite

    def _opened(self) -> MilvusLite:
        from milvus_lite import MilvusLite

        def opening() -> MilvusLite:
            return MilvusLite(str(self._directory))

        try:
            try:
                return patiently(f"The store {self.path}", opening)
            except Exception as error:
                if not self._writing or not is_damage(error):
                    raise
                self._move_away(error)
                return opening()
        except Exception as error:
            raise StoreError(self._unopened(error)) from error

    def _take_away(self, name: str, error: Exception) -> None:
        """Delete a collection that is damaged, or move all of Lite's folder away."""
        try:
            self.drop(name)
        except Exception as worse:
            if not is_damage(worse):
                raise
            self._move_away(worse)
            return
        self._tell(f"The collection {name} of {self.path} was damaged ({one_line(error)})")

    def _move_away(self, error: Exception) -> None:
        """Rename what lies where Lite's folder should be, and is not one that Lite can open."""
        with suppress(Exception):
            self.close()
        aside = self.path.with_name(f"{self.path.name}.damaged")
        if aside.is_dir():
            shutil.rmtree(aside)
        self._directory.replace(aside)
        self._tell(f"{self.path} was damaged ({one_line(error)}), and is now {aside.name}")

    def _tell(self, what: str) -> None:
        self.notes.append(f"{what}; it is made anew from the shards.")
        _log.warning("%s", self.notes[-1])

    def _unopened(self, error: Exception) -> str:
        from milvus_lite import DataDirLockedError

        what = f"The store {self.path}"
        if isinstance(error, DataDirLockedError):
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno not in _HELD:
                return unwritten(what, cause)
            return (
                f"{what} is in use by another vidsim process; wait for that process to "
                "end, or set VIDSIM_HOME to another folder."
            )
        if isinstance(error, OSError) and not is_damage(error):
            return unwritten(what, error)
        return (
            f"{what} is not a Milvus Lite directory ({one_line(error)}); 'vidsim reindex' moves "
            "it away and makes a new one, or set VIDSIM_HOME to another folder."
        )


def is_damage(error: Exception) -> bool:
    """Return whether an error of Lite says that something was read and is wrong."""
    import pyarrow as pa
    from milvus_lite import MilvusLiteError

    if isinstance(error, (FileExistsError, NotADirectoryError, IsADirectoryError)):
        return True  # something else lies where a folder or a file should be
    kinds = (MilvusLiteError, pa.ArrowException, OSError, ValueError, TypeError, LookupError)
    return isinstance(error, kinds) and hindrance(error) is None


def one_line(error: Exception) -> str:
    """Return the first line of an error's message, or its kind."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
