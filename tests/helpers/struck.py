"""The process in which commands are struck: it has loaded all, and forks for each task.

strikes.c is preloaded into it.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

from vidsim.search.library import Library

from .answers import Answer, ask
from .commands import COMMANDS, QUESTIONS
from .forked import forked
from .full_home import stand_ins
from .served import serve

LIMIT_S = 240.0
"""Commands and what follows take a second or two, on a busy machine a minute."""


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
        case "made":
            return command.made(home, work)
        case "state":
            return _state(home) | {"made": command.made(home, work)}
    return None


def _state(home: Path) -> dict[str, Any]:
    with Library.open(home) as library:
        report = library.verify(sample="all")
        found = {
            "differs": [c.model_dump(mode="json") for c in report.comparisons if c.wrong],
            "videos": [v.model_dump(mode="json", exclude={"stored_at"}) for v in library.videos()],
            "libraries": [each.model_dump(mode="json") for each in library.libraries()],
        }
    return found | {"answers": ask(home, QUESTIONS)}


def _answer(request: dict[str, Any]) -> Answer:
    def task() -> Any:
        with stand_ins(segments_per_shard=3):
            return _task(request)

    return forked(task, LIMIT_S)


def main() -> None:
    """Serves a `Harness` of interruptions.py."""
    serve(_answer)
