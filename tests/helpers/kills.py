"""A home that is read all the time while its writer is killed at random moments.

Each step is first done in another home that nothing disturbs: what that holds before and after it
is all that readers of the killed one may see.

``python -m vidsim.tests.helpers.kills`` takes how many kills, and a seed.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .answers import Answer, alike, evidence
from .command_line import environment
from .kill_steps import LIMIT_S, STEPS
from .meanwhile import Seen, wrong_in
from .served import Served

_READERS = 3

_PER_STEP = 4
"""Most kills of one command, as it is repeated."""

_SOON = 0.7
"""Part of a command's time after which it is killed at the latest: repeated it has less to do."""


@dataclass(frozen=True)
class _Done:
    """A step that was done.

    Attributes:
        name: Its name, and the round.
        began: When, on the clock that all processes share.
        ended: When it had ended well, after kills.
        before: What the undisturbed home held before it.
        after: What it held then.
    """

    name: str
    began: float
    ended: float
    before: Seen
    after: Seen


@dataclass
class Outcome:
    """What came of it.

    Attributes:
        kills: By name of the step.
        reads: By way of reading.
        meanwhile: Of these, those that were given while a step was being done.
        wrong: What was wrong, a line each.
    """

    kills: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    meanwhile: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def kill_while_read(work: Path, kills: int, seed: int = 0) -> Outcome:
    """Kills the writer of a home under `work` so many times while three processes read it."""
    work = work.resolve()
    home, intact, videos = work / "killed", work / "intact", work / "videos"
    chance = random.Random(seed)
    outcome = Outcome()
    writer = Served("vidsim.tests.helpers.kill_steps", environment(home, **_FEW_THREADS))

    def ask(task: str, where: Path, limit_s: float = LIMIT_S) -> Answer:
        request = {"task": task, "home": str(where), "work": str(videos), "limit_s": limit_s}
        return writer.ask(request, LIMIT_S + 10)

    per_step = min(_PER_STEP, math.ceil(kills / len(STEPS)))
    done: list[_Done] = []
    seen: Seen = ask("look", intact)["result"]
    with _readers(home, work) as logs:
        for turn, (name, step) in itertools.product(range(kills), STEPS.items()):
            if outcome.kills.total() >= kills and name == next(iter(STEPS)):
                break
            step.change(videos, turn)
            began = time.monotonic()
            _needed(ask(name, intact))
            needs_s = time.monotonic() - began
            before, seen = seen, ask("look", intact)["result"]
            began = time.monotonic()
            answer: Answer = {}
            for _ in range(min(per_step, kills - outcome.kills.total())):
                answer = ask(name, home, chance.uniform(0, _SOON * needs_s))
                if "ended" not in answer:
                    break
                outcome.kills[name] += 1
            answer = answer if "result" in answer else ask(name, home)
            named = f"{name} {turn}"
            done.append(_Done(named, began, time.monotonic(), before, seen))
            if "result" not in answer:
                outcome.wrong.append(f"{named} once more: {answer}")
                break
            found = ask("look", home)["result"]
            outcome.wrong += [f"after {named}: {what}" for what in _other(seen, found)]
    writer.close()
    for log in logs:
        _judge(log, done, outcome)
    return outcome


_FEW_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _needed(answer: Answer) -> None:
    assert "result" in answer, answer


@contextmanager
def _readers(home: Path, work: Path) -> Iterator[list[Path]]:
    """Has processes read a home within the block; gives the files of what they have seen."""
    running = []
    logs = [work / f"reader-{number}" for number in range(_READERS)]
    try:
        for number, log in enumerate(logs):
            words = [str(home), str(log), str(work), str(number)]
            code = "from vidsim.tests.helpers.meanwhile import main; main()"
            process = subprocess.Popen(
                [sys.executable, "-c", code, *words],
                stdin=subprocess.PIPE,
                env=environment(home, **_FEW_THREADS),
            )
            running.append(process)
        yield logs
    finally:
        for process in running:
            process.communicate()
    assert [process.returncode for process in running] == [0] * _READERS


def _other(wanted: Seen, found: Seen) -> list[str]:
    """In which ways a home does not hold what it should."""
    return [
        f"{way}: {found[way]}, not {of}"
        for way, of in wanted.items()
        if not alike(of, found[way]) or wrong_in(way, [wanted], found[way])
    ]


def _judge(log: Path, done: Sequence[_Done], outcome: Outcome) -> None:
    """Judges all that one reader has seen."""
    last: dict[str, tuple[str, set[str]]] = {}
    for line in log.read_text().splitlines():
        read = json.loads(line)
        way = read["way"]
        outcome.reads[way] += 1
        of = [s for s in done if s.began <= read["ended"] and s.ended >= read["began"]]
        ended = [s for s in done if s.ended < read["began"]]
        if of:
            states = [of[0].before, *(s.after for s in of)]
            outcome.meanwhile[way] += 1
        else:
            states = [ended[-1].after if ended else done[0].before]
        where = f"{log.name}, during {', '.join(s.name for s in of) or 'nothing'}: {way}"
        if what := wrong_in(way, states, read["answer"]):
            outcome.wrong.append(f"{where}: {what}")
        outcome.wrong += [f"{where}: it warned: {warning}" for warning in read["warned"]]
        if len(of) == 1 and "result" in read["answer"]:
            new = _new(way, of[0], read["answer"]["result"])
            step, before = last.get(way, ("", set()))
            if step == of[0].name and (back := before - new):
                outcome.wrong.append(f"{where}: {min(back)} went back to what it was")
            last[way] = of[0].name, new


def _new(way: str, step: _Done, result: Any) -> set[str]:
    """The videos that are seen as they are after a step and were not before it."""
    if way not in ("query", "videos", "export"):
        return set()
    results = (step.before[way].get("result"), step.after[way].get("result"), result)
    before, after, found = (_by_video(way, each) for each in results)
    changed = {i for i in before.keys() | after.keys() if not alike(before.get(i), after.get(i))}
    return {i for i in changed if alike(after.get(i), found.get(i))}


def _by_video(way: str, result: Any) -> dict[str, Any]:
    if way == "query":
        return evidence(result[0]["result"]) if result and "result" in result[0] else {}
    return result or {}


def table(outcome: Outcome) -> str:
    """Kills and reads, in Markdown."""
    lines = ["| step | kills |", "|---|---|"]
    lines += [f"| {name} | {number} |" for name, number in outcome.kills.items()]
    lines += ["", "| read | times | while a step was being done |", "|---|---|---|"]
    lines += [f"| {way} | {n} | {outcome.meanwhile[way]} |" for way, n in outcome.reads.items()]
    return "\n".join(lines)


def main() -> None:
    """Runs `kill_while_read` for the command line."""
    numbers = [int(word) for word in sys.argv[1:]] or [50]
    with tempfile.TemporaryDirectory() as folder:
        outcome = kill_while_read(Path(folder), *numbers)
    for line in outcome.wrong:
        print(line)
    print(table(outcome))


if __name__ == "__main__":
    main()
