"""A pool of decoder processes: many files in parallel, each isolated from the others."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ...schemas.embedding import NO_DAMAGE, Damage
from ...schemas.errors import WorkerError
from ...schemas.video import Segment
from ..system.stages import Spent
from ..system.worker_process import Child, Message, StalledError
from .segments import DecodeRequest, Lost, Opened, SegmentMedia
from .worker import request_to_fields

_EVENTS_A_WORKER = 4
"""Events queued per worker before decoding waits for the consumer."""

_FILES_A_CHILD = 256
"""Files after which a decoder is replaced, so that leaks in codecs do not add up."""

_OPENED = -1
"""Stands for `Opened` among segment indexes."""

# A decoder is one thread of work; numpy must not start a thread per core.
_ENV = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class DecodeLimits:
    """Limits for one file; time counts only while the pool waits for its decoder.

    Attributes:
        stall_s: Seconds without any sign of progress.
        base_s: Seconds allowed for a file of zero duration.
        per_second: Further seconds allowed per second of video.
        scan_s: Seconds allowed until the duration is known.
        memory_mb: Address space of a decoder in MiB; with `nvdec`, its private memory.
        file_mb: Largest file a decoder may write, in MiB.
        worker: ``module:function`` that a decoder runs; tests substitute a misbehaving one.
        env: Environment variables added for a decoder.
        nvdec: Whether decoders will be asked to decode on a GPU.
    """

    stall_s: float = 20.0
    base_s: float = 60.0
    per_second: float = 20.0
    scan_s: float = 600.0
    memory_mb: int = 4096
    file_mb: int = 1
    worker: str = f"{__package__}.worker:main"
    env: Mapping[str, str] = field(default_factory=dict)
    nvdec: bool = False


@dataclass(frozen=True)
class Finished:
    """A file was decoded to its end, into `segments` segments (0 if nothing requested was found).

    `damage` describes what did not decode; `without_sound` is whether the audio was left out
    because the decoder failed with it.
    """

    segments: int
    spent: Spent = field(default=Spent(), compare=False)
    damage: Damage = NO_DAMAGE
    without_sound: bool = False


@dataclass(frozen=True)
class Failed:
    """Decoding of a file failed, perhaps after some segments.

    Attributes:
        reason: Why, as it follows "path: ".
        lasting: Whether its content is the cause, so that another try would fail as well. A
            decoder that crashed, or reached a limit of time or memory, proves nothing of that.
    """

    reason: str
    lasting: bool = False


Event = Opened | SegmentMedia | Finished | Failed


def decode_all(
    requests: Iterable[tuple[int, DecodeRequest]],
    workers: int,
    limits: DecodeLimits = DecodeLimits(),
) -> Generator[tuple[int, Event], None, None]:
    """Decode many files in `workers` processes.

    Args:
        requests: (number, request) pairs, consumed as decoders become free, in any thread.
        workers: Number of processes, at least 1.
        limits: Limits for one file.

    Yields:
        (number, event) pairs. Per file: perhaps an `Opened` and segments, in the order of
        `decode`, then one `Finished` or `Failed`. Files are interleaved.

    Raises:
        WorkerError: A decoder cannot be started.
        Exception: Whatever `requests` raises.
    """
    pool = _Pool(requests, max(1, workers), limits)
    try:
        yield from pool.run()
    finally:
        pool.stop()


class _StoppedError(Exception):
    """The consumer has stopped."""


class _Pool:
    """The threads of one `decode_all`, each with its own child process."""

    def __init__(
        self, requests: Iterable[tuple[int, DecodeRequest]], workers: int, limits: DecodeLimits
    ) -> None:
        self._requests = iter(requests)
        self._requests_lock = threading.Lock()
        self._limits = limits
        self._events: queue.Queue[tuple[int, Event] | BaseException | None] = queue.Queue(
            _EVENTS_A_WORKER * workers
        )
        self._stopping = threading.Event()
        self._children: set[Child] = set()
        self._children_lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._work, name=f"vidsim-decoder-{i}", daemon=True)
            for i in range(workers)
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

    def _next_request(self) -> tuple[int, DecodeRequest] | None:
        with self._requests_lock:
            return next(self._requests, None)

    def _work(self) -> None:
        """Run one thread: process requests until none are left, replacing the child as needed."""
        child: Child | None = None
        served = 0
        try:
            while not self._stopping.is_set() and (task := self._next_request()) is not None:
                if child is None:
                    child, served = self._start(), 0
                sent: set[int] = set()
                try:
                    self._decode(child, *task, sent)
                    served += 1
                except WorkerError as error:
                    self._end(child)
                    child = None
                    if not self._decode_picture_alone(*task, sent, error):
                        self._put((task[0], Failed(str(error))))
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

    def _start(self) -> Child:
        """Start a child and wait until it is ready.

        Raises:
            WorkerError: It does not start; no file is the cause.
        """
        limits = self._limits
        child = Child(
            limits.worker,
            None if limits.nvdec else limits.memory_mb,
            {**_ENV, **limits.env},
            name="decoder",
            data_limit_mb=limits.memory_mb if limits.nvdec else None,
            file_limit_mb=limits.file_mb,
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

    def _decode_picture_alone(
        self, number: int, request: DecodeRequest, sent: set[int], error: WorkerError
    ) -> bool:
        """Decode a file again without its audio, which may be what made the decoder fail.

        Returns:
            Whether that worked; all events have then been passed on.
        """
        if not request.audio or not request.frames or self._stopping.is_set():
            return False
        child = self._start()
        damage = f"its sound was left out ({error})"
        try:
            self._decode(child, number, replace(request, audio=False), sent, damage)
        except WorkerError:
            return False
        finally:
            self._end(child)
        return True

    def _decode(
        self,
        child: Child,
        number: int,
        request: DecodeRequest,
        sent: set[int],
        damage: str = "",
    ) -> None:
        """Decode one file in a child and pass its events on.

        Args:
            child: The decoder.
            number: Number of the file.
            request: What to decode.
            sent: Events passed on by an earlier try, extended by this one: `_OPENED` and segment
                indexes.
            damage: Why this is another try, "" for the first.

        Raises:
            WorkerError: The child crashed, hung, ran out of memory or took too long; or another
                try failed.
        """
        limits = self._limits
        allowed, spent = limits.scan_s, 0.0
        duration_s = 0.0
        began, cpu_s = time.monotonic(), time.thread_time()
        child.send("decode", request_to_fields(request))
        while True:
            asked = time.monotonic()
            message = _receive(child, limits.stall_s)
            spent += time.monotonic() - asked
            if message.kind == "failed":
                if damage or message.fields.get("memory"):
                    raise WorkerError(_text(message.fields, "reason"))
                lasting = message.fields.get("lasting") is True
                return self._put((number, Failed(_text(message.fields, "reason"), lasting)))
            if message.kind == "done":
                cost = Spent(
                    cpu_s=_seconds(message, "cpu_s") + time.thread_time() - cpu_s,
                    busy_s=spent,
                    blocked_s=time.monotonic() - began - spent,
                )
                told = _lost(message).damage(duration_s)
                told = replace(told, sound=damage) if damage else told
                finished = Finished(_whole(message, "segments"), cost, told, bool(damage))
                return self._put((number, finished))
            if message.kind == "opened":
                opened = _opened(message)
                duration_s = opened.duration_s
                seconds = min(opened.duration_s, request.max_duration_s)
                allowed = limits.base_s + limits.per_second * seconds + spent
                if _OPENED not in sent:
                    sent.add(_OPENED)
                    self._put((number, opened))
            elif message.kind == "segment":
                media = _segment(message, request)
                if media.segment.index not in sent:
                    sent.add(media.segment.index)
                    self._put((number, media))
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


def _whole(message: Message, key: str) -> int:
    value = message.fields.get(key)
    if not isinstance(value, int):
        raise _nonsense()
    return value


def _seconds(message: Message, key: str) -> float:
    value = message.fields.get(key)
    if not isinstance(value, (int, float)):
        raise _nonsense()
    return float(value)


def _opened(message: Message) -> Opened:
    try:
        return Opened(
            duration_s=float(message.fields["duration_s"]),
            segments=_whole(message, "segments"),
            has_video=bool(message.fields["has_video"]),
            has_audio=bool(message.fields["has_audio"]),
        )
    except (KeyError, TypeError, ValueError):
        raise _nonsense() from None


def _lost(message: Message) -> Lost:
    found = message.fields.get("lost", {})
    try:
        stretches = tuple((float(start), float(end)) for start, end in found["picture_s"])
        missing = _text(found, "missing", "")
        return Lost(stretches, float(found["sound_s"]), bool(found["breaks_off"]), missing)
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
    ) and (audio is None or (audio.dtype.name == "float32" and audio.ndim == 1))
    try:
        fields = message.fields
        segment = Segment(int(fields["index"]), float(fields["start_s"]), float(fields["end_s"]))
    except (KeyError, TypeError, ValueError):
        raise _nonsense() from None
    if not fits:
        raise _nonsense()
    return SegmentMedia(segment, frames, audio)
