"""Datasets of HDF5 whose content is checked when it is read.

HDF5 checks its own structure by checksums in its newer formats, but not what datasets hold, and its
heaps of variable-length strings not at all: sixteen zero bytes there make HDF5 1.14 loop for ever.
So datasets have a Fletcher-32 per chunk, which every program checks that reads them, and texts a
fixed length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

_CHUNK_BYTES = 128 * 2**10
"""Bytes per checksum: a look-up of one video's eight frames reads one or two chunks."""


def write_array(group: h5py.Group, name: str, values: npt.NDArray[Any], **more: Any) -> None:
    """Write an array in chunks, each with a checksum.

    Args:
        group: Where to.
        name: The dataset's name.
        values: (n, ...) the array.
        more: Further arguments of ``create_dataset``.
    """
    if not values.size:
        group.create_dataset(name, data=values)
        return
    rows = max(1, min(len(values), _CHUNK_BYTES * len(values) // values.nbytes))
    chunks = (rows, *values.shape[1:])
    group.create_dataset(name, data=values, chunks=chunks, fletcher32=True, **more)


def growing_array(
    group: h5py.Group, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike
) -> h5py.Dataset:
    """Create an empty dataset (0, *shape) for `append`, in chunks with a checksum each."""
    row = max(1, int(np.prod(shape))) * np.dtype(dtype).itemsize
    chunks = (max(1, _CHUNK_BYTES // row), *shape)
    return group.create_dataset(
        name, (0, *shape), dtype, maxshape=(None, *shape), chunks=chunks, fletcher32=True
    )


def append(dataset: h5py.Dataset, block: npt.NDArray[Any]) -> None:
    """Append rows to a `growing_array`."""
    if len(block):
        dataset.resize(len(dataset) + len(block), axis=0)
        dataset[-len(block) :] = block


def encoded(values: Sequence[str]) -> npt.NDArray[np.bytes_]:
    """Return texts as UTF-8 of one length, padded with zeros."""
    raw = [value.encode("utf-8", "surrogateescape") for value in values]
    return np.array(raw, h5py.string_dtype("utf-8", max([1, *map(len, raw)])))
