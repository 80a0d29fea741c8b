"""A process that has loaded vidsim, and forks for whatever is to run in a process of its own.

Most of the second that a command takes in a new interpreter goes into imports. Tests of those, of
terminals and of signals start one all the same (`command_line.command`).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .served import Served, serve

_LIMIT_S = 120

LOADED = (
    *("filelock", "h5py", "milvus_lite", "pymilvus", "rich.progress"),
    *("vidsim.cli", "vidsim.ingest.pipeline", "vidsim.ingest.sync.libraries"),
    *("vidsim.search.library", "vidsim.search.query", "vidsim.search.report_text"),
)
"""What most commands need."""

_running: dict[tuple[str | int, ...], Served] = {}


def run(
    function: str,
    words: Sequence[str],
    environment: Mapping[str, str],
    before: Sequence[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Runs a function as a program of its own, away from any terminal.

    Args:
        function: Such as ``vidsim.cli:main``, called without arguments.
        words: Its command line, from the first argument on.
        environment: The whole environment.
        before: A command to start the program by, such as ``setpriv``.
    """
    key = (*before, threading.get_ident())
    if key not in _running:
        _running[key] = Served("vidsim.tests.helpers.warm", dict(os.environ), before)
        atexit.register(_running[key].close)
    with tempfile.TemporaryDirectory() as folder:
        request = {"function": function, "words": words, "environment": dict(environment)}
        request |= {"working_directory": os.getcwd(), "folder": folder}
        code = _running[key].ask(request, _LIMIT_S + 10)["code"]
        out, err = (Path(folder, name).read_text() for name in ("out", "err"))
    return subprocess.CompletedProcess([function, *words], code, out, err)


def _forked(request: dict[str, Any]) -> dict[str, int]:
    child = os.fork()
    if not child:
        signal.alarm(_LIMIT_S)
        become(request)
        module, _, function = request["function"].partition(":")
        getattr(importlib.import_module(module), function)()
        raise SystemExit  # it ends as an interpreter does
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status)}


def become(request: dict[str, Any]) -> None:
    """Makes this process look as if a shell had started it."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in enumerate(("out", "err"), start=1):
        os.dup2(os.open(f"{request['folder']}/{name}", os.O_WRONLY | os.O_CREAT), number)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as long as the process
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["working_directory"])
    sys.argv = ["vidsim", *request["words"]]


def main() -> None:
    """Serves `run`."""
    for name in LOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else a child's collector would copy every page
    serve(_forked)
