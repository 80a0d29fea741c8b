"""The child's side of reading foreign HDF5: lists what a file holds, and sends parts of it.

HDF5 trusts what it reads. Sixteen zero bytes in a heap of strings make HDF5 1.14.6 loop for ever
while it holds Python's lock, other bytes crash it, a kilobyte can declare a petabyte, and links,
external storage and virtual datasets name any other file of the machine.
"""

from __future__ import annotations

import json
import math
import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from ...schemas.exports import INDEX
from ..system.channel import Channel

_OPEN_FILES = 16
"""Files kept open at once: an import reads those of all backbones in turn."""

_LONGEST_NAME = 4096

_ALLOWED_BASE = 16 << 20
_ALLOWED_RATIO = 64
"""Bytes that a file may declare, in all and per byte of its own: vidsim does not compress, and the
class names of UCF101, as byte strings, shrink to about a fiftieth."""

Part = tuple[str, int, int]
"""A dataset's name, its first wanted item, and the one after the last."""


class RefusedError(Exception):
    """The file was read, and is of a kind that no export is; the message says how."""


def main(channel: Channel) -> None:
    """Answer every request about a file with what was asked, or with ``refused`` or ``failed``."""
    files: OrderedDict[str, h5py.File] = OrderedDict()
    while True:
        message = channel.receive()
        fields = message.fields
        try:
            if message.kind == "list" and fields["path"] in files:
                files.pop(fields["path"]).close()  # it may be another by now
            file = _opened(files, fields["path"])
            if message.kind == "list":
                listing = list_file(file, os.stat(fields["path"]).st_size, channel.heartbeat())
                channel.send("listing", arrays={"json": packed(listing)})
            elif message.kind == "read":
                channel.send("arrays", arrays=_read(file, unpacked(message.arrays["parts"])))
            else:
                part = fields["name"], fields["first"], fields["last"]
                channel.send("texts", arrays=_read_texts(file, part))
        except RefusedError as error:
            channel.send("refused", {"reason": str(error)})
        except MemoryError:
            channel.send("failed", {"memory": True})
        except Exception as error:  # whatever HDF5 makes of a damaged file
            number = error.errno if isinstance(error, OSError) else None
            channel.send("failed", {"memory": False, "errno": number, "text": str(error)[:4000]})


def allowed_bytes(size: int) -> int:
    """Return the most bytes that a file of `size` bytes may hold, unpacked."""
    return _ALLOWED_BASE + _ALLOWED_RATIO * size


def packed(data: Any) -> npt.NDArray[np.uint8]:
    """Return JSON as an array, which a message may have more of than of fields."""
    return np.frombuffer(json.dumps(data).encode("ascii"), np.uint8)


def unpacked(array: npt.NDArray[Any]) -> Any:
    """Return what `packed` was given.

    Raises:
        ValueError: It is something else.
    """
    return json.loads(array.tobytes())


def list_file(file: h5py.File, size: int, alive: Callable[[], None]) -> dict[str, Any]:
    """List the datasets and attributes of a file.

    Args:
        file: The open file.
        size: Its size, bytes.
        alive: Called often.

    Returns:
        ``size``; ``attributes`` (numbers and texts of the root and of `INDEX`, by group and name);
        ``datasets``, each its name, kind (numbers, text or other), dtype and shape.

    Raises:
        RefusedError: It has a link, names another file, or declares more than it can hold.
    """
    datasets: list[tuple[str, str, str, list[int]]] = []
    attributes: dict[str, dict[str, str | int | float]] = {}
    seen: set[int] = set()
    declared, allowed = 0, allowed_bytes(size)
    waiting: list[tuple[str, h5py.h5g.GroupID]] = [("", h5py.h5g.open(file.id, b"/"))]
    while waiting:
        path, group = waiting.pop()
        address = h5py.h5o.get_info(group).addr
        if address in seen:
            continue  # groups may hold each other
        seen.add(address)
        if path in ("", INDEX):
            attributes[path] = _attributes(group)
        inner = []
        for raw in group:
            alive()
            name = raw.decode("utf-8", "surrogateescape")
            name = f"{path}/{name}" if path else name
            if len(name) > _LONGEST_NAME:
                raise RefusedError(f"its groups lie too deep ({name[:40]}...)")
            if group.links.get_info(raw).type != h5py.h5l.TYPE_HARD:
                raise RefusedError(f"its {name} is a link to another place or file")
            found = h5py.h5o.open(group, raw)
            if isinstance(found, h5py.h5g.GroupID):
                inner.append((name, found))
            elif isinstance(found, h5py.h5d.DatasetID):
                kind, dtype, shape, nbytes = _described(found, name)
                datasets.append((name, kind, dtype, shape))
                declared += nbytes
            declared += len(raw) + len(name)
            if declared > allowed:
                raise RefusedError(f"with {name} it declares more than {size:,} bytes can hold")
        waiting += reversed(inner)
    return {"size": size, "attributes": attributes, "datasets": datasets}


def _opened(files: OrderedDict[str, h5py.File], path: str) -> h5py.File:
    if path not in files:
        while len(files) >= _OPEN_FILES:
            files.popitem(last=False)[1].close()
        files[path] = h5py.File(path, "r")
    files.move_to_end(path)
    return files[path]


def _attributes(group: h5py.h5g.GroupID) -> dict[str, str | int | float]:
    """Read the attributes that are one number or one text."""
    attributes = h5py.Group(group).attrs
    found: dict[str, str | int | float] = {}
    for name in attributes:
        stored = attributes.get_id(name)
        plain = (h5py.h5t.STRING, h5py.h5t.INTEGER, h5py.h5t.FLOAT)
        if stored.shape == () and stored.get_type().get_class() in plain:
            value = attributes[name]
            value = value.item() if isinstance(value, np.generic) else value
            if isinstance(value, (str, int, float)):
                found[str(name)] = value
    return found


def _described(dataset: h5py.h5d.DatasetID, name: str) -> tuple[str, str, list[int], int]:
    """Return kind, dtype, shape and declared bytes of a dataset, without reading its data."""
    made = dataset.get_create_plist()
    # Asked for its shape, a virtual dataset opens the files that it names.
    if made.get_layout() == h5py.h5d.VIRTUAL or made.get_external_count():
        raise RefusedError(f"the data of its {name} lie in another file")
    if dataset.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        return "other", "empty", [], 0
    shape = [int(n) for n in dataset.shape]
    nbytes = math.prod(shape) * int(dataset.get_type().get_size())
    try:
        dtype = dataset.dtype
    except TypeError:  # numpy has none for it
        return "other", "of a type without numbers", shape, nbytes
    if h5py.check_string_dtype(dtype) is not None:
        return "text", str(dtype), shape, nbytes
    if dtype.kind in "fui":
        return "numbers", _sent(dtype).name, shape, nbytes
    return "other", str(dtype), shape, nbytes


def _sent(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which numbers travel: in this machine's order of bytes."""
    if dtype.kind == "f" and dtype.itemsize > 8:
        return np.dtype(np.float64)
    return np.dtype(f"{dtype.kind}{dtype.itemsize}")


def _dataset(file: h5py.File, name: str) -> h5py.Dataset:
    return h5py.Dataset(h5py.h5d.open(file.id, name.encode("utf-8", "surrogateescape")))


def _read(file: h5py.File, parts: list[Part]) -> dict[str, npt.NDArray[Any]]:
    """Read items of datasets of numbers, by their place in `parts`."""
    found = {}
    for number, (name, first, last) in enumerate(parts):
        dataset = _dataset(file, name)
        found[str(number)] = dataset[first:last].astype(_sent(dataset.dtype), copy=False)
    return found


def _read_texts(file: h5py.File, part: Part) -> dict[str, npt.NDArray[Any]]:
    """Read items of a dataset of text: their bytes, and where each ends."""
    name, first, last = part
    texts = _dataset(file, name)[first:last].tolist()
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    return {"bytes": np.frombuffer(b"".join(texts), np.uint8), "ends": ends}
