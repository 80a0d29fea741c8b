"""Importing packages in processes of their own, where a crash or a hang costs that one only."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

_PROBE = Path(__file__).with_name("probe.py")

ONE_S = 60.0
"""Seconds for one package: TensorFlow takes 3 s from memory, and minutes from a slow disk."""

ALL_S = 180.0
"""Seconds for all of them."""


@dataclass(frozen=True)
class Imported:
    """How the import of one module went, or the asking for one fact.

    Attributes:
        fact: What it told.
        wrong: Why it failed; "" where it did not.
    """

    fact: str = ""
    wrong: str = ""


def try_imports(groups: Sequence[Sequence[str]], one_s: float = ONE_S) -> dict[str, Imported]:
    """Import modules, each group in a process of its own, beside the others.

    Args:
        groups: Names of modules, or of facts (see `probe`), in the order of their import.
        one_s: Seconds for each.

    Returns:
        By name, all of them.
    """
    until = time.monotonic() + ALL_S
    with ThreadPoolExecutor(len(groups), "vidsim-probe") as pool:
        ran = pool.map(lambda words: dict(_import(list(words), one_s, until)), groups)
        return {name: of for found in ran for name, of in found.items()}


def _import(words: list[str], one_s: float, until: float) -> Iterator[tuple[str, Imported]]:
    while words:
        if time.monotonic() > until:
            for word in words:
                yield word, Imported(wrong=f"not looked at: others took {ALL_S:g} s")
            return
        told, ended = _run(words, min(one_s, until - time.monotonic()))
        for word, found in told:
            yield word, found
        words = words[len(told) :]
        if words:  # it ended at this one; the next process goes on behind it
            yield words.pop(0), Imported(wrong=ended)


def _run(words: Sequence[str], one_s: float) -> tuple[list[tuple[str, Imported]], str]:
    """Run the probe once.

    Returns:
        What it told, and how it ended.
    """
    reads, writes = os.pipe()
    told: list[tuple[str, Imported]] = []
    try:
        # -P: a numpy.py in the current folder is not numpy.
        child = subprocess.Popen(
            [sys.executable, "-P", str(_PROBE), str(writes), *words],
            pass_fds=(writes,),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    finally:
        os.close(writes)
    unread = b""
    hung = False
    try:
        while True:
            ready, _, _ = select.select([reads], [], [], one_s)
            if not ready:
                hung = True
                break
            part = os.read(reads, 1 << 16)
            if not part:
                break
            *whole, unread = (unread + part).split(b"\n")
            for line in map(json.loads, whole):
                told.append((line["word"], Imported(line["fact"], line["wrong"])))
    finally:
        os.close(reads)
        if hung:
            os.killpg(child.pid, signal.SIGKILL)
        code = child.wait()
    if hung:
        return told, f"it hangs: not imported within {one_s:.0f} s"
    name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return told, f"it ends the process that imports it ({name})"
