"""The child process of a decoder: serves requests one by one over its channel."""

from __future__ import annotations

import gc
import time
from typing import Any

import av.logging
import cv2
import numpy.typing as npt

from ...schemas.errors import MediaError
from ...schemas.modality import FrameSampling
from ...schemas.part import Part
from ..system.channel import Channel
from .container import UnreachableError
from .events import Opened
from .lost import Lost
from .media_file import given
from .segments import DecodeRequest, decode
from .still import decode_still


def main(channel: Channel) -> None:
    """Answer each ``decode`` with ``opened``, ``segment`` ..., then ``done`` or ``failed``.

    An ``until`` tells before which segment it ends; one that comes too late tells nothing.
    """
    av.logging.set_level(av.logging.PANIC)
    cv2.setNumThreads(1)  # The pool already runs a process per core.
    while True:
        message = channel.receive()
        if message.kind != "decode":
            continue
        with given(message):
            _serve(channel, request_from_fields(message.fields))


def request_to_fields(request: DecodeRequest) -> dict[str, Any]:
    """Return a request as fields that JSON can hold."""
    frames = {name: vars(sampling) for name, sampling in request.frames.items()}
    return {**vars(request), "frames": frames, "part": vars(request.part)}


def request_from_fields(fields: dict[str, Any]) -> DecodeRequest:
    """Return the request that `request_to_fields` packed."""
    frames = {name: _sampling(sampling) for name, sampling in fields["frames"].items()}
    region = fields["part"]["region"]  # JSON has no tuples
    part = Part(**{**fields["part"], "region": region and (*region,)})
    asked = {name: value for name, value in fields.items() if name != "errno"}
    return DecodeRequest(**{**asked, "frames": frames, "part": part})


def _sampling(fields: dict[str, Any]) -> FrameSampling:
    resize = fields["resize"]
    return FrameSampling(**{**fields, "resize": resize if isinstance(resize, int) else (*resize,)})


def _serve(channel: Channel, request: DecodeRequest) -> None:
    segments, cpu_s = 0, time.process_time()
    lost = Lost()
    end: int | None = None

    def until() -> int | None:
        nonlocal end
        while channel.has_come():
            end = channel.receive().fields["segment"]
        return end

    try:
        alive = channel.heartbeat()
        events = decode_still(request, alive) if request.still else decode(request, alive, until)
        for event in events:
            if isinstance(event, Opened):
                channel.send("opened", vars(event))
            elif isinstance(event, Lost):
                lost = event
            else:
                segments += 1
                arrays: dict[str, npt.NDArray[Any]] = {
                    f"frames/{name}": array for name, array in event.frames.items()
                }
                if event.audio is not None:
                    arrays["audio"] = event.audio
                channel.send("segment", vars(event.segment), arrays)
        spent = time.process_time() - cpu_s
        channel.send("done", {"segments": segments, "cpu_s": spent, "lost": vars(lost)})
    except MediaError as error:
        lasting = not isinstance(error, UnreachableError)
        channel.send("failed", {"reason": str(error), "lasting": lasting})
    except MemoryError:
        reason = "decoding it takes more memory than is allowed"
        channel.send("failed", {"reason": reason, "memory": True})
    finally:
        gc.collect()  # PyAV's containers are circles: each would keep its decoder, 100 MB at 720p
