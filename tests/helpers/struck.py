"""The process in which commands are struck: it has loaded all, and forks for each task.

strikes.c is preloaded into it.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from vidsim.search.library import Library

from .answers import Answer, ask, attempt
from .commands import COMMANDS, QUESTIONS
from .full_home import stand_ins
from .served import serve

LIMIT_S = 60.0
"""Commands and what follows take a second or two."""


def _task(request: dict[str, Any]) -> Any:
    home, work = Path(request["home"]), Path(request["work"])
    command = COMMANDS[request["command"]]
    match request["task"]:
        case "prepare":
            command.prepare(home, work)
        case "run":
            log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            ctypes.CDLL(None).strikes_arm(
                os.fsencode(home), ctypes.c_long(request["at"]), request["how"], log
            )
            command.run(home, work)
        case "questions":
            return ask(home, QUESTIONS)
        case "reindex":
            COMMANDS["reindex"].run(home, work)
        case "state":
            return _state(home)
    return None


def _state(home: Path) -> dict[str, Any]:
    with Library.open(home) as library:
        report = library.verify(sample="all")
        found = {
            "differs": [c.model_dump(mode="json") for c in report.comparisons if c.wrong],
            "videos": [v.model_dump(mode="json") for v in library.videos()],
            "libraries": [each.model_dump(mode="json") for each in library.libraries()],
        }
    return found | {"answers": ask(home, QUESTIONS)}


def _forked(request: dict[str, Any]) -> Answer:
    """Does a task in a child; where that does not answer, ``ended`` says how, None for never."""
    here, there = os.pipe()
    child = os.fork()
    if not child:
        os.close(here)
        with os.fdopen(there, "w") as answer, stand_ins(segments_per_shard=3):
            json.dump(attempt(partial(_task, request)) | {"loaded": list(sys.modules)}, answer)
        os._exit(0)
    os.close(there)
    said, until = b"", time.monotonic() + LIMIT_S
    while select.select([here], [], [], max(0.0, until - time.monotonic()))[0]:
        piece = os.read(here, 1 << 20)
        if not piece:
            break
        said += piece
    else:
        os.kill(child, signal.SIGABRT)
    os.close(here)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        return {"ended": None if code == -signal.SIGABRT else code}
    found = json.loads(said)
    _load(found.pop("loaded"))
    return found


def _load(names: Sequence[str]) -> None:
    """Loads what a child had to, so that the next one finds it here."""
    if new := [name for name in names if name not in sys.modules]:
        for name in new:
            with suppress(ImportError):
                importlib.import_module(name)
        gc.collect()
        gc.freeze()  # else a child's collector would copy every page


def main() -> None:
    """Serves a `Harness` of interruptions.py."""
    serve(_forked)
