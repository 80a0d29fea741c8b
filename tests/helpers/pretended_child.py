"""A child without a process, which says whatever a test has it say, as one that was taken over."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np

from vidsim.ingest.system.channel import Channel
from vidsim.ingest.system.worker_process import Child


class PretendedChild(Child):
    """Stands in the place of `Child` where that is looked up; its answers all lie ready.

    Attributes:
        said: The bytes that each new one says before it ends.
    """

    said: bytes = b""

    def __init__(self, *_: Any, name: str = "worker", **__: Any) -> None:
        """Takes what `Child` takes."""
        self._name, self._ready, self._start_timeout_s = name, True, 1.0
        self._last_lines = deque(maxlen=20)
        self._reaping = threading.Lock()
        self._process = SimpleNamespace(returncode=1, pid=0, stderr=None)  # type: ignore[assignment]
        ours, self._theirs = socket.socketpair()
        self._channel = Channel(ours)
        self._speaking = threading.Thread(target=self._speak, args=[type(self).said], daemon=True)
        self._speaking.start()

    def _speak(self, said: bytes) -> None:
        with suppress(OSError):
            self._theirs.sendall(said)
            self._theirs.shutdown(socket.SHUT_WR)

    def kill(self, number: int = 9) -> None:
        """Has none to kill."""

    def close(self, grace_s: float = 1.0) -> None:
        """Ends the conversation."""
        self._channel.close()
        with suppress(OSError):
            self._theirs.shutdown(socket.SHUT_RDWR)
        self._speaking.join()
        self._theirs.close()


def message(kind: str, fields: Any = None, **arrays: np.ndarray) -> bytes:
    """A message as a channel sends it."""
    described = [[name, array.dtype.name, array.shape] for name, array in arrays.items()]
    header = {"kind": kind, "fields": fields or {}, "arrays": described}
    return on_the_wire(json.dumps(header).encode(), b"".join(map(_bytes, arrays.values())))


def _bytes(array: np.ndarray) -> bytes:
    return array.tobytes()


def on_the_wire(
    header: bytes, body: bytes = b"", length: int | None = None, size: int | None = None
) -> bytes:
    """A header and arrays, behind a head that tells their lengths, or others."""
    length, size = (
        len(of) if told is None else told for of, told in ((header, length), (body, size))
    )
    return struct.pack("<4sIQ", b"vsm1", length, size) + header + body
