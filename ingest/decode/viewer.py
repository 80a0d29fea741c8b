"""What people see and hear of files, taken in child processes, as media is untrusted."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, TypeVar

from ...schemas.embedding import ByteArray, FloatArray
from ...schemas.errors import MediaError, WorkerError
from ...schemas.modality import SAMPLE_RATE
from ..system.channel import Message
from ..system.worker_process import Child
from . import codecs
from .clip import Encoded
from .container import UnreachableError
from .description import Description
from .pictures import WIDTH, picture_in

_Answer = TypeVar("_Answer")

MOST_CHILDREN = 2
"""Child processes at a time: they are for a person who waits, beside queries and an ingest."""

IDLE_S = 60.0
"""A child that nothing has been asked of for so long is ended; another takes half a second."""

_FILES_A_CHILD = 256
"""Files after which a child is replaced, so that leaks in codecs do not add up."""

_STALL_S = 20.0
_MOST_S = {"describe": 120.0, "look": 120.0, "hear": 120.0, "clip": 240.0}
"""Seconds for one request, and without any sign of progress."""

_MEMORY_MB = 4096
_CLIP_MB = 256
"""Largest clip. A minute of noise, which nothing compresses, takes some 150 MB."""

_WIDEST = 2048
_LONGEST_S = 366 * 86_400.0
_NAME = re.compile(r"[\w.,-]{1,40}", re.ASCII)

_ENV = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class Viewer:
    """Describes files, and takes pictures, sound and clips of them.

    Any number of threads may ask; they wait for one of few child processes, which start when they
    are needed and end when they are not. Use `close` at the end.
    """

    def __init__(
        self,
        worker: str = f"{__package__}.viewer_worker:main",
        most: int = MOST_CHILDREN,
        idle_s: float = IDLE_S,
    ) -> None:
        """Prepare; `worker` is what a child runs, for which tests substitute another."""
        self._worker = worker
        self._slots = threading.BoundedSemaphore(most)
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._idle: list[tuple[Child, int]] = []
        self._busy: set[Child] = set()
        self._timer: threading.Timer | None = None
        self._closed = False

    def describe(self, path: str) -> Description:
        """Describe a file.

        Raises:
            MediaError: It is no video, sound or picture, or nothing of it decodes; an
                `UnreachableError` where it is gone.
            WorkerError: No child process can be started.
        """
        return self._ask("describe", {"path": path}, _description)

    def look(
        self, path: str, times_s: Sequence[float], size: int = WIDTH, roughly: bool = False
    ) -> list[ByteArray | None]:
        """Return the frames on the screen at given times, as `picture_worker.look` finds them.

        Returns:
            For each time (h, w, 3) uint8 RGB; None where nothing was found.

        Raises:
            MediaError, WorkerError: As `describe`.
        """
        size = min(size, _WIDEST)
        found: dict[int, ByteArray] = {}

        def take(message: Message) -> None:
            number, rgb = picture_in(message, len(times_s), size)
            found[number] = rgb

        fields = {"path": path, "times_s": list(times_s), "size": size, "roughly": roughly}
        self._ask("look", fields, _nothing, picture=take)
        if not found:
            raise MediaError("no picture of it decodes")
        return [found.get(number) for number in range(len(times_s))]

    def hear(self, path: str, start_s: float, end_s: float) -> FloatArray | None:
        """Return the sound of a stretch, (n,) float32 mono at 16 kHz; None where it has none.

        Raises:
            MediaError, WorkerError: As `describe`.
        """
        most = round(end_s * SAMPLE_RATE) - round(start_s * SAMPLE_RATE)
        found: list[FloatArray] = []

        def take(message: Message) -> None:
            sound = message.arrays.get("sound")
            if sound is None or sound.dtype.name != "float32" or sound.shape != (most,):
                raise _unreadable()
            found[:] = [sound]

        fields = {"path": path, "start_s": start_s, "end_s": end_s}
        self._ask("hear", fields, _nothing, sound=take)
        return found[0] if found else None

    def clip(self, path: str, start_s: float, end_s: float, file: BinaryIO) -> Encoded:
        """Write a stretch of a file to another, as MP4 that browsers play.

        Args:
            path: The file.
            start_s: Seconds from its start.
            end_s: Where the stretch ends, at most `clip.MOST_S` later.
            file: Receives the clip.

        Raises:
            MediaError, WorkerError: As `describe`.
        """
        written = 0

        def take(message: Message) -> None:
            nonlocal written
            data = message.arrays.get("data")
            if data is None or data.dtype.name != "uint8":
                raise _unreadable()
            written += data.nbytes
            if written > _CLIP_MB << 20:
                raise _unreadable()
            file.write(data.data)

        fields = {"path": path, "start_s": start_s, "end_s": end_s}
        return self._ask("clip", fields, _encoded, data=take)

    def close(self) -> None:
        """End all child processes, also those at work."""
        with self._lock:
            self._closed = True
            for child in self._busy:
                child.kill()
        self._end_idle()

    def _ask(
        self,
        kind: str,
        fields: Mapping[str, Any],
        read: Callable[[Mapping[str, Any]], _Answer],
        **takers: Callable[[Message], None],
    ) -> _Answer:
        """Send a request, hand what comes to `takers` by its kind, and `read` the last fields."""
        with self._child() as child:
            child.send(kind, fields, path=fields["path"])
            try:
                return read(_last(child, time.monotonic() + _MOST_S[kind], takers))
            except WorkerError as error:
                raise _FailedChildError(str(error)) from error

    @contextmanager
    def _child(self) -> Generator[Child, None, None]:
        """Lend a child process, which is ended where it failed.

        Raises:
            WorkerError: It does not start.
        """
        with self._slots:
            child, served = self._taken()
            healthy = False
            try:
                child.wait_ready()
                yield child
                healthy = True
            except _FailedChildError:
                raise
            except MediaError:
                healthy = True
                raise
            finally:
                self._give_back(child, served + 1, healthy)

    def _taken(self) -> tuple[Child, int]:
        with self._lock:
            if self._closed:
                raise WorkerError("The server is stopping; ask again once it runs.")
            found = self._idle.pop() if self._idle else None
            child, served = found or (
                Child(
                    self._worker,
                    _MEMORY_MB,
                    {**_ENV, **codecs.setting()},
                    name="decoder",
                    file_limit_mb=_CLIP_MB,
                ),
                0,
            )
            self._busy.add(child)
            return child, served

    def _give_back(self, child: Child, served: int, healthy: bool) -> None:
        with self._lock:
            self._busy.discard(child)
            kept = healthy and served < _FILES_A_CHILD and not self._closed
            if kept:
                self._idle.append((child, served))
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = threading.Timer(self._idle_s, self._end_idle)
                self._timer.daemon = True
                self._timer.start()
        if not kept:
            child.close()

    def _end_idle(self) -> None:
        with self._lock:
            ended, self._idle = self._idle, []
            if self._timer is not None:
                self._timer.cancel()
        for child, _ in ended:
            child.close()


class _FailedChildError(MediaError):
    """A child crashed, hung or sent nonsense over a file, and is of no use any more."""


def _last(
    child: Child, until: float, takers: Mapping[str, Callable[[Message], None]]
) -> dict[str, Any]:
    """Receive messages until the last one.

    Raises:
        MediaError: The file is at fault.
        WorkerError: The child failed.
    """
    while (left_s := until - time.monotonic()) > 0:
        message = child.receive(min(_STALL_S, left_s))
        if message.kind == "done":
            return message.fields
        if message.kind == "failed":
            reason = str(message.fields.get("reason", "no reason was given"))[:500]
            gone = message.fields.get("gone") is True
            raise UnreachableError(reason) if gone else MediaError(reason)
        if message.kind in takers:
            takers[message.kind](message)
    raise WorkerError("decoding took too long")


def _unreadable() -> WorkerError:
    """Return the error for an answer that is none: a hostile file may have taken over the child."""
    return WorkerError("the decoder answered with something unreadable")


def _nothing(fields: Mapping[str, Any]) -> None:
    """Expect nothing: what was asked for came before."""


def _description(fields: Mapping[str, Any]) -> Description:
    try:
        found = Description(**fields)
    except TypeError:
        raise _unreadable() from None
    sides = found.width, found.height
    fits = (
        found.kind in ("video", "sound", "picture")
        and all(isinstance(n, str) and _NAME.fullmatch(n) for n in (found.container, found.codec))
        and all(side is None or (type(side) is int and 0 < side < 1 << 20) for side in sides)
        and (found.duration_s is None or _is_time(found.duration_s))
        and all(isinstance(flag, bool) for flag in (found.sound, found.plays))
    )
    if not fits:
        raise _unreadable()
    return found


def _encoded(fields: Mapping[str, Any]) -> Encoded:
    try:
        found = Encoded(**fields)
    except TypeError:
        raise _unreadable() from None
    if not (_is_time(found.start_s) and _is_time(found.end_s)):
        raise _unreadable()
    return Encoded(found.start_s, found.end_s, bool(found.picture), bool(found.sound))


def _is_time(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value < _LONGEST_S and math.isfinite(value)
