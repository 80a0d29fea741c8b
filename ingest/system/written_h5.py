"""New HDF5 files, of which every write counts.

HDF5 1.14 writes much of a dataset when it closes it, where h5py drops errors: a disk that is full
for a moment leaves a file without some chunks, which are then read as zeros. After some errors it
crashes on closing the file. So it is told of none, and the first one is raised at the end.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import h5py


class _RememberingFile(io.FileIO):
    """A file that keeps the first error of writing to it, and seems to go on.

    Attributes:
        error: That error; None where all went well.
    """

    error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return os.write(self.fileno(), data)
        except OSError as error:
            self.error = self.error or error
            return memoryview(data).nbytes

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return self.tell() if size is None else size


@contextmanager
def written_h5(path: Path, **layout: Any) -> Iterator[h5py.File]:
    """Create an HDF5 file, which is wholly written and closed when the block ends.

    Args:
        path: The file to create or replace.
        layout: Options of `h5py.File`.

    Raises:
        OSError: Something could not be written.
    """
    import h5py

    with _RememberingFile(path, "w+") as raw:
        try:
            with io.BufferedRandom(raw) as buffered, h5py.File(buffered, "w", **layout) as file:
                yield file
        except Exception as error:
            if raw.error is not None:
                raise raw.error from error
            raise
        if raw.error is not None:
            raise raw.error
