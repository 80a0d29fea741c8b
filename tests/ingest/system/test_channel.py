"""What a child that was taken over may send: refused as no message, and of no cost."""

from __future__ import annotations

import resource
import socket

import numpy as np
import pytest

from vidsim.ingest.system.channel import Channel, Message

from ...helpers.pretended_child import message, on_the_wire


def received(data: bytes) -> Message:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(10)
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        return Channel(ours).receive(10)


def test_a_message_comes_as_it_was_sent() -> None:
    sent = {"a": np.arange(6, dtype=np.int16).reshape(2, 3), "b": np.zeros((0, 5), np.float32)}
    found = received(message("x", {"n": 1.5}, **sent))
    assert (found.kind, found.fields) == ("x", {"n": 1.5})
    for name, array in sent.items():
        assert found.arrays[name].dtype == array.dtype
        assert found.arrays[name].tolist() == array.tolist()
        assert found.arrays[name].shape == array.shape


@pytest.mark.parametrize(
    "header",
    [
        b'{"a":' * 5_000,
        b"[" * 100_000,
        b'{"kind": "x", "fields": {"n": ' + b"9" * 5000 + b'}, "arrays": []}',
        b'{"kind": "x", "fields": {}, "arrays": [["a", "uint8", [0, %d]]]}' % 2**100,
        b'{"kind": "x", "fields": {}, "arrays": [["a", "uint8", [0, 1e400]]]}',
    ],
)
def test_what_is_no_message_is_refused_as_none(header: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - all that the caller tells apart
        received(on_the_wire(header))


def test_a_size_that_is_only_claimed_takes_no_memory() -> None:
    header = b'{"kind": "x", "fields": {}, "arrays": [["a", "uint8", [1073741824]]]}'
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(EOFError):
        received(on_the_wire(header, size=1 << 30))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 << 10  # KiB
