"""Pictures of files at given times, taken in a child process, as media is untrusted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ...schemas.embedding import ByteArray
from ...schemas.errors import WorkerError
from ..system.channel import Message
from ..system.worker_process import Child, StalledError
from . import codecs

WIDTH = 240
"""Pixels of a picture's longer side, where nothing else is asked for."""

_WIDEST = 4096
_QUALITY = 80
"""Of JPEG, 0 to 100: a picture of 240 pixels takes some 8 kB (a choice)."""

_STALL_S = 20.0
_MOST_S = 60.0
"""Seconds for one look into a file, and without any sign of progress."""

_MEMORY_MB = 4096
_FILE_MB = 1

_ENV = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Seen:
    """What was seen of a file.

    Attributes:
        pictures: For each time (h, w, 3) uint8 RGB; None where nothing was found.
        reason: Why nothing was, as it follows "path: "; "" where something was.
        unreadable: Whether that is so at all other times too: the file itself is at fault.
    """

    pictures: list[ByteArray | None]
    reason: str = ""
    unreadable: bool = False


class PictureReader:
    """Takes pictures of files, with one child process for all of them, started when needed.

    Use it as a context manager, or call `close`.
    """

    def __init__(self, worker: str = f"{__package__}.picture_worker:main") -> None:
        """Prepare; `worker` is what the child runs, for which tests substitute another."""
        self._worker = worker
        self._child: Child | None = None

    def look(self, path: str, times_s: Sequence[float], size: int = WIDTH) -> Seen:
        """Return the frames on the screen of a file at given times, upright; never fails.

        Args:
            path: The file.
            times_s: Seconds from its start.
            size: Pixels of a picture's longer side.
        """
        found: dict[int, ByteArray] = {}
        reason = ""
        try:
            reason = self._ask(path, times_s, min(size, _WIDEST), found)
        except WorkerError as error:
            self.close()
            reason = str(error)
        pictures = [found.get(number) for number in range(len(times_s))]
        if found:
            return Seen(pictures)
        return Seen(pictures, reason or "no picture of it decodes", unreadable=bool(reason))

    def _ask(
        self, path: str, times_s: Sequence[float], size: int, found: dict[int, ByteArray]
    ) -> str:
        """Fill `found` by the number of the time; return why the file gave nothing more."""
        if self._child is None:
            self._child = Child(
                self._worker,
                _MEMORY_MB,
                {**_ENV, **codecs.setting()},
                name="decoder",
                file_limit_mb=_FILE_MB,
            )
        fields = {"path": path, "times_s": list(times_s), "size": size}
        self._child.send("look", fields, path=path)
        until = time.monotonic() + _MOST_S * max(1, len(times_s))
        while time.monotonic() < until:
            try:
                message = self._child.receive(_STALL_S)
            except StalledError:
                raise WorkerError(
                    f"decoding took more than {_STALL_S:g} s without progress"
                ) from None
            if message.kind == "done":
                return ""
            if message.kind == "failed":
                return str(message.fields.get("reason", "no reason was given"))[:500]
            if message.kind == "picture":
                number, rgb = picture_in(message, len(times_s), size)
                found[number] = rgb
        raise WorkerError("decoding took too long")

    def close(self) -> None:
        """End the child process; the reader can be used again."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()


def jpeg(rgb: ByteArray) -> bytes:
    """Return (h, w, 3) uint8 RGB as a JPEG."""
    import cv2  # which a caller without pictures need not load

    done, data = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise ValueError(f"a picture of shape {rgb.shape} cannot be compressed")
    return bytes(data)


def png(rgb: ByteArray) -> bytes:
    """Return (h, w, 3) uint8 RGB as a PNG."""
    import cv2

    done, data = cv2.imencode(".png", rgb[..., ::-1])
    if not done:
        raise ValueError(f"a picture of shape {rgb.shape} cannot be compressed")
    return bytes(data)


def picture_in(message: Message, times: int, size: int) -> tuple[int, ByteArray]:
    """Return the number and the picture of a message.

    Raises:
        WorkerError: It is none: a hostile file may have taken over the child.
    """
    number, rgb = message.fields.get("number"), message.arrays.get("rgb")
    if (
        not isinstance(number, int)
        or not 0 <= number < times
        or rgb is None
        or rgb.dtype.name != "uint8"
        or rgb.ndim != 3
        or rgb.shape[2] != 3
        or not 0 < min(rgb.shape[:2]) <= max(rgb.shape[:2]) <= size
    ):
        raise WorkerError("the decoder answered with something unreadable")
    return number, rgb
