"""The process that is the parent of whatever is fed, and may be the victim."""

from __future__ import annotations

import logging
import os
import random
import resource
import traceback
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from vidsim.schemas.errors import VidsimError

from ..answers import where_raised
from ..served import serve
from .targets import TARGETS, Feed, Outcome, started

_MOST_DATA = 8 << 30
"""Bytes of private memory, so that a machine outlives a target that takes all."""

_opened = ExitStack()
_feeds: dict[str, Feed] = {}


def main() -> None:
    """Serves a `harness`."""
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or hard > _MOST_DATA:
        resource.setrlimit(resource.RLIMIT_DATA, (_MOST_DATA, hard))
    logging.getLogger().addHandler(logging.NullHandler())  # a record is no output
    with _opened:
        serve(_answer)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    if "end" in request:
        _opened.close()
        _feeds.clear()
        return {}
    name = request["target"]
    if name not in _feeds:
        _feeds[name] = _opened.enter_context(started(name, Path(request["folder"])))
    if "seed" not in request:
        return {"mb": _megabytes("VmRSS")}
    return {**_fed(name, request["seed"]), "mb": _megabytes("VmRSS")}


def _fed(name: str, seed: int) -> dict[str, Any]:
    """Feeds the input of a seed; tells the outcome, or what is wrong."""
    chance = random.Random(f"{name}/{seed}")
    Path("/proc/self/clear_refs").write_text("5")  # the most memory is counted from here
    before = _megabytes("VmRSS")
    printed = os.fstat(2).st_size
    outcome, wrong = Outcome.REFUSED, ""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", category=ResourceWarning)
        try:
            outcome = _feeds[name](chance)
        except VidsimError as error:
            if not str(error).strip():
                wrong = "an error says nothing"
        except Exception:
            wrong = where_raised(traceback.format_exc())
    grown = _megabytes("VmHWM") - before
    if not wrong and told:
        warning = told[0]
        wrong = f"{warning.category.__name__}: {warning.message} ({warning.filename})"
    if not wrong and os.fstat(2).st_size > printed:
        wrong = "something was printed to stderr"
    if not wrong and grown > TARGETS[name].memory_mb:
        wrong = f"it took {grown} MB of memory"
    return {"wrong": wrong} if wrong else {"outcome": outcome.value}


def _megabytes(kind: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{kind}:"):
            return int(line.split()[1]) // 1024
    return 0
