"""Read HDF5 that somebody else made: in a child process with limits, as data alone."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from ...schemas.errors import StoreError, WorkerError
from ..discover.regular_file import ODD_NAMES, odd_kind
from ..system.channel import Message
from ..system.sandbox import Confinement
from ..system.unreadable import patiently, told
from ..system.worker_process import Child, StalledError
from .h5_child import Part, allowed_bytes, packed, unpacked

_BLOCK_BYTES = 8 << 20
"""Most bytes of numbers per message; what is read at once is in memory twice, here and there."""

_TEXTS_PER_READ = 8192

_ANSWERS = {"list": "listing", "read": "arrays", "texts": "texts"}
"""The kind of the answer to each request."""

_NONSENSE = "the HDF5 reader answered with something unreadable, as on damage"

_LONGEST_REASON = 500

# One thread of work; plugins are programs that a file asks to be loaded.
_ENV = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HDF5_PLUGIN_PRELOAD": "::"}


@dataclass(frozen=True)
class H5Limits:
    """What reading may cost; time counts only while the child is waited for.

    Attributes:
        stall_s: Seconds without any answer: HDF5 is in a loop.
        base_s: Seconds that a file of no size may take in all.
        per_mb_s: Seconds per MB of the file on top of that.
        memory_mb: Address space of the child.
        worker: What the child runs; tests put something worse in its place.
    """

    stall_s: float = 60.0
    base_s: float = 120.0
    per_mb_s: float = 2.0
    memory_mb: int = 2048
    worker: str = f"{__package__}.h5_child:main"


LIMITS = H5Limits()


@dataclass(frozen=True)
class H5Dataset:
    """What a file says of a dataset.

    Attributes:
        name: Its path in the file, without the first slash.
        kind: Whether it can be read, and how.
        dtype: The dtype in which numbers are read; for a message where it is something else.
        shape: Its shape.
    """

    name: str
    kind: Literal["numbers", "text", "other"]
    dtype: str
    shape: tuple[int, ...]


class H5Reader:
    """The child process that reads foreign files, one after another; a context manager.

    What it answers is data: arrays of numbers, and texts. A file that makes it hang, crash or
    exceed a limit ends in a StoreError, and so do files with links or data in other files.
    """

    def __init__(self) -> None:
        """Start the child, without waiting for it.

        Raises:
            WorkerError: No process could be started.
        """
        self._limits = LIMITS
        self._child = Child(
            LIMITS.worker,
            LIMITS.memory_mb,
            _ENV,
            name="HDF5 reader",
            file_limit_mb=1,
            confinement=Confinement.READING,
        )
        self._spent_s: dict[Path, float] = {}

    def __enter__(self) -> H5Reader:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the child."""
        self._child.close(grace_s=0)  # it has nothing to finish

    def open(self, path: Path) -> H5File:
        """List what a file holds, once no other program writes to it.

        Raises:
            StoreError: It could not be read, or takes more than it may.
            OSError: It was read, and is not an intact HDF5 file.
        """
        with told(str(path)):
            status = path.stat()
            if odd := odd_kind(status.st_mode):
                raise StoreError(f"{path} is {ODD_NAMES[odd]}; give a file that an export wrote.")
            size = status.st_size
            message = patiently(str(path), lambda: self.ask(path, size, "list", {}))
        try:
            return _listed(message, path, size, self)
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
            _refuse(path, _NONSENSE)

    def ask(
        self,
        path: Path,
        size: int,
        kind: str,
        fields: dict[str, Any],
        arrays: dict[str, npt.NDArray[Any]] | None = None,
    ) -> Message:
        """Return the child's answer to a request about the file at `path`, of `size` bytes.

        Raises:
            StoreError: The child is gone, or refused the file.
            OSError: HDF5 could not read it.
        """
        self._child.wait_ready()
        allowed_s = self._limits.base_s + self._limits.per_mb_s * size / 1e6
        since = time.monotonic() - self._spent_s.get(path, 0.0)
        try:
            self._child.send(kind, {**fields, "path": os.path.abspath(path)}, arrays)
            message = self._child.receive(self._limits.stall_s)
            while message.kind == "alive":
                message = self._child.receive(self._limits.stall_s)
                if time.monotonic() - since > allowed_s:
                    self._child.close(grace_s=0)
                    break
        except StalledError:
            _refuse(path, f"HDF5 gave no answer for {self._limits.stall_s:g} s, as on damage")
        except WorkerError as error:
            _refuse(path, f"{error}, as on damage")
        self._spent_s[path] = time.monotonic() - since
        if self._spent_s[path] > allowed_s:
            _refuse(path, f"HDF5 took more than {allowed_s:.0f} s for {size / 1e6:.1f} MB of it")
        if message.kind == _ANSWERS[kind]:
            return message
        if message.kind == "refused":
            _refuse(path, str(message.fields.get("reason"))[:_LONGEST_REASON])
        if message.kind != "failed":
            _refuse(path, _NONSENSE)
        if message.fields.get("memory"):
            _refuse(path, f"it takes more than {self._limits.memory_mb} MB of memory to read")
        number, text = message.fields.get("errno"), str(message.fields.get("text"))
        raise OSError(number, text) if isinstance(number, int) else OSError(text)


@dataclass(frozen=True)
class H5File:
    """A foreign file, of which all is listed and nothing read yet.

    Attributes:
        path: The file.
        size: Its size, bytes.
        attributes: Attributes of the root ("") and of the index of an export, where they are one
            number or one text.
        datasets: Its datasets by name.
    """

    path: Path
    size: int
    attributes: dict[str, dict[str, str | int | float]]
    datasets: dict[str, H5Dataset]
    _reader: H5Reader = field(repr=False)

    def numbers(self, name: str) -> npt.NDArray[Any]:
        """Read a whole dataset of numbers.

        Raises:
            KeyError, ValueError: There is no such dataset, or it holds something else.
            StoreError, OSError: As `H5Reader.open`.
        """
        (array,) = self.read([(name, 0, self._rows(name, "numbers"))])
        return array

    def read(self, parts: Iterable[Part]) -> Iterator[npt.NDArray[Any]]:
        """Yield the items ``first:last`` of datasets of numbers; small ones are read together.

        Raises:
            KeyError, ValueError: There is no such dataset or item, or it holds something else.
            StoreError, OSError: As `H5Reader.open`.
        """
        batch: list[Part] = []
        size = 0
        for part in parts:
            nbytes = self._nbytes(part)
            if batch and size + nbytes > _BLOCK_BYTES:
                yield from self._read_batch(batch)
                batch, size = [], 0
            batch.append(part)
            size += nbytes
        if batch:
            yield from self._read_batch(batch)

    def texts(self, name: str, errors: Literal["strict", "replace"] = "strict") -> list[str]:
        """Read a whole dataset of UTF-8 texts.

        Args:
            name: The dataset.
            errors: What to do about other bytes, as for `bytes.decode`.

        Raises:
            KeyError, ValueError: There is no such dataset, it holds something else, or other bytes.
            StoreError, OSError: As `H5Reader.open`.
        """
        found: list[str] = []
        size, count = 0, self._rows(name, "text")
        for first in range(0, count, _TEXTS_PER_READ):
            last = min(first + _TEXTS_PER_READ, count)
            fields = {"name": name, "first": first, "last": last}
            arrays = self._reader.ask(self.path, self.size, "texts", fields).arrays
            if not _fit(arrays, last - first):
                _refuse(self.path, _NONSENSE)
            data = arrays["bytes"].tobytes()
            size += len(data)
            if size > allowed_bytes(self.size):  # many may be one and the same
                _refuse(self.path, f"its {name} is longer than {self.size:,} bytes can hold")
            edges = pairwise([0, *arrays["ends"].tolist()])
            found += [data[start:end].decode("utf-8", errors) for start, end in edges]
        return found

    def _rows(self, name: str, kind: str) -> int:
        """Return the length of a dataset, which must be of `kind`."""
        if name not in self.datasets:
            raise KeyError(f"there is no dataset {name}")
        dataset = self.datasets[name]
        if dataset.kind != kind or not dataset.shape or (kind == "text" and dataset.shape[1:]):
            raise ValueError(f"{name} is {dataset.shape} of {dataset.dtype}, no list of {kind}")
        return dataset.shape[0]

    def _nbytes(self, part: Part) -> int:
        name, first, last = part
        if not 0 <= first <= last <= self._rows(name, "numbers"):
            raise ValueError(f"{name} has no items {first} to {last}")
        return (last - first) * self._row_bytes(name)

    def _row_bytes(self, name: str) -> int:
        dataset = self.datasets[name]
        return int(np.prod(dataset.shape[1:], dtype=object)) * np.dtype(dataset.dtype).itemsize

    def _read_batch(self, parts: list[Part]) -> Iterator[npt.NDArray[Any]]:
        """Yield the items of parts that fit into one message, or of one part of any size."""
        runs: list[Part] = []
        places = []
        for name, first, last in parts:
            if runs and (runs[-1][0], runs[-1][2]) == (name, first):
                runs[-1] = name, runs[-1][1], last
            else:
                runs.append((name, first, last))
            places.append((len(runs) - 1, first - runs[-1][1], last - runs[-1][1]))
        if len(parts) == 1 and self._nbytes(parts[0]) > _BLOCK_BYTES:
            name, first, last = parts[0]
            step = max(1, _BLOCK_BYTES // self._row_bytes(name))
            pieces = [(name, n, min(n + step, last)) for n in range(first, last, step)]
            arrays = [np.concatenate([self._arrays([piece])[0] for piece in pieces])]
        else:
            arrays = self._arrays(runs)
        for run, start, end in places:
            yield arrays[run][start:end]

    def _arrays(self, parts: list[Part]) -> list[npt.NDArray[Any]]:
        """Read parts that fit into one message."""
        message = self._reader.ask(self.path, self.size, "read", {}, {"parts": packed(parts)})
        if message.arrays.keys() != {str(number) for number in range(len(parts))}:
            _refuse(self.path, _NONSENSE)
        arrays = [message.arrays[str(number)] for number in range(len(parts))]
        for array, (name, first, last) in zip(arrays, parts):
            dataset = self.datasets[name]
            if (array.dtype.name, array.shape) != (
                dataset.dtype,
                (last - first, *dataset.shape[1:]),
            ):
                _refuse(self.path, f"its {name} has changed while it was read")
        return arrays


def _listed(message: Message, path: Path, size: int, reader: H5Reader) -> H5File:
    """Return the file that a listing describes; what a hostile file makes of it is no listing.

    Raises:
        AttributeError, KeyError, RecursionError, TypeError, ValueError: It is none.
    """
    listing = unpacked(message.arrays["json"])
    datasets = {}
    declared = 0
    for name, kind, dtype, shape in listing["datasets"]:
        if kind not in ("numbers", "text", "other") or any(type(n) is not int for n in shape):
            raise ValueError(name)
        found = H5Dataset(str(name), kind, str(dtype), tuple(shape))
        declared += math.prod(shape) * (np.dtype(dtype).itemsize if kind == "numbers" else 1)
        datasets[found.name] = found
    attributes = {
        str(group): {
            str(name): value for name, value in of.items() if isinstance(value, (str, int, float))
        }
        for group, of in listing["attributes"].items()
    }
    if declared > allowed_bytes(size) or any(n < 0 for d in datasets.values() for n in d.shape):
        raise ValueError(declared)
    return H5File(path, size, attributes, datasets, reader)


def _fit(arrays: dict[str, npt.NDArray[Any]], count: int) -> bool:
    """Return whether they hold so many texts: their bytes, and where each ends."""
    data, ends = arrays.get("bytes"), arrays.get("ends")
    return (
        data is not None
        and ends is not None
        and (data.dtype.name, data.ndim) == ("uint8", 1)
        and (ends.dtype.name, ends.shape) == ("int64", (count,))
        and bool((np.diff(ends, prepend=0, append=len(data)) >= 0).all())
    )


def _refuse(path: Path, reason: str) -> NoReturn:
    """Raise StoreError that the file at `path` is not read, with a reason of a few words."""
    raise StoreError(f"{path} cannot be read: {reason}; ask whoever made it for a new copy.")
