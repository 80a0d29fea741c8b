"""Tasks in children of a process that has loaded all: each starts at once, and may be ended."""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from .answers import Answer, attempt


def forked(task: Callable[[], Any], limit_s: float, end: signal.Signals = signal.SIGABRT) -> Answer:
    """Does a task in a child.

    Args:
        task: What to do; its result goes through JSON.
        limit_s: Seconds after which the child is ended.
        end: The signal that ends it.

    Returns:
        What `attempt` gives; where the child did not answer, ``ended`` says how: its code, or
        minus the signal, None where it took too long.
    """
    here, there = os.pipe()
    child = os.fork()
    if not child:
        os.close(here)
        with os.fdopen(there, "w") as answer:
            json.dump(attempt(task) | {"loaded": list(sys.modules)}, answer)
        os._exit(0)
    os.close(there)
    said, until = b"", time.monotonic() + limit_s
    while piece := _next(here, until):
        said += piece
    if ended := piece is None:
        os.kill(child, end)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    while not code and (piece := os.read(here, 1 << 20)):
        said += piece  # it was done at that moment
    os.close(here)
    if code:
        return {"ended": None if ended else code}
    found: Answer = json.loads(said)
    _load(found.pop("loaded"))
    return found


def _next(here: int, until: float) -> bytes | None:
    """What is said next, nothing at the end; None where that is too late."""
    ready, _, _ = select.select([here], [], [], max(0.0, until - time.monotonic()))
    return os.read(here, 1 << 20) if ready else None


def _load(names: Sequence[str]) -> None:
    """Loads what a child had to, so that the next one finds it here."""
    if new := [name for name in names if name not in sys.modules]:
        for name in new:
            with suppress(ImportError):
                importlib.import_module(name)
        gc.collect()
        gc.freeze()  # else a child's collector would copy every page
