"""A command struck at one of the calls by which it changes files, and what is left of it.

``python -m vidsim.tests.helpers.interruptions`` strikes at every call of every command; names of
commands (`COMMANDS`) choose some, a number how many strikes of all.
"""

from __future__ import annotations

import errno
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from .answers import (
    Answer,
    Judgement,
    Verdict,
    alike,
    judge_all,
    judge_between,
    where_raised,
    worst,
)
from .command_line import environment
from .commands import COMMANDS, QUESTIONS
from .served import Served
from .struck import LIMIT_S

_KILLED = 137
"""What the process ends with that is struck down."""

STRIKES = {
    "killed before": 1,
    "killed within": 2,
    "killed after": 3,
    "disk full": -errno.ENOSPC,
    "disk error": -errno.EIO,
}
"""As strikes.c has them."""


@dataclass(frozen=True)
class Call:
    """A call that changes a file.

    Attributes:
        number: From 1.
        name: Such as ``write``.
        path: Relative to the home.
    """

    number: int
    name: str
    path: str


@dataclass(frozen=True)
class Strike:
    """A command, one of its calls, and what happens to that."""

    command: str
    call: Call
    how: str

    def __str__(self) -> str:
        call = self.call
        return f"{self.command}, {self.how} call {call.number} ({call.name} {call.path})"


@dataclass(frozen=True)
class Finding:
    """What came of a strike.

    Attributes:
        strike: The strike.
        struck: What the struck command itself came to, where it was not killed.
        read: What queries said before anything else was done.
        again: What the same command came to, once more.
        kept: Whether all is then as after a run that was not disturbed.
    """

    strike: Strike
    struck: Judgement
    read: Judgement
    again: Judgement
    kept: Judgement

    @property
    def verdict(self) -> Verdict:
        """The worst of all."""
        return worst([self.struck, self.read, self.again, self.kept]).verdict

    @property
    def wrong(self) -> list[str]:
        """What is wrong of it, a line each."""
        parts = {
            "the command": self.struck,
            "a query after it": self.read,
            "the same command again": self.again,
            "what is kept then": self.kept,
        }
        return [
            f"{self.strike}: {what}: {judged.verdict}: {judged.why}"
            for what, judged in parts.items()
            if judged.verdict.bad
        ]


@dataclass(frozen=True)
class _Prepared:
    """A command with the home that it changes.

    Attributes:
        home: Before it.
        work: What it reads.
        calls: By which it changes files.
        before: What the questions are answered before it.
        made: What there is before it of what it makes.
        after: All that can be known of the home after it.
    """

    home: Path
    work: Path
    calls: list[Call]
    before: list[Answer]
    made: dict[str, str]
    after: dict[str, Any]


class Harness:
    """Homes before each command, and a process that runs and strikes them."""

    def __init__(self, work: Path, commands: Sequence[str] = tuple(COMMANDS)) -> None:
        """Makes the homes of the named commands under `work`.

        Raises:
            FileNotFoundError: There is no compiler.
        """
        self._work = work.resolve()
        self._home = self._work / "struck"
        self._log = self._work / "calls"
        library = self._work / "strikes.so"
        source = Path(__file__).with_name("strikes.c")
        compile_ = ["cc", "-shared", "-fPIC", "-O2", "-o", str(library), str(source), "-ldl"]
        subprocess.run(compile_, check=True)
        self._served = Served(
            "vidsim.tests.helpers.struck",
            environment(
                self._home,
                LD_PRELOAD=str(library),
                OMP_NUM_THREADS="1",
                OPENBLAS_NUM_THREADS="1",
                VIDSIM_CACHE=str(self._work / "cache"),
            ),
        )
        self._prepared = {name: self._prepare(name) for name in commands}

    def _prepare(self, command: str) -> _Prepared:
        home, work = self._work / command / "home", self._work / command / "work"
        _needed(self._ask("prepare", command, home, work))
        before = _needed(self._ask("questions", command, self._copied(home), work))
        made = _needed(self._ask("made", command, self._copied(home), work))
        self._copied(home)
        _needed(self._ask("run", command, self._home, work, at=0, how=0))
        calls = self._calls()
        after = _needed(self._ask("state", command, self._home, work))
        return _Prepared(home, work, calls, before, made, after)

    def _calls(self) -> list[Call]:
        lines = self._log.read_text().splitlines()
        return [Call(n, *line.split(" ", 1)) for n, line in enumerate(lines, start=1)]

    def _copied(self, home: Path) -> Path:
        shutil.rmtree(self._home, ignore_errors=True)
        if home.exists():
            shutil.copytree(home, self._home)
        return self._home

    def _ask(self, task: str, command: str, home: Path, work: Path, **more: Any) -> Any:
        request = {"task": task, "command": command, "home": str(home), "work": str(work)}
        return self._served.ask(request | {"log": str(self._log)} | more, LIMIT_S + 10)

    def strikes(self) -> list[Strike]:
        """Every strike at every call, of many writes to a file at the first, a middle and the last.

        What is there after a call is what is there before the next one, so only the last call has
        the process killed after it.
        """
        found = []
        for command, prepared in self._prepared.items():
            for call in _telling(prepared.calls):
                for how in STRIKES:
                    if how == "killed within" and call.name != "write":
                        continue
                    if how == "killed after" and call.number < len(prepared.calls):
                        continue
                    found.append(Strike(command, call, how))
        return found

    def some(self, number: int, seed: int = 0) -> list[Strike]:
        """So many strikes, spread over the commands and the kinds of calls."""
        chance = random.Random(seed)
        by_kind: dict[str, dict[tuple[str, ...], list[Strike]]] = defaultdict(dict)
        for strike in self.strikes():
            path = Path(strike.call.path)
            kind = (strike.call.name, path.parts[0], path.suffix, strike.how)
            by_kind[strike.command].setdefault(kind, []).append(strike)
        chosen: list[Strike] = []
        while len(chosen) < number:
            for kinds in by_kind.values():
                chosen.append(chance.choice(kinds[chance.choice(sorted(kinds))]))
        return chosen[:number]

    def run(self, strikes: Sequence[Strike]) -> Iterator[Finding]:
        """Strikes one after another, each in a home of its own."""
        for strike in strikes:
            prepared = self._prepared[strike.command]
            home = self._copied(prepared.home)
            ask_ = partial(self._ask, command=strike.command, home=home, work=prepared.work)
            struck = _judge_run(ask_("run", at=strike.call.number, how=STRIKES[strike.how]))
            strike = replace(strike, call=self._call(strike.call))
            read = worst(
                [_judge_read(prepared, ask_("questions")), _judge_made(prepared, ask_("made"))]
            )
            again = _judge_run(ask_("run", at=0, how=0))
            if again.verdict is Verdict.REFUSED:
                again = Judgement(Verdict.STUCK, again.why)
            kept = Judgement(Verdict.SAME)
            if not again.verdict.bad:
                kept = _judge_state(prepared.after, ask_("state"))
                if not kept.verdict.bad and _unfinished(home):
                    ask_("reindex")  # a removal of what is gone need not write
                    if left := _unfinished(home):
                        kept = Judgement(Verdict.LITTER, ", ".join(sorted(left)))
            yield Finding(strike, struck, read, again, kept)

    def _call(self, planned: Call) -> Call:
        """The call that was struck: threads may have come to it in another order than planned."""
        return next((call for call in self._calls() if call.number == planned.number), planned)

    def close(self) -> None:
        """Ends the process."""
        self._served.close()


def _telling(calls: Sequence[Call]) -> Iterator[Call]:
    """Of each run of writes to one file, yields the first, a middle and the last one."""
    for _, each in groupby(calls, key=lambda c: (c.name, c.path)):
        run = list(each)
        yield from (run[n] for n in sorted({0, len(run) // 2, len(run) - 1}))


def _needed(found: Answer) -> Any:
    assert "result" in found, found
    return found["result"]


def _judge_run(found: Answer) -> Judgement:
    if "result" in found or found.get("ended") == _KILLED:
        return Judgement(Verdict.SAME)
    if "refused" in found:
        return Judgement(Verdict.REFUSED, found["refused"])
    return _judge_broken(found)


def _judge_broken(found: Answer) -> Judgement:
    if "traceback" in found:
        return Judgement(Verdict.TRACEBACK, where_raised(found["traceback"]))
    if found["ended"] is None:
        return Judgement(Verdict.HANG, f"it took more than {LIMIT_S:g} s")
    return Judgement(Verdict.TRACEBACK, f"it ended with {found['ended']}")


def _judge_read(prepared: _Prepared, found: Answer) -> Judgement:
    if "result" not in found:
        return _judge_broken(found)
    each = zip(prepared.before, prepared.after["answers"], found["result"], strict=True)
    return worst([judge_between(*answers) for answers in each])


def _judge_made(prepared: _Prepared, found: Answer) -> Judgement:
    """Judges what there is of what a command makes: each as before it or as after it."""
    if "result" not in found:
        return _judge_broken(found)
    before, after, now = prepared.made, prepared.after["made"], found["result"]
    for name in before.keys() | after.keys() | now.keys():
        if now.get(name) not in (before.get(name), after.get(name)):
            return Judgement(Verdict.WRONG, f"{name} is neither as before nor as after")
    return Judgement(Verdict.SAME)


def _judge_state(wanted: dict[str, Any], found: Answer) -> Judgement:
    """Compares all that can be known of a home with what it should be."""
    if "result" not in found:
        return _judge_run(found)
    state = found["result"]
    for name in ("differs", "videos", "libraries", "made"):
        if not alike(wanted[name], state[name]):
            why = f"{name}: {str(state[name])[:1000]}, not {str(wanted[name])[:1000]}"
            return Judgement(Verdict.WRONG, why)
    told = _notes(state["answers"]) - _notes(wanted["answers"])
    if told:
        return Judgement(Verdict.WRONG, f"a note stays: {min(told)}")
    return judge_all(wanted["answers"], state["answers"], QUESTIONS)


def _notes(answers: Sequence[Answer]) -> set[str]:
    return {note for answer in answers for note in answer.get("result", {}).get("notes", [])}


def _unfinished(home: Path) -> set[str]:
    """Files of a home that are written under another name first, and still have it."""
    return {str(p.relative_to(home)) for p in home.rglob("*") if p.suffix in (".partial", ".tmp")}


def table(findings: Sequence[Finding]) -> str:
    """Verdicts by command and strike, in Markdown."""
    cells: dict[tuple[str, str], Counter[Verdict]] = defaultdict(Counter)
    for finding in findings:
        cells[finding.strike.command, finding.strike.how][finding.verdict] += 1
    rows = [["command", *STRIKES]]
    for command in dict.fromkeys(f.strike.command for f in findings):
        told = [cells[command, how] for how in STRIKES]
        rows.append([command, *(", ".join(f"{c[v]} {v}" for v in Verdict if c[v]) for c in told)])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def main() -> None:
    """Runs a `Harness` for the command line."""
    names = [name for name in sys.argv[1:] if name in COMMANDS]
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(Path(folder), names or tuple(COMMANDS))
        strikes = harness.some(*numbers) if numbers else harness.strikes()
        print(f"{len(strikes)} strikes", flush=True)
        findings = []
        for finding in harness.run(strikes):
            findings.append(finding)
            for line in finding.wrong:
                print(line, flush=True)
        harness.close()
    print(table(findings))


if __name__ == "__main__":
    main()
