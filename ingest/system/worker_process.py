"""A supervised child process, which speaks through a `Channel`.

The child handles hostile files or a library that is incompatible with ours; whatever happens to
it (crash, hang, too much memory), the parent gets a `WorkerError` and continues.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy.typing as npt

from ...schemas.errors import WorkerError
from .channel import Channel, Message
from .sandbox import Confinement, environment

_log = logging.getLogger(__name__)

_LOOK_S = 0.05
"""Time between two looks at whether a child has ended; the first ones come sooner."""


class StalledError(WorkerError):
    """A child sent nothing within the time limit, and has been killed."""


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
        confinement: Confinement = Confinement.MEDIA,
    ) -> None:
        """Start the child without waiting; `send` waits until it is ready.

        Args:
            module_function: Function to run, such as ``vidsim.ingest.decode.worker:main``.
            memory_limit_mb: Address space it may use, None for no limit.
            env: Environment variables added to those of the parent's that it gets.
            name: Its name in messages: "decoder", "audio network".
            data_limit_mb: Private memory it may use, None for no limit; address space that is only
                reserved, as CUDA reserves all memory, does not count.
            file_limit_mb: Largest file it may write, None for no limit.
            start_timeout_s: Seconds it may take to import its module.
            confinement: What it may do once it has imported its module.

        Raises:
            WorkerError: No process could be started.
        """
        self._name = name
        self._start_timeout_s = start_timeout_s
        self._ready = False
        self._reaping = threading.Lock()
        self._last_lines: deque[str] = deque(maxlen=20)
        ours, theirs = socket.socketpair()
        limits = [str(limit or 0) for limit in (memory_limit_mb, data_limit_mb, file_limit_mb)]
        command = [sys.executable, "-P", "-m", f"{__package__}.child_side", module_function]
        # The child has the parent's import path.
        path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)
        try:
            self._process = _spawn(
                [*command, str(theirs.fileno()), str(os.getpid()), *limits, confinement.value],
                {**environment(confinement, os.environ), "PYTHONPATH": path, **(env or {})},
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
        path: str | None = None,
    ) -> None:
        """Send a message.

        Args:
            kind: Kind of the message.
            fields: JSON values by name.
            arrays: Arrays of a number type, by name.
            timeout_s: Seconds for which the child may accept no data.
            path: A file to open for it, which may be none that it could open itself. Where that
                fails, its field ``errno`` says why.

        Raises:
            WorkerError: It is gone or accepts no data, and is now closed.
        """
        self.wait_ready()
        file, number = (None, 0) if path is None else _opened(path)
        try:
            fields = {**(fields or {}), "errno": number} if number else fields
            self._channel.send(kind, fields, arrays, timeout_s, file)
        except (OSError, TimeoutError) as error:
            raise self._failure(error, timeout_s) from None
        finally:
            if file is not None:
                os.close(file)

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
        with self._reaping:
            if self._process.returncode is None:  # else its number may be another's
                with suppress(ProcessLookupError):
                    os.kill(self.pid, number)

    def close(self, grace_s: float = 1.0) -> None:
        """End it by closing the channel, and kill it after `grace_s` seconds.

        Neither process, nor what it started, nor file descriptor is left; may be called again.
        """
        self._channel.close()
        if not self._ends_within(grace_s):
            self.kill()
        with self._reaping:
            if self._process.returncode is None:
                self._ends_within(math.inf)
                # While it is a zombie, the number of its group is nobody else's.
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.pid, signal.SIGKILL)
                self._process.wait()
        self._drain.join()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _ends_within(self, seconds: float) -> bool:
        """Wait until it has ended, without reaping it; return whether it has."""
        until, pause = time.monotonic() + seconds, 0.0005
        while self._process.returncode is None:
            try:
                if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG):
                    return True
            except ChildProcessError:  # reaped by somebody else
                return True
            if time.monotonic() >= until:
                return False
            pause = min(2 * pause, _LOOK_S)
            time.sleep(pause)
        return True

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
            start_new_session=True,  # a group of its own, to be killed with what it starts
        )

    with _spawner_lock:
        if _spawner is None or _spawner[0] != os.getpid():
            _spawner = os.getpid(), ThreadPoolExecutor(1, thread_name_prefix="vidsim-spawner")
        spawner = _spawner[1]
    return spawner.submit(start).result()


def _opened(path: str) -> tuple[int | None, int]:
    """Open a plain file to read; return its descriptor, or None and why: an errno, 0 for its kind.

    What else a name may stand for is not touched: to open it may wait, or do something.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return None, 0
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        if stat.S_ISREG(os.fstat(file).st_mode):
            return file, 0
        os.close(file)
    except (OSError, ValueError) as error:
        return None, getattr(error, "errno", None) or 0
    return None, 0
