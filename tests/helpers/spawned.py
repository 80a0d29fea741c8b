"""Commands as programs of their own that start at once, so that a kill of one costs little.

The process has loaded vidsim, and forks for each: what runs then is `vidsim.cli.main` with its
words and environment, in a session of its own.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from .answers import Answer
from .forked import forked
from .served import Served, serve
from .warm import LOADED, become

_LIMIT_S = 600.0
"""No command of a home of some thousand videos takes as long, on a busy machine either."""

_MORE = ("vidsim.search.server.run", "vidsim.ingest.extract.embed", "vidsim.ingest.extract.color")

GONE_S = 20.0
"""Within which the children of a killed command have ended."""


class Spawner:
    """Starts commands; `close` ends it."""

    def __init__(self, looks: str, scratch: Path) -> None:
        """`looks` is a function, ``module:name``, that `look` calls in a process of its own."""
        self._served = Served("vidsim.tests.helpers.spawned", dict(os.environ))
        self._looks = looks
        self._scratch = scratch

    def start(self, words: Sequence[str], environment: dict[str, str]) -> Running:
        """Starts ``vidsim WORDS``."""
        folder = tempfile.mkdtemp(dir=self._scratch)
        request = {"do": "start", "words": list(words), "environment": environment}
        request |= {"working_directory": os.getcwd(), "folder": folder}
        return Running(self._served, self._served.ask(request, 60)["pid"], Path(folder))

    def look(self, environment: dict[str, str], *arguments: Any) -> Answer:
        """Looks at a home; gives an `Answer`."""
        request = {"do": "look", "function": self._looks, "arguments": list(arguments)}
        answer: Answer = self._served.ask(request | {"environment": environment}, _LIMIT_S + 10)
        return answer

    def close(self) -> None:
        """Ends the process that starts them."""
        self._served.close()


class Running:
    """A command that was started."""

    def __init__(self, served: Served, pid: int, folder: Path) -> None:
        """It has this process id, and what it says goes to files in `folder`."""
        self.pid = pid
        self._served = served
        self._folder = folder

    def wait(self, limit_s: float) -> int | None:
        """Waits for its end; gives its code, None where it runs on."""
        request = {"do": "wait", "pid": self.pid, "limit_s": limit_s}
        code: int | None = self._served.ask(request, limit_s + 60)["code"]
        return code

    def end(self, how: signal.Signals) -> int | None:
        """Sends a signal to it alone, and waits for its end."""
        os.kill(self.pid, how)
        return self.wait(60)

    def kill(self) -> list[str]:
        """Kills it alone; names its children that did not end with it."""
        try:
            children = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            children = []
        self.end(signal.SIGKILL)
        _, left = psutil.wait_procs(children, GONE_S)
        return [" ".join(each.cmdline()) for each in left]

    @property
    def said(self) -> str:
        """What it said on stderr."""
        return (self._folder / "err").read_text(errors="replace")


def _answer(request: dict[str, Any]) -> Any:
    match request["do"]:
        case "start":
            return _start(request)
        case "wait":
            return {"code": _waited(request["pid"], request["limit_s"])}
    return forked(lambda: _look(request), _LIMIT_S)


def _start(request: dict[str, Any]) -> dict[str, int]:
    child = os.fork()
    if child:
        return {"pid": child}
    os.setsid()
    become(request)
    from vidsim.cli import main as command

    command()
    raise SystemExit  # it ends as an interpreter does


def _waited(pid: int, limit_s: float) -> int | None:
    until = time.monotonic() + limit_s
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            return None
        time.sleep(0.002)


def _look(request: dict[str, Any]) -> Any:
    os.environ.clear()
    os.environ.update(request["environment"])
    module, _, name = request["function"].partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function(*request["arguments"])


def main() -> None:
    """Serves a `Spawner`."""
    for name in (*LOADED, *_MORE):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else a child's collector would copy every page
    serve(_answer)
