"""A pool of decoder processes: many files in parallel, each isolated from the others."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from ...schemas.errors import WorkerError
from ...schemas.video import Segment
from ..system.channel import Message
from ..system.sandbox import Confinement
from ..system.stages import Spent
from ..system.worker_process import Child, StalledError
from . import codecs
from .events import Event, Failed, Opened, SegmentMedia
from .limits import LIMITS, size_of
from .limits import DecodeLimits as DecodeLimits
from .lost import Lost
from .segments import DecodeRequest
from .shares import Decoded, Share, Shares
from .worker import request_to_fields

_EVENTS_A_WORKER = 4
"""Events queued per worker before decoding waits for the consumer."""

_FILES_A_CHILD = 256
"""Files after which a decoder is replaced, so that leaks in codecs do not add up."""

_LARGEST = 1e12
"""No number that a decoder tells is as large: more seconds than there are in 30,000 years."""

# A decoder is one thread of work; numpy must not start a thread per core.
_ENV = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def decode_all(
    requests: Iterable[tuple[int, DecodeRequest]],
    workers: int,
    limits: DecodeLimits = LIMITS,
    joining: int = 0,
) -> Generator[tuple[int, Event], None, None]:
    """Decode many files in `workers` processes.

    Args:
        requests: (number, request) pairs, consumed as decoders become free, in any thread.
        workers: Number of processes, at least 1. Those that find no other file take parts of long
            ones.
        limits: Limits for one file, or one decoder's part of it.
        joining: Number of further processes, which only take parts of long files.

    Yields:
        (number, event) pairs. Per file: perhaps an `Opened` and segments, in the order of
        `decode` within each part, then one `Finished` or `Failed`. Files are interleaved.

    Raises:
        WorkerError: A decoder cannot be started.
        Exception: Whatever `requests` raises.
    """
    pool = _Pool(requests, max(1, workers), limits, joining)
    try:
        yield from pool.run()
    finally:
        pool.stop()


class _StoppedError(Exception):
    """The consumer has stopped."""


class _Pool:
    """The threads of one `decode_all`, each with its own child process."""

    def __init__(
        self,
        requests: Iterable[tuple[int, DecodeRequest]],
        workers: int,
        limits: DecodeLimits,
        joining: int,
    ) -> None:
        self._requests = iter(requests)
        self._requests_lock = threading.Lock()
        self._shares = Shares()
        self._limits = limits
        self._events: queue.Queue[tuple[int, Event] | BaseException | None] = queue.Queue(
            _EVENTS_A_WORKER * (workers + joining)
        )
        self._stopping = threading.Event()
        self._children: set[Child] = set()
        self._children_lock = threading.Lock()
        self._threads = [
            threading.Thread(
                target=self._work, args=(i >= workers,), name=f"vidsim-decoder-{i}", daemon=True
            )
            for i in range(workers + joining)
        ]

    def run(self) -> Iterator[tuple[int, Event]]:
        for thread in self._threads:
            thread.start()
        running = len(self._threads)
        while running:
            event = self._events.get()
            if event is None:
                running -= 1
            elif isinstance(event, BaseException):
                raise event
            else:
                yield event

    def stop(self) -> None:
        """End children and threads; work in progress is lost."""
        with self._children_lock:
            self._stopping.set()
            for child in self._children:
                child.kill()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def _put(self, event: tuple[int, Event] | BaseException | None) -> None:
        while not self._stopping.is_set():
            try:
                return self._events.put(event, timeout=0.1)
            except queue.Full:
                continue
        raise _StoppedError

    def _next_file(self) -> Share | None:
        with self._requests_lock:
            task = next(self._requests, None)
            if task is not None:
                return self._shares.begin(*task)
        self._shares.end()
        return None

    def _next(self, joins: bool) -> Share | None:
        """Return the next file, or a part of one that another decoder has begun."""
        if not joins and (share := self._next_file()) is not None:
            return share
        return self._shares.wait_to_take(lambda: not self._stopping.is_set())

    def _work(self, joins: bool) -> None:
        """Run one thread: decode until nothing is left, replacing the child as needed.

        Args:
            joins: Whether it only takes parts of what others have begun.
        """
        child: Child | None = None
        served = 0
        try:
            while not self._stopping.is_set() and (share := self._next(joins)) is not None:
                if child is None:
                    child, served = self._start(), 0
                try:
                    self._decode(child, share)
                    served += 1
                except WorkerError as error:
                    self._end(child)
                    child = None
                    if not self._decode_picture_alone(share, error):
                        self._put_end(share, Failed(str(error), killed=True))
                if child is not None and served >= _FILES_A_CHILD:
                    self._end(child)
                    child = None
            self._put(None)
        except _StoppedError:
            pass
        except BaseException as error:  # without it the consumer would wait forever
            with contextlib.suppress(_StoppedError):
                self._put(error)
        finally:
            if child is not None:
                self._end(child)

    def _put_new(self, share: Share, event: Opened | SegmentMedia) -> bool:
        """Pass an event on, and return True, unless another decoder gave it."""
        new = self._shares.is_new(share, event)
        if new:
            self._put((share.file.number, event))
        return new

    def _put_end(self, share: Share, result: Decoded | Failed) -> None:
        event = self._shares.ended(share, result)
        if event is not None:
            self._put((share.file.number, event))

    def _start(self) -> Child:
        """Start a child and wait until it is ready.

        Raises:
            WorkerError: It does not start; no file is the cause.
        """
        limits = self._limits
        child = Child(
            limits.worker,
            None if limits.nvdec else limits.memory_mb,
            {**_ENV, **codecs.setting(), **limits.env},
            name="decoder",
            data_limit_mb=limits.memory_mb if limits.nvdec else None,
            file_limit_mb=limits.file_mb,
            confinement=Confinement.COMPUTING if limits.nvdec else Confinement.MEDIA,
        )
        with self._children_lock:
            self._children.add(child)
            if self._stopping.is_set():
                child.kill()
        try:
            child.wait_ready()
        except WorkerError:
            self._end(child)
            raise
        return child

    def _end(self, child: Child) -> None:
        child.close()
        with self._children_lock:
            self._children.discard(child)

    def _decode_picture_alone(self, share: Share, error: WorkerError) -> bool:
        """Decode a share again without its audio, which may be what made the decoder fail.

        Returns:
            Whether that worked; all events have then been passed on.
        """
        request = share.request
        if not request.audio or not request.frames or self._stopping.is_set():
            return False
        child = self._start()
        share.request = replace(request, audio=False)
        try:
            self._decode(child, share, f"its sound was left out ({error})")
        except WorkerError:
            return False
        finally:
            self._end(child)
        return True

    def _decode(self, child: Child, share: Share, without_sound: str = "") -> None:
        """Decode a share in a child and pass its events on.

        Args:
            child: The decoder.
            share: What to decode.
            without_sound: Why this is another try without the sound, "" for the first.

        Raises:
            WorkerError: The child crashed, hung, ran out of memory or took too long; or another
                try failed.
        """
        limits, request = self._limits, share.request
        size = size_of(request.path)
        allowed, spent = limits.before_opened_s(size), 0.0
        began, cpu_s = time.monotonic(), time.thread_time()
        told: int | None = None
        is_open = False
        child.send("decode", request_to_fields(request), path=request.path)
        while True:
            if share.end != told:
                told = share.end
                child.send("until", {"segment": told})
            asked = time.monotonic()
            message = _receive(child, limits.stall_s)
            spent += time.monotonic() - asked
            if message.kind == "failed":
                if without_sound or message.fields.get("memory"):
                    raise WorkerError(_text(message.fields, "reason"))
                lasting = message.fields.get("lasting") is True
                return self._put_end(share, Failed(_text(message.fields, "reason"), lasting))
            if message.kind in ("done", "segment") and not is_open:
                raise _nonsense()
            if message.kind == "done":
                cost = Spent(
                    cpu_s=_number(message.fields.get("cpu_s")) + time.thread_time() - cpu_s,
                    busy_s=spent,
                    blocked_s=time.monotonic() - began - spent,
                )
                return self._put_end(share, Decoded(_lost(message), cost, without_sound))
            if message.kind == "opened":
                opened = _opened(message)
                allowed = limits.opened_s(size, opened, request.max_pixels) + spent
                is_open = True
                self._put_new(share, opened)
            elif message.kind == "segment" and self._put_new(share, _segment(message, request)):
                allowed += limits.per_segment_s
            if spent > allowed:
                child.kill()
                raise WorkerError(f"decoding took more than {allowed:.0f} s")


def _receive(child: Child, stall_s: float) -> Message:
    try:
        return child.receive(stall_s)
    except StalledError:
        reason = f"decoding took more than {stall_s:g} s without progress"
        raise WorkerError(reason) from None


def _nonsense() -> WorkerError:
    return WorkerError("the decoder answered with something unreadable")


def _text(fields: Mapping[str, object], key: str, default: str = "no reason was given") -> str:
    return str(fields.get(key, default))[:500]


def _whole(fields: Mapping[str, object], key: str) -> int:
    value = fields.get(key)
    if not isinstance(value, int) or not 0 <= value < _LARGEST:
        raise _nonsense()
    return value


def _number(value: object) -> float:
    # NaN is no number that a limit could be compared with.
    if not isinstance(value, (int, float)) or not 0 <= value < _LARGEST:
        raise _nonsense()
    return float(value)


def _opened(message: Message) -> Opened:
    try:
        return Opened(
            duration_s=_number(message.fields["duration_s"]),
            segments=_whole(message.fields, "segments"),
            has_video=bool(message.fields["has_video"]),
            has_audio=bool(message.fields["has_audio"]),
            divisible=message.fields["divisible"] is True,
            megapixels=_number(message.fields["megapixels"]),
        )
    except KeyError:
        raise _nonsense() from None


def _lost(message: Message) -> Lost:
    found = message.fields.get("lost", {})
    try:
        stretches = tuple((_number(start), _number(end)) for start, end in found["picture_s"])
        missing, left_out = (_text(found, name, "") for name in ("missing", "left_out"))
        sound_s, breaks_off = _number(found["sound_s"]), bool(found["breaks_off"])
        return Lost(stretches, sound_s, breaks_off, missing, left_out)
    except (KeyError, TypeError, ValueError):
        raise _nonsense() from None


def _segment(message: Message, request: DecodeRequest) -> SegmentMedia:
    """Return the segment of a message, after checking that its arrays match the request.

    Raises:
        WorkerError: They do not: a hostile file may have taken over the child.
    """
    frames = {
        name.removeprefix("frames/"): array
        for name, array in message.arrays.items()
        if name.startswith("frames/")
    }
    audio = message.arrays.get("audio")
    fits = all(
        name in request.frames
        and array.dtype.name == "uint8"
        and array.shape == (request.frames[name].count, *2 * (request.frames[name].size,), 3)
        for name, array in frames.items()
    ) and (
        audio is None
        or (audio.dtype.name == "float32" and audio.ndim == 1 and bool(np.isfinite(audio).all()))
    )
    start_s, end_s = (_number(message.fields.get(name)) for name in ("start_s", "end_s"))
    # Each segment allows more time; there are no more of them than the longest file has.
    index, most = _whole(message.fields, "index"), request.max_duration_s / request.segment_seconds
    if not fits or end_s < start_s or index > most + 1:
        raise _nonsense()
    return SegmentMedia(Segment(index, start_s, end_s), frames, audio)
