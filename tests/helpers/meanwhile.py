"""What is seen of a home in every way of reading, and whether it may be seen.

As a process it looks again and again, and writes down each look with its time.
"""

from __future__ import annotations

import itertools
import json
import logging
import re
import select
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from vidsim.search.library import Library

from .answers import Answer, Verdict, attempt, judge_among, query
from .commands import QUESTIONS

_PAUSE_S = 0.25

_NO_FAULT = re.compile(
    r"Process [1-9]\d* (is still writing \((?!comparison).*\); this is what was finished"
    r"|\(comparison\) reads Milvus Lite;)"
)
"""How notes begin that tell of another process; all others would be about what is stored."""

Seen = dict[str, Any]
"""By way of reading, what came of it: an `Answer`."""


def _queries(library: Library, _: Path) -> list[Answer]:
    answers = [attempt(partial(query, library, q)) for q in QUESTIONS]
    for result in (answer["result"] for answer in answers if "result" in answer):
        result["notes"] = _faults(result["notes"])
    return answers


def _videos(library: Library, _: Path) -> dict[str, str]:
    return {v.video_id: v.damage for v in library.videos()}


def _libraries(library: Library, _: Path) -> list[str]:
    return [sentence for each in library.libraries() for sentence in each.damage]


def _export(library: Library, scratch: Path) -> dict[str, dict[str, int]]:
    """By video and file, a checksum of its rows."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    found: dict[str, dict[str, int]] = {}
    try:
        for path in library.export(folder):
            with h5py.File(path) as file:
                ids, vectors = file["video_ids"].asstr()[:], file["vectors"][:]
            for video_id in np.unique(ids).tolist():
                rows = np.ascontiguousarray(vectors[ids == video_id])
                found.setdefault(video_id, {})[path.name] = zlib.crc32(rows.tobytes())
    finally:
        shutil.rmtree(folder)
    return found


def _verify(library: Library, _: Path) -> list[str]:
    report = library.verify()
    return report.damage + _faults(report.notes)


def _faults(notes: Sequence[str]) -> list[str]:
    return [note for note in notes if not _NO_FAULT.match(note)]


WAYS = {
    "query": _queries,
    "videos": _videos,
    "libraries": _libraries,
    "export": _export,
    "verify": _verify,
}


def look(home: Path, scratch: Path) -> Seen:
    """Looks at a home that nobody writes to in every way."""
    with Library.open(home) as library:
        return {way: attempt(partial(do, library, scratch)) for way, do in WAYS.items()}


def main() -> None:
    """Looks at a home until its input ends: ``HOME LOG SCRATCH NUMBER``.

    Readers with an odd number open the home anew each time, the others keep it open.
    """
    home, log, scratch, number = *map(Path, sys.argv[1:4]), int(sys.argv[4])
    warned: list[str] = []
    listener = logging.Handler(logging.WARNING)
    listener.emit = lambda record: warned.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("vidsim").addHandler(listener)
    kept = Library.open(home)
    with log.open("w", buffering=1) as lines:
        for turn in itertools.count(number):
            if select.select([sys.stdin], [], [], _PAUSE_S)[0]:
                break
            way = list(WAYS)[turn % len(WAYS)]
            library = Library.open(home) if number % 2 else kept
            began = time.monotonic()
            answer = attempt(partial(WAYS[way], library, scratch))
            seen = {"way": way, "began": began, "ended": time.monotonic(), "answer": answer}
            lines.write(json.dumps(seen | {"warned": warned}) + "\n")
            warned.clear()
            if library is not kept:
                library.close()
    kept.close()


def wrong_in(way: str, states: Sequence[Seen], answer: Answer) -> str:
    """What of an answer is in none of the states that the home went through meanwhile."""
    known = [state[way] for state in states]
    if way == "query":
        answers = answer.get("result", [answer] * len(QUESTIONS))
        judged = [_judged(each, answers[i], i) for i, each in enumerate(_by_question(known))]
        return next(filter(None, judged), "")
    if "result" not in answer:
        unsaid = "refused" in answer and any("refused" in k for k in known)
        return "" if unsaid else str(answer)
    found = answer["result"]
    if way in ("libraries", "verify"):
        return "; ".join(found)
    of = [k.get("result", {}) for k in known]
    if lost := set.intersection(*map(set, of)) - found.keys():
        return f"{min(lost)} is not found"
    for video_id, held in found.items():
        if not any(state.get(video_id) == held for state in of):
            return f"{video_id}: {held}, not {[state.get(video_id) for state in of]}"
    return ""


def _by_question(known: Sequence[Answer]) -> list[list[Answer]]:
    each = [k.get("result", [k] * len(QUESTIONS)) for k in known]
    return [list(of) for of in zip(*each, strict=True)]


def _judged(states: Sequence[Answer], answer: Answer, number: int) -> str:
    judged = judge_among(states, answer)
    unsaid = "refused" in answer and any("result" not in s for s in states)
    right = unsaid or judged.verdict is Verdict.SAME
    return "" if right else f"{QUESTIONS[number]}: {judged.verdict}: {judged.why}"
