"""Foreign HDF5 read in a thread, where a test is about what was read and not about the child."""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest

from vidsim.ingest.exchange import h5_child, h5_reader
from vidsim.ingest.system.channel import Channel, Message


class _InThread:
    """Does what `H5Reader` asks of its child."""

    def __init__(self, *_: object, **__: object) -> None:
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        self._thread = threading.Thread(target=self._serve, args=(Channel(theirs),), daemon=True)
        self._thread.start()

    @staticmethod
    def _serve(channel: Channel) -> None:
        with suppress(EOFError, ConnectionError):
            h5_child.main(channel)
        channel.close()

    def wait_ready(self) -> None:
        pass

    def send(
        self, kind: str, fields: Mapping[str, Any], arrays: Mapping[str, Any] | None = None
    ) -> None:
        self._channel.send(kind, fields, arrays)

    def receive(self, timeout_s: float) -> Message:
        return self._channel.receive(timeout_s)

    def close(self, grace_s: float) -> None:
        self._channel.close()
        self._thread.join()


@pytest.fixture
def h5_in_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spares a process for each reading; test_h5_reader.py is about that process."""
    monkeypatch.setattr(h5_reader, "Child", _InThread)
