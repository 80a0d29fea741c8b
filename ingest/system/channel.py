"""Messages of JSON and raw arrays, never pickles, between a process and its child.

A message on the wire is a 16 byte head (magic, length of the header, length of the arrays), a
JSON header, and the concatenated bytes of the arrays. With one to the child an open file may come.
"""

from __future__ import annotations

import json
import math
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_HEAD = struct.Struct("<4sIQ")
_MAGIC = b"vsm1"
_MAX_HEADER = 1 << 20
_MAX_ARRAYS = 1 << 30
_DTYPES = (
    *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
)
_HEARTBEAT_S = 1.0


@dataclass(frozen=True)
class Message:
    """A message through a `Channel`: a kind, JSON fields and arrays by name.

    `file` is the descriptor of an open file that came with it, for the receiver to close.
    """

    kind: str
    fields: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]
    file: int | None = None


class Channel:
    """Messages over a socket, in either direction."""

    def __init__(self, sock: socket.socket, takes_files: bool = False) -> None:
        """Take ownership of the socket; `takes_files` is whether messages may bring open files."""
        self._sock = sock
        self._takes_files = takes_files

    def send(
        self,
        kind: str,
        fields: Mapping[str, Any] | None = None,
        arrays: Mapping[str, npt.NDArray[Any]] | None = None,
        timeout_s: float | None = None,
        file: int | None = None,
    ) -> None:
        """Send one message, perhaps with an open file.

        Raises:
            TimeoutError: The other side accepted no data for `timeout_s` seconds.
            OSError: The other side is gone.
        """
        packed = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
        described = [[name, a.dtype.name, list(a.shape)] for name, a in packed.items()]
        header = json.dumps({"kind": kind, "fields": dict(fields or {}), "arrays": described})
        size = sum(array.nbytes for array in packed.values())
        self._sock.settimeout(timeout_s)
        head = _HEAD.pack(_MAGIC, len(header), size) + header.encode("ascii")
        sent = 0 if file is None else socket.send_fds(self._sock, [head], [file])
        self._sock.sendall(head[sent:])
        for array in packed.values():
            if array.nbytes:
                self._sock.sendall(array.data.cast("B"))

    def heartbeat(self) -> Callable[[], None]:
        """Return what a worker calls within its work: once a second it sends ``alive``.

        A worker that hangs does not come to call it, and falls silent.
        """
        last = time.monotonic()

        def alive() -> None:
            nonlocal last
            if time.monotonic() - last > _HEARTBEAT_S:
                self.send("alive")
                last = time.monotonic()

        return alive

    def has_come(self) -> bool:
        """Return whether a message, or the end, waits to be received."""
        return bool(select.select([self._sock], [], [], 0)[0])

    def receive(self, timeout_s: float | None = None) -> Message:
        """Wait for one whole message, at most `timeout_s` seconds.

        Raises:
            TimeoutError: It did not come.
            EOFError: The other side is gone.
            ValueError: The data are not a message, or too large a one.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._file: int | None = None
        magic, header_size, size = _HEAD.unpack(self._read(_HEAD.size, deadline, self._takes_files))
        if magic != _MAGIC or header_size > _MAX_HEADER or size > _MAX_ARRAYS:
            raise ValueError("not a message")
        try:
            header = json.loads(self._read(header_size, deadline).tobytes())
        except RecursionError:
            raise ValueError("it nests too deep") from None
        kind, fields, described = (header[key] for key in ("kind", "fields", "arrays"))
        if not isinstance(kind, str) or not isinstance(fields, dict):
            raise ValueError("not a message")
        body = self._read(size, deadline)
        arrays: dict[str, npt.NDArray[Any]] = {}
        at = 0
        for name, dtype_name, shape in described:
            if dtype_name not in _DTYPES or any(type(n) is not int or n < 0 for n in shape):
                raise ValueError("not an array")
            dtype, count = np.dtype(dtype_name), math.prod(shape)
            if any(n > _MAX_ARRAYS for n in shape):
                raise ValueError("an array of no size that is too long")
            if at + count * dtype.itemsize > size:
                raise ValueError("an array longer than its message")
            arrays[str(name)] = np.frombuffer(body, dtype, count, at).reshape(shape)
            at += count * dtype.itemsize
        if at != size:
            raise ValueError("a message longer than its arrays")
        return Message(kind, fields, arrays, self._file)

    def _read(self, size: int, deadline: float | None, with_file: bool = False) -> memoryview:
        # Memory that is not written yet takes none: a size that is only claimed costs nothing.
        view = np.empty(size, np.uint8).data
        done = 0
        while done < size:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            self._sock.settimeout(left)
            if with_file:
                data_, files, _, _ = socket.recv_fds(
                    self._sock, size - done, 1, socket.MSG_CMSG_CLOEXEC
                )
                got = len(data_)
                view[done : done + got] = data_
                self._file = files[0] if files else self._file
            else:
                got = self._sock.recv_into(view[done:])
            if not got:
                raise EOFError
            done += got
        return view

    def close(self) -> None:
        """Close the socket, which signals the end to the other side."""
        self._sock.close()
