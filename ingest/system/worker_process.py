"""A supervised child process with messages of JSON and raw arrays, never pickles.

The child handles hostile files or a library that is incompatible with ours; whatever happens to
it (crash, hang, too much memory), the parent gets a `WorkerError` and continues.

A message on the wire is a 16 byte head (magic, length of the header, length of the arrays), a
JSON header, and the concatenated bytes of the arrays.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import logging
import math
import os
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...schemas.errors import WorkerError

_log = logging.getLogger(__name__)

_HEAD = struct.Struct("<4sIQ")
_MAGIC = b"vsm1"
_MAX_HEADER = 1 << 20
_MAX_ARRAYS = 1 << 30
_DTYPES = (
    *("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "float32", "float64"),
)
_PR_SET_PDEATHSIG = 1
_HEARTBEAT_S = 1.0


class StalledError(WorkerError):
    """A child sent nothing within the time limit, and has been killed."""


@dataclass(frozen=True)
class Message:
    """A message through a `Channel`: a kind, JSON fields and arrays by name."""

    kind: str
    fields: dict[str, Any]
    arrays: dict[str, npt.NDArray[Any]]


class Channel:
    """Messages over a socket, in either direction."""

    def __init__(self, sock: socket.socket) -> None:
        """Take ownership of the socket."""
        self._sock = sock

    def send(
        self,
        kind: str,
        fields: Mapping[str, Any] | None = None,
        arrays: Mapping[str, npt.NDArray[Any]] | None = None,
        timeout_s: float | None = None,
    ) -> None:
        """Send one message.

        Raises:
            TimeoutError: The other side accepted no data for `timeout_s` seconds.
            OSError: The other side is gone.
        """
        packed = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
        described = [[name, a.dtype.name, list(a.shape)] for name, a in packed.items()]
        header = json.dumps({"kind": kind, "fields": dict(fields or {}), "arrays": described})
        size = sum(array.nbytes for array in packed.values())
        self._sock.settimeout(timeout_s)
        self._sock.sendall(_HEAD.pack(_MAGIC, len(header), size) + header.encode("ascii"))
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
        magic, header_size, size = _HEAD.unpack(self._read(_HEAD.size, deadline))
        if magic != _MAGIC or header_size > _MAX_HEADER or size > _MAX_ARRAYS:
            raise ValueError("not a message")
        header = json.loads(self._read(header_size, deadline))
        kind, fields, described = (header[key] for key in ("kind", "fields", "arrays"))
        if not isinstance(kind, str) or not isinstance(fields, dict):
            raise ValueError("not a message")
        body = memoryview(self._read(size, deadline))
        arrays: dict[str, npt.NDArray[Any]] = {}
        at = 0
        for name, dtype_name, shape in described:
            if dtype_name not in _DTYPES or any(type(n) is not int or n < 0 for n in shape):
                raise ValueError("not an array")
            dtype, count = np.dtype(dtype_name), math.prod(shape)
            if at + count * dtype.itemsize > size:
                raise ValueError("an array longer than its message")
            arrays[str(name)] = np.frombuffer(body, dtype, count, at).reshape(shape)
            at += count * dtype.itemsize
        if at != size:
            raise ValueError("a message longer than its arrays")
        return Message(kind, fields, arrays)

    def _read(self, size: int, deadline: float | None) -> bytearray:
        data = bytearray(size)
        view = memoryview(data)
        done = 0
        while done < size:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise TimeoutError
            self._sock.settimeout(left)
            got = self._sock.recv_into(view[done:])
            if not got:
                raise EOFError
            done += got
        return data

    def close(self) -> None:
        """Close the socket, which signals the end to the other side."""
        self._sock.close()


class Child:
    """A child process that runs ``module:function``, called with its `Channel`.

    One thread at a time may speak to it; `kill` may be called from any.
    """

    def __init__(
        self,
        module_function: str,
        memory_limit_mb: int | None,
        env: Mapping[str, str] | None = None,
        *,
        name: str = "worker",
        data_limit_mb: int | None = None,
        file_limit_mb: int | None = None,
        start_timeout_s: float = 120.0,
    ) -> None:
        """Start the child without waiting; `send` waits until it is ready.

        Args:
            module_function: Function to run, such as ``vidsim.ingest.decode.worker:main``.
            memory_limit_mb: Address space it may use, None for no limit.
            env: Environment variables added to the parent's.
            name: Its name in messages: "decoder", "audio network".
            data_limit_mb: Private memory it may use, None for no limit; address space that is only
                reserved, as CUDA reserves all memory, does not count.
            file_limit_mb: Largest file it may write, None for no limit.
            start_timeout_s: Seconds it may take to import its module.

        Raises:
            WorkerError: No process could be started.
        """
        self._name = name
        self._start_timeout_s = start_timeout_s
        self._ready = False
        self._last_lines: deque[str] = deque(maxlen=20)
        ours, theirs = socket.socketpair()
        limits = [str(limit or 0) for limit in (memory_limit_mb, data_limit_mb, file_limit_mb)]
        command = [sys.executable, "-P", "-m", f"{__package__}.worker_process", module_function]
        # The child has the parent's import path.
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
        try:
            self._process = _spawn(
                [*command, str(theirs.fileno()), str(os.getpid()), *limits],
                {**os.environ, "PYTHONPATH": path, **(env or {})},
                theirs.fileno(),
            )
        except OSError as error:
            ours.close()
            raise WorkerError(f"the {name} could not be started ({error.strerror})") from error
        finally:
            theirs.close()
        self._channel = Channel(ours)
        self._drain = threading.Thread(
            target=self._keep_last_lines, name=f"vidsim-{name}-stderr", daemon=True
        )
        self._drain.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def last_lines(self) -> tuple[str, ...]:
        """The last lines it wrote to stderr, for a log."""
        return tuple(self._last_lines)

    def wait_ready(self) -> None:
        """Wait until it has imported its module; `send` also does this.

        Raises:
            WorkerError: It ended or took too long, and is now closed.
        """
        if not self._ready:
            message = self.receive(self._start_timeout_s)
            if message.kind != "ready":
                self.close()
                raise WorkerError(f"the {self._name} did not start as expected")
            self._ready = True

    def send(
        self,
        kind: str,
        fields: Mapping[str, Any] | None = None,
        arrays: Mapping[str, npt.NDArray[Any]] | None = None,
        timeout_s: float = 60.0,
    ) -> None:
        """Send a message.

        Args:
            kind: Kind of the message.
            fields: JSON values by name.
            arrays: Arrays of a number type, by name.
            timeout_s: Seconds for which the child may accept no data.

        Raises:
            WorkerError: It is gone or accepts no data, and is now closed.
        """
        self.wait_ready()
        try:
            self._channel.send(kind, fields, arrays, timeout_s)
        except (OSError, TimeoutError) as error:
            raise self._failure(error, timeout_s) from None

    def receive(self, timeout_s: float) -> Message:
        """Wait for a message, at most `timeout_s` seconds.

        Raises:
            StalledError: It sent nothing in time, and is now closed.
            WorkerError: It crashed or sent an invalid message, and is now closed.
        """
        try:
            return self._channel.receive(timeout_s)
        except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
            raise self._failure(error, timeout_s) from None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Kill it, or send it another signal; who waits for one that dies gets a `WorkerError`."""
        self._process.send_signal(number)

    def close(self, grace_s: float = 1.0) -> None:
        """End it by closing the channel, and kill it after `grace_s` seconds.

        Neither process nor file descriptor is left; may be called again.
        """
        self._channel.close()
        try:
            self._process.wait(grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._drain.join()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _failure(self, error: Exception, timeout_s: float) -> WorkerError:
        """End the child, and return the error that describes its failure."""
        if isinstance(error, TimeoutError):
            self.close(grace_s=0)
            return StalledError(f"the {self._name} gave no answer for {timeout_s:g} s")
        if not isinstance(error, (OSError, EOFError)):
            self.close(grace_s=0)
            return WorkerError(f"the {self._name} answered with something unreadable")
        self.close()
        code = self._process.returncode
        if self._last_lines:
            said = "\n  ".join(self._last_lines)
            _log.info(
                "The %s %d ended with code %d; last it said:\n  %s",
                self._name,
                self.pid,
                code,
                said,
            )
        if code < 0:
            return WorkerError(f"the {self._name} crashed ({signal.Signals(-code).name})")
        last = f": {self._last_lines[-1]}" if self._last_lines else ""
        return WorkerError(f"the {self._name} ended with code {code}{last}")

    def _keep_last_lines(self) -> None:
        assert self._process.stderr is not None
        while line := self._process.stderr.readline(4096):
            if text := line.decode("utf-8", "replace").strip():
                self._last_lines.append(text[:500])
                _log.debug("%s %d: %s", self._name, self.pid, text)


_spawner: tuple[int, ThreadPoolExecutor] | None = None
_spawner_lock = threading.Lock()


def _spawn(command: list[str], env: dict[str, str], inherited_fd: int) -> subprocess.Popen[bytes]:
    """Start a process from a thread that lives as long as this process.

    Linux sends the parent-death signal when the *thread* that started the child ends.
    """
    global _spawner

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(inherited_fd,),
        )

    with _spawner_lock:
        if _spawner is None or _spawner[0] != os.getpid():
            _spawner = os.getpid(), ThreadPoolExecutor(1, thread_name_prefix="vidsim-spawner")
        spawner = _spawner[1]
    return spawner.submit(start).result()


def serve(arguments: list[str]) -> None:
    """Run the child's side: set its limits, import its module, and run it to the end."""
    module_function, fd, parent, memory_mb, data_mb, file_mb = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle.
    _die_with(int(parent))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_AS, int(memory_mb))
    _limit(resource.RLIMIT_DATA, int(data_mb))
    _limit(resource.RLIMIT_FSIZE, int(file_mb))
    channel = Channel(socket.socket(fileno=int(fd)))
    module, _, function = module_function.partition(":")
    run: Callable[[Channel], None] = getattr(importlib.import_module(module), function)
    try:
        channel.send("ready")
        run(channel)
    except (EOFError, ConnectionError):
        pass  # The parent has closed the channel: no work is left.


def _limit(kind: int, megabytes: int) -> None:
    """Lower a limit of this process; leave it for 0, or if it is already lower."""
    _, hard = resource.getrlimit(kind)
    wanted = megabytes << 20
    if megabytes and (hard == resource.RLIM_INFINITY or wanted < hard):
        resource.setrlimit(kind, (wanted, wanted))


def _die_with(parent: int) -> None:
    """Ask the kernel to end this process when its parent ends, for whatever reason."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone")


if __name__ == "__main__":
    # Workers import the module proper, not this second copy of it.
    importlib.import_module(f"{__package__}.worker_process").serve(sys.argv[1:])
