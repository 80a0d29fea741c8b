"""One damaged file of a home at a time, and what its queries say then.

``python -m vidsim.tests.helpers.damage 500 7`` prints the table of as many trials of seed 7.
"""

from __future__ import annotations

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
from .copies import Copy
from .damages import DAMAGES, LISTS, Damager, Trial
from .full_home import fill, fill_again
from .served import DiedError, HungError, Served, serve

_LIMIT_S = 60.0
"""What takes a second or two, and as long as this on a busy machine, hangs."""

_TRUTH = ("shards/", "backbones/", "fusion-weights.json", "settings.env")
"""What is made from nothing else: everything beside it `verify --repair` makes anew."""

_VERIFIED = ("shards/", "milvus.db/", "backbones/")
"""What `verify` reads; half of what is not a shard is verified before it is repaired."""

_OTHERS = ("libraries", "duplicates")
"""What is asked beside queries."""


@dataclass(frozen=True)
class Finding:
    """What came of a trial.

    Attributes:
        trial: The trial.
        query: The worst answer to the questions.
        verify: What `verify` did; None where it was not asked.
        repaired: The worst that came of `verify --repair`; None where it was not asked.
        restored: The worst after its advice was followed; None where there was none.
    """

    trial: Trial
    query: Judgement
    verify: Judgement | None = None
    repaired: Judgement | None = None
    restored: Judgement | None = None

    @property
    def told(self) -> dict[str, Judgement]:
        """What came of each step."""
        steps = {
            "answers": self.query,
            "verify": self.verify,
            "after repair": self.repaired,
            "after its advice": self.restored,
        }
        return {step: judged for step, judged in steps.items() if judged}

    @property
    def wrong(self) -> list[str]:
        """What is wrong of it, a line each."""
        trial = self.trial
        return [
            f"{trial.path}, {trial.damage} (seed {trial.seed}), {what}: "
            f"{judged.verdict}: {judged.why}"
            for what, judged in self.told.items()
            if judged.verdict.bad
        ]


class Harness:
    """A full home, and a process that looks at damaged copies of it."""

    def __init__(self, work: Path) -> None:
        """Makes the home under `work`."""
        self._work = work / "work"
        home = work / "home"
        self._questions = fill(home, self._work)
        self._damager = Damager(home, self._work / "earlier")
        self.plan = self._damager.plan
        self._copy = Copy(home, work / "copy")
        self._served = Served("vidsim.tests.helpers.damage", environment(self._copy.path))
        self._intact = self._answers()

    def _answers(self) -> list[Answer]:
        found: list[Answer] = self._ask("ask")
        return found

    def _ask(self, task: str) -> Any:
        request = {"home": str(self._copy.path), "work": str(self._work), "task": task}
        return self._served.ask(
            request | {"questions": [asdict(q) for q in self._questions]}, _LIMIT_S
        )

    def run(self, trials: Sequence[Trial], repair: bool = False) -> Iterator[Finding]:
        """Tries them one after another; with `repair` also verifies and repairs."""
        for trial in trials:
            self._copy.renew()
            self._damager.damage(self._copy.path, trial)
            query = _guarded(self._judge)
            if not repair:
                yield Finding(trial, query)
                continue
            verify = None
            if trial.path.startswith(_VERIFIED) and (trial.of_shard or trial.seed % 2):
                verify = _guarded(lambda trial=trial: self._verified(trial))
            repaired = _guarded(lambda trial=trial: self._repaired(trial))
            restored = None
            if trial.of_shard and not repaired.verdict.bad:
                restored = _guarded(lambda trial=trial: self._restored(trial))
            yield Finding(trial, query, verify, repaired, restored)

    def _judge(self) -> Judgement:
        return judge_all(self._intact, self._answers(), [*self._questions, *_OTHERS])

    def _verified(self, trial: Trial) -> Judgement:
        """Verifies: a shard that is not as it was must be named."""
        found = self._ask("verify")
        name = str(self._copy.path / trial.path)
        if "result" in found and trial.of_shard:
            damage = found["result"]["damage"]
            alone = trial.paths == [trial.path]  # else only what can be read is known
            if (alone or "deleted" not in trial.damage) and not any(name in s for s in damage):
                return Judgement(Verdict.WRONG, f"{name} is not named: {damage}")
        return _judge_task(found)

    def _repaired(self, trial: Trial) -> Judgement:
        """Repairs: what is derived is well again, and what is intact stays as it is."""
        if (found := _judge_task(self._ask("repair"))).verdict not in (Verdict.SAME, Verdict.NOTED):
            return found
        if changed := self._copy.changed(_TRUTH, trial.paths):
            if not (trial.of_shard and all(c.endswith(LISTS) for c in changed)):
                return Judgement(Verdict.WRONG, f"{', '.join(changed)} was changed by the repair")
        of_milvus = trial.path.startswith("milvus.db/")  # which no query of the home reads
        found = _judge_task(self._ask("verify")) if of_milvus else self._judge()
        derived = not trial.path.startswith(_TRUTH)
        if derived and found.verdict in (Verdict.NOTED, Verdict.REFUSED):
            return Judgement(Verdict.WRONG, f"not repaired: {found.why}")
        return found

    def _restored(self, trial: Trial) -> Judgement:
        """Puts a shard back, or ingests again: all is well, and no row of Milvus was lost."""
        if trial.seed % 2:
            self._copy.put_back([trial.path])
            if trial.paths == [trial.path]:
                found = self._ask("verify")
                if found.get("result", {}).get("missing"):
                    return Judgement(Verdict.WRONG, f"rows of Milvus are lost: {found['result']}")
            done = self._ask("repair")
        else:
            done = self._ask("ingest")
        if (found := _judge_task(done)).verdict not in (Verdict.SAME, Verdict.NOTED):
            return Judgement(Verdict.STUCK, found.why)
        for found in (_judge_task(self._ask("verify")), self._judge()):
            if found.verdict is not Verdict.SAME:
                return Judgement(Verdict.STUCK, f"{found.verdict}: {found.why}")
        return Judgement(Verdict.SAME)

    def close(self) -> None:
        """Ends the process, and removes the copy."""
        self._served.close()
        shutil.rmtree(self._copy.path, ignore_errors=True)


def _guarded(look: Callable[[], Judgement]) -> Judgement:
    try:
        return look()
    except HungError as error:
        return Judgement(Verdict.HANG, str(error))
    except DiedError as error:
        return Judgement(Verdict.TRACEBACK, str(error))


def _judge_task(found: Answer) -> Judgement:
    if "traceback" in found:
        return Judgement(Verdict.TRACEBACK, where_raised(found["traceback"]))
    if "refused" in found:
        return Judgement(Verdict.REFUSED, found["refused"])
    told = [str(v) for v in found["result"].values() if v]
    return Judgement(Verdict.NOTED if told else Verdict.SAME, "; ".join(told)[:500])


def table(findings: Sequence[Finding]) -> str:
    """What was answered, by kind of file and damage, in Markdown."""
    cells: dict[tuple[str, str], Counter[Verdict]] = defaultdict(Counter)
    for finding in findings:
        cells[finding.trial.kind, finding.trial.damage][finding.query.verdict] += 1
    rows = [["file", *DAMAGES]]
    for kind in sorted({f.trial.kind for f in findings}):
        told = [cells[kind, name] for name in DAMAGES]
        rows.append([kind, *(_counts(each) for each in told)])
    steps: dict[str, Counter[Verdict]] = defaultdict(Counter)
    for finding in findings:
        for step, judged in finding.told.items():
            steps[step][judged.verdict] += 1
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    told_steps = [f"{step}: {_counts(found)}" for step, found in steps.items()]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:], "", *told_steps])


def _counts(found: Counter[Verdict]) -> str:
    return ", ".join(f"{found[v]} {v}" for v in Verdict if found[v])


def _answer(request: dict[str, Any]) -> Any:
    home = Path(request["home"])
    match request["task"]:
        case "ask":
            questions = [
                Question(**{**q, "libraries": tuple(q["libraries"])}) for q in request["questions"]
            ]
            return [
                *ask(home, questions),
                attempt(partial(_list, home)),
                attempt(partial(_pairs, home)),
            ]
        case "ingest":
            return attempt(partial(_ingest, home, Path(request["work"])))
    return attempt(partial(_verify, home, request["task"] == "repair"))


def _list(home: Path) -> dict[str, Any]:
    with Library.open(home) as library:
        libraries = [each.model_dump(mode="json") for each in library.libraries()]
        videos = [each.model_dump(mode="json", exclude={"stored_at"}) for each in library.videos()]
    notes = [sentence for each in libraries for sentence in each.pop("damage")]
    return {"libraries": libraries, "videos": videos, "notes": notes}


def _pairs(home: Path) -> dict[str, Any]:
    with Library.open(home) as library:
        return library.duplicates("birds").model_dump(mode="json")


def _ingest(home: Path, work: Path) -> dict[str, Any]:
    fill_again(home, work)
    with Library.open(home) as library:  # only a person knows that an import brought back all
        library.verify("roads", repair=True, give_up=True)
    return {}


def _verify(home: Path, repair: bool) -> dict[str, Any]:
    """What is not well, by what tells it."""
    with Library.open(home) as library:
        report = library.verify(sample="all", repair=repair)
    wrong = [c.model_dump(mode="json") for c in report.comparisons if c.wrong]
    return {
        "damage": report.damage,
        "notes": report.notes,
        "differs": wrong,
        "missing": [c for c in wrong if c["missing"] or c["differing"]],
    }


def main() -> None:
    """Serves a `Harness`, or on the command line is one: number of trials, and their seed."""
    if len(sys.argv) < 2:
        serve(_answer, 2 * _LIMIT_S)
        return
    number, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(Path(folder))
        findings = []
        for finding in harness.run(harness.plan(number, seed), repair=True):
            findings.append(finding)
            for line in finding.wrong:
                print(line, flush=True)
        harness.close()
    print(table(findings))


if __name__ == "__main__":
    main()
