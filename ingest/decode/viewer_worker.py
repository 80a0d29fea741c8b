"""The child process of a `Viewer`: describes files, and takes pictures, sound and clips of them."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import av.logging
import cv2
import numpy as np

from ...schemas.errors import MediaError
from ..system.channel import Channel
from .clip import encode_clip
from .container import UnreachableError
from .description import describe
from .media_file import given
from .picture_worker import look
from .sounds import hear

_CHUNK_BYTES = 1 << 22
"""Of a clip in one message."""


def main(channel: Channel) -> None:
    """Answer each request with what it gives, then ``done``, or with ``failed``."""
    av.logging.set_level(av.logging.PANIC)
    cv2.setNumThreads(1)
    while True:
        message = channel.receive()
        asked = {name: value for name, value in message.fields.items() if name != "errno"}
        try:
            with given(message):
                done = _KINDS[message.kind](channel, **asked)
            channel.send("done", done)
        except MediaError as error:
            gone = isinstance(error, UnreachableError)
            channel.send("failed", {"reason": str(error), "gone": gone})
        except MemoryError:
            channel.send("failed", {"reason": "decoding it takes more memory than is allowed"})


def _describe(channel: Channel, path: str) -> dict[str, Any]:
    return vars(describe(path, channel.heartbeat()))


def _look(channel: Channel, path: str, times_s: list[float], size: int, roughly: bool) -> None:
    for number, rgb in look(path, times_s, size, channel.heartbeat(), roughly):
        channel.send("picture", {"number": number}, {"rgb": rgb})


def _hear(channel: Channel, path: str, start_s: float, end_s: float) -> None:
    sound = hear(path, start_s, end_s, channel.heartbeat())
    if sound is not None:
        channel.send("sound", {}, {"sound": sound})


def _clip(channel: Channel, path: str, start_s: float, end_s: float) -> dict[str, Any]:
    # A file in memory: the limit on what this process writes holds for it, and it has no name.
    handle = os.memfd_create("clip")
    try:
        name = f"/proc/self/fd/{handle}"
        try:
            encoded = encode_clip(path, start_s, end_s, name, channel.heartbeat())
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            raise MediaError("its clip would be too large; ask for a shorter one") from None
        with open(handle, "rb", closefd=False) as file:
            while data := file.read(_CHUNK_BYTES):
                channel.send("data", {}, {"data": np.frombuffer(data, np.uint8)})
        return vars(encoded)
    finally:
        os.close(handle)


_KINDS: dict[str, Callable[..., dict[str, Any] | None]] = {
    "describe": _describe,
    "look": _look,
    "hear": _hear,
    "clip": _clip,
}
