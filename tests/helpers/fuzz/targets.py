"""What is fed, and what it may cost."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Outcome(StrEnum):
    """What became of an input, where nothing is wrong with that."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    CHILD_DIED = "a child died"
    """It was refused, or given in part, since a confined child crashed or was ended."""


Feed = Callable[[random.Random], Outcome]
"""Makes one input of a generator, and feeds it.

A `VidsimError` that it lets through counts as refused, anything else as a finding; the errors that
a parser documents it catches itself.
"""


@dataclass(frozen=True)
class Target:
    """Something that reads what others wrote.

    Attributes:
        about: What is fed.
        share: Of every 1,000 inputs of ``all``, how many are its.
        in_tests: Inputs of the acceptance test.
        limit_s: Seconds that one input may take.
        memory_mb: By how much the process may grow within one input.
    """

    about: str
    share: int
    in_tests: int
    limit_s: float = 20.0
    memory_mb: int = 256

    # A module of the target's name in this package has `started`.


TARGETS = {
    "filters": Target("filter expressions, and what they select", 270, 4000),
    "texts": Target("times, regions, lists, tables, settings, JSON of a home", 200, 3000),
    "protocol": Target("what children say to every part that has one", 200, 3000),
    "http": Target("paths, queries, headers, bodies of the app", 160, 1500),
    "sockets": Target("bytes at the port of a server that runs", 20, 300),
    "audioset": Target("TFRecords, intact frames with spoiled records, class lists", 60, 800),
    "hdf5": Target("exports of both layouts, shards", 30, 400, limit_s=200.0),
    "checkpoints": Target("weights for torch and NumPy, descriptions", 10, 120, memory_mb=1024),
    "media": Target("files of all containers and codecs", 50, 600, limit_s=400.0),
}


def started(name: str, folder: Path) -> AbstractContextManager[Feed]:
    """Starts a target, with its files under `folder`."""
    module = importlib.import_module(f"{__package__}.{name}")
    begin: Callable[[Path], AbstractContextManager[Feed]] = module.started
    return begin(folder)
