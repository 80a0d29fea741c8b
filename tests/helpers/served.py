"""A process that does one thing after another on request, and is ended where it takes too long."""

from __future__ import annotations

import faulthandler
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

_LAST_WORDS_S = 3.0


class HungError(Exception):
    """It did not answer in time; where it was says the message."""


class DiedError(Exception):
    """It ended without an answer."""


class Served:
    """Runs `serve` of a module in a process of its own, which starts with the first request."""

    def __init__(
        self, module: str, environment: dict[str, str], before: Sequence[str] = ()
    ) -> None:
        """`module` has a function without arguments, ``main``, that calls `serve`.

        `before` is a command that runs the process.
        """
        self._command = [*before, sys.executable, "-c", f"from {module} import main; main()"]
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with its owner

    def ask(self, request: Any, limit_s: float) -> Any:
        """Sends a request as JSON and gives the answer.

        Raises:
            HungError: None came within `limit_s` seconds; the process was ended.
            DiedError: The process ended by itself.
        """
        if self._process is None:
            self._said.seek(0)
            self._said.truncate()
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
            )
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        self._process.stdin.flush()
        answer, until = b"", time.monotonic() + limit_s
        out = self._process.stdout.fileno()
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([out], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise HungError(self._end())
            piece = os.read(out, 1 << 20)
            if not piece:
                code = self._process.wait()
                raise DiedError(f"ended with {code}: {self._end()}")
            answer += piece
        return json.loads(answer)

    def _end(self) -> str:
        """Ends the process; gives what it said last, such as where its threads were."""
        assert self._process
        self._process.send_signal(signal.SIGABRT)
        try:
            self._process.wait(_LAST_WORDS_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None
        self._said.seek(0)
        return self._said.read().decode(errors="replace")[-6000:]

    def close(self) -> None:
        """Ends the process, if there is one."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


def serve(answer: Callable[[Any], Any], limit_s: float | None = None) -> None:
    """Answers requests, a line of JSON each, until there are no more.

    It ends itself where one takes longer than `limit_s`, as nobody else may be left to end it.
    """
    faulthandler.enable()
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    for line in sys.stdin:
        if limit_s:
            faulthandler.dump_traceback_later(limit_s, exit=True)
        found = answer(json.loads(line))
        faulthandler.cancel_dump_traceback_later()
        replies.write(json.dumps(found) + "\n")
        replies.flush()
