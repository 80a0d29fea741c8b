"""One damaged file of a home at a time, and what its queries say then.

``python -m vidsim.tests.helpers.damage 500`` prints the table of as many trials.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vidsim.search.library import Library

from .answers import Answer, Judgement, Question, Verdict, ask, attempt, judge_all, where_raised
from .command_line import environment
from .full_home import fill
from .served import DiedError, HungError, Served, serve

_LIMIT_S = 20.0
"""A query of a stored video takes a second; what takes as long as this hangs."""

_PAGE = 4096

_TRUTH = ("shards/", "backbones/", "fusion-weights.json", "settings.env")
"""What is made from nothing else: everything beside it `verify --repair` makes anew."""

_MAY_GO = ("fusion-weights.json", "settings.env")
"""What a person may delete: of the former queries say so, the latter a person wrote."""


def _deleted(content: bytes, chance: random.Random) -> None:
    return None


def _emptied(content: bytes, chance: random.Random) -> bytes:
    return b""


def _truncated(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def _byte(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    return _overwritten(content, place, bytes([content[place] ^ chance.randrange(1, 256)]))


def _page(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(0, len(content), _PAGE)
    return _overwritten(content, place, bytes(min(_PAGE, len(content) - place)))


def _zeros(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(max(1, len(content) - 16))
    return _overwritten(content, place, bytes(min(16, len(content))))


def _digit(content: bytes, chance: random.Random) -> bytes:
    places = [m.start() for m in re.finditer(rb"\d", content)]
    if not places:
        return content
    place = chance.choice(places)
    others = [d for d in b"0123456789" if d != content[place]]
    return _overwritten(content, place, bytes([chance.choice(others)]))


def _overwritten(content: bytes, place: int, new: bytes) -> bytes:
    return content[:place] + new + content[place + len(new) :]


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes | None]] = {
    "deleted": _deleted,
    "emptied": _emptied,
    "truncated": _truncated,
    "a byte changed": _byte,
    "a page zeroed": _page,
    "16 bytes zeroed": _zeros,
    "a digit changed": _digit,
}
"""What the file holds afterwards, None for no file."""

_TEXTS = (".json", ".prev", ".env")


@dataclass(frozen=True)
class Trial:
    """One damage to one file.

    Attributes:
        path: The file, relative to the home.
        kind: Of the file.
        damage: One of `DAMAGES`.
        seed: Decides where the file is damaged.
    """

    path: str
    kind: str
    damage: str
    seed: int


@dataclass(frozen=True)
class Finding:
    """What came of a trial.

    Attributes:
        trial: The trial.
        query: The worst answer to the questions.
        verify: What `verify` did; None where it was not asked.
        repaired: The worst answer after `verify --repair`; None where it was not asked.
    """

    trial: Trial
    query: Judgement
    verify: Judgement | None = None
    repaired: Judgement | None = None

    @property
    def wrong(self) -> list[str]:
        """What is wrong of it, a line each."""
        told = {"query": self.query, "verify": self.verify, "after repair": self.repaired}
        return [
            f"{self.trial.path}, {self.trial.damage} (seed {self.trial.seed}), {what}: "
            f"{judged.verdict}: {judged.why}"
            for what, judged in told.items()
            if judged and judged.verdict.bad
        ]


def kinds(home: Path) -> dict[str, list[str]]:
    """The files of a home by kind: the folder at the top, and what their names have in common."""
    files = sorted(str(p.relative_to(home)) for p in home.rglob("*") if p.is_file())
    patterns: dict[str, set[str]] = defaultdict(set)
    for path in files:
        patterns[_pattern(path)].add(str(Path(path).parent))
    found: dict[str, list[str]] = defaultdict(list)
    for path in files:
        pattern = _pattern(path)
        top, _, name = pattern.rpartition("/")
        if top and len(patterns[pattern]) == 1 and Path(path).suffix:
            name = f"*{Path(path).suffix}"
        found[f"{top}/{name}" if top else name].append(path)
    return dict(found)


def _pattern(path: str) -> str:
    top, _, rest = path.partition("/")
    name = re.sub(r"[\d_]+", "*", Path(path).stem) + Path(path).suffix if rest else top
    return f"{top}/{name}" if rest else name


def plan(home: Path, number: int, seed: int = 0) -> list[Trial]:
    """So many trials, spread over all kinds of files and damages."""
    chance = random.Random(seed)
    trials: list[Trial] = []
    while len(trials) < number:
        turn = [
            Trial(chance.choice(files), kind, damage, chance.randrange(1 << 30))
            for kind, files in kinds(home).items()
            for damage in DAMAGES
        ]
        chance.shuffle(turn)
        trials += filter(partial(_changes, home), turn)
    return trials[:number]


def _changes(home: Path, trial: Trial) -> bool:
    """Whether a trial is one: it changes the file, and nobody may do that."""
    if trial.damage == "deleted":
        return trial.kind not in _MAY_GO
    if trial.damage == "a digit changed" and not trial.path.endswith(_TEXTS):
        return False
    content = (home / trial.path).read_bytes()
    return bool(content) and _damaged(trial, content) != content


def _damaged(trial: Trial, content: bytes) -> bytes | None:
    return DAMAGES[trial.damage](content, random.Random(trial.seed))


def damage(home: Path, trial: Trial) -> None:
    """Damages a file as a bad disk does, which changes no date."""
    path = home / trial.path
    dates = path.stat()
    content = _damaged(trial, path.read_bytes())
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
        os.utime(path, ns=(dates.st_atime_ns, dates.st_mtime_ns))


class Harness:
    """A full home, and a process that looks at damaged copies of it."""

    def __init__(self, work: Path) -> None:
        """Makes the home under `work`."""
        self.home = work / "home"
        self._copy = work / "copy"
        self._questions = fill(self.home, work / "work")
        self._served = Served("vidsim.tests.helpers.damage", environment(self._copy))
        self._intact = self._queried(self._copied())

    def _copied(self) -> Path:
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self.home, self._copy)
        return self._copy

    def _queried(self, home: Path) -> list[Answer]:
        return self._ask(home, "query")

    def _ask(self, home: Path, task: str) -> Any:
        questions = [asdict(q) for q in self._questions] if task == "query" else []
        request = {"home": str(home), "task": task, "questions": questions}
        return self._served.ask(request, _LIMIT_S)

    def run(self, trials: Sequence[Trial], repair: bool = False) -> Iterator[Finding]:
        """Tries them one after another; with `repair` also verifies and repairs."""
        for trial in trials:
            damage(self._copied(), trial)
            query = self._guarded(lambda: self._judge(self._queried(self._copy)))
            if not repair:
                yield Finding(trial, query)
                continue
            verify = self._guarded(lambda: _judge_task(self._ask(self._copy, "verify")))
            if verify.verdict is Verdict.SAME and trial.path.endswith(".h5"):
                verify = Judgement(Verdict.WRONG, "all is said to be well")
            repaired = self._guarded(lambda: _judge_task(self._ask(self._copy, "repair")))
            if not repaired.verdict.bad:
                repaired = self._guarded(lambda: self._judge(self._queried(self._copy)))
                derived = not trial.path.startswith(_TRUTH)
                if derived and repaired.verdict in (Verdict.NOTED, Verdict.REFUSED):
                    repaired = Judgement(Verdict.WRONG, f"not repaired: {repaired.why}")
            yield Finding(trial, query, verify, repaired)

    def _judge(self, found: list[Answer]) -> Judgement:
        return judge_all(self._intact, found, self._questions)

    def _guarded(self, look: Callable[[], Judgement]) -> Judgement:
        try:
            return look()
        except HungError as error:
            return Judgement(Verdict.HANG, str(error))
        except DiedError as error:
            return Judgement(Verdict.TRACEBACK, str(error))

    def close(self) -> None:
        """Ends the process, and removes the copy."""
        self._served.close()
        shutil.rmtree(self._copy, ignore_errors=True)


def _judge_task(found: Answer) -> Judgement:
    if "traceback" in found:
        return Judgement(Verdict.TRACEBACK, where_raised(found["traceback"]))
    if "refused" in found:
        return Judgement(Verdict.REFUSED, found["refused"])
    return Judgement(Verdict.SAME if found["result"] else Verdict.NOTED)


def table(findings: Sequence[Finding]) -> str:
    """What queries said, by kind of file and damage, in Markdown."""
    cells: dict[tuple[str, str], Counter[Verdict]] = defaultdict(Counter)
    for finding in findings:
        cells[finding.trial.kind, finding.trial.damage][finding.query.verdict] += 1
    rows = [["file", *DAMAGES]]
    for kind in sorted({f.trial.kind for f in findings}):
        told = [cells[kind, name] for name in DAMAGES]
        rows.append([kind, *(", ".join(f"{c[v]} {v}" for v in Verdict if c[v]) for c in told)])
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _answer(request: dict[str, Any]) -> Any:
    home = Path(request["home"])
    if request["task"] == "query":
        questions = [
            Question(**{**q, "libraries": tuple(q["libraries"])}) for q in request["questions"]
        ]
        return ask(home, questions)
    return attempt(partial(_verify, home, request["task"] == "repair"))


def _verify(home: Path, repair: bool) -> bool:
    """Whether all is well."""
    with Library.open(home) as library:
        report = library.verify(sample="all", repair=repair)
    return not report.notes and not any(c.wrong for c in report.comparisons)


def main() -> None:
    """Serves a `Harness`, or on the command line is one."""
    if len(sys.argv) < 2:
        serve(_answer, 2 * _LIMIT_S)
        return
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(Path(folder))
        findings = []
        for finding in harness.run(plan(harness.home, int(sys.argv[1])), repair=True):
            findings.append(finding)
            for line in finding.wrong:
                print(line, flush=True)
        harness.close()
    print(table(findings))


if __name__ == "__main__":
    main()
