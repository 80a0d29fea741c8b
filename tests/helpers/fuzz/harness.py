"""Feeds inputs to targets, each in a process of its own, and tells what came of them."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..answers import where_raised
from ..command_line import environment
from ..served import DiedError, HungError, Served
from .targets import TARGETS, Outcome

_PACKAGE = "vidsim.tests.helpers.fuzz"
_MODULE = f"{_PACKAGE}.worker"
"""What a target's process runs."""

_START_S = 300.0
"""Seconds in which a target makes its files."""

_WARM = 200
"""Inputs after which memory should not grow any more."""

_MOST_GROWTH_MB = 300
"""What may be kept after `_WARM` inputs: caches that have bounds."""


@dataclass
class Fuzzed:
    """What came of the inputs of a target.

    Attributes:
        target: Its name.
        seeds: The first seed, and how many.
        outcomes: How many had which.
        findings: By seed, what is wrong.
        died: Seeds at which a confined child crashed or was ended: no finding, but worth a look.
        spent_s: Seconds of wall clock.
        cpu_s: Of processors.
        grown_mb: Memory that the process had more at the end than once it was warm.
    """

    target: str
    seeds: tuple[int, int]
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    findings: dict[int, str] = field(default_factory=dict)
    died: list[int] = field(default_factory=list)
    spent_s: float = 0.0
    cpu_s: float = 0.0
    grown_mb: int = 0

    @property
    def lines(self) -> list[str]:
        """The findings, with how each is repeated, and where children died."""
        lines = [
            f"{self.target} {seed}: {why}\n    python -m {_PACKAGE} {self.target} 1 {seed}"
            for seed, why in self.findings.items()
        ]
        if self.died:
            lines.append(f"{self.target}: a child died at {', '.join(map(str, self.died))}")
        return lines


@contextmanager
def _process(folder: Path) -> Iterator[Served]:
    changes = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "always"}
    if data := os.environ.get("VIDSIM_TEST_DATA"):
        changes["VIDSIM_TEST_DATA"] = data
    served = Served(_MODULE, environment(folder / "nobody", **changes))
    try:
        yield served
        served.ask({"end": True}, _START_S)  # what it started is then waited for, and counted
    finally:
        served.close()


def fuzz(target: str, number: int, seed: int, folder: Path) -> Fuzzed:
    """Feeds so many inputs from a seed on; files lie under `folder`."""
    found = Fuzzed(target, (seed, number))
    about, base = TARGETS[target], {"target": target}

    def begun() -> int:
        """The memory of a process that is ready, in a folder that no other one has used."""
        base["folder"] = tempfile.mkdtemp(prefix=target, dir=folder)
        ready: int = process.ask(base, _START_S)["mb"]
        return ready

    began, cpu_s = time.monotonic(), _cpu_s()
    with _process(folder) as process:
        warm_mb = begun()
        for n in range(seed, seed + number):
            try:
                answer = process.ask(base | {"seed": n}, about.limit_s)
                if "wrong" in answer:
                    found.findings[n] = answer["wrong"]
                else:
                    outcome = Outcome(answer["outcome"])
                    found.outcomes[outcome] += 1
                    found.died += [n] * (outcome is Outcome.CHILD_DIED)
                if n - seed == _WARM:
                    warm_mb = answer["mb"]
                found.grown_mb = answer["mb"] - warm_mb
                continue
            except HungError as error:
                found.findings[n] = f"no end within {about.limit_s:g} s: {_said(error)}"
            except DiedError as error:
                found.findings[n] = f"the process died: {_said(error)}"
            warm_mb = begun()
        if found.grown_mb > _MOST_GROWTH_MB and number > 2 * _WARM:
            found.findings[seed] = f"memory grew by {found.grown_mb} MB over all inputs"
    found.spent_s, found.cpu_s = time.monotonic() - began, _cpu_s() - cpu_s
    return found


def _said(error: Exception) -> str:
    return f"{where_raised(str(error))}\n{error}"


def _cpu_s() -> float:
    """Seconds of processors of all children that have ended, and theirs."""
    spent = os.times()
    return spent.children_user + spent.children_system


def table(all_: Sequence[Fuzzed]) -> str:
    """What came of all targets, in Markdown."""
    heads = ("target", "seeds", "inputs", *Outcome, "findings", "seconds", "CPU s", "MB grown")
    rows = [[str(head) for head in heads]]
    for each in all_:
        first, number = each.seeds
        rows.append(
            [each.target, f"{first} to {first + number - 1}", f"{number:,}"]
            + [f"{each.outcomes[outcome]:,}" for outcome in Outcome]
            + [str(len(each.findings)), f"{each.spent_s:,.0f}", f"{each.cpu_s:,.0f}"]
            + [str(max(0, each.grown_mb))]
        )
    sums = ["all", "", f"{sum(e.seeds[1] for e in all_):,}"]
    sums += [f"{sum(e.outcomes[outcome] for e in all_):,}" for outcome in Outcome]
    sums += [str(sum(len(e.findings) for e in all_))]
    sums += [f"{sum(e.spent_s for e in all_):,.0f}", f"{sum(e.cpu_s for e in all_):,.0f}", ""]
    rows.append(sums)
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])


def main() -> None:
    """Feeds what the command line names."""
    words = sys.argv[1:]
    names = [*TARGETS] if words[:1] == ["all"] else [w for w in words if w in TARGETS]
    numbers = [int(word) for word in words if word.isdigit()]
    if not names:
        sys.exit(f"Name a target, or all: {', '.join(TARGETS)}")
    number, seed = (numbers + [1, 0][len(numbers) :])[:2]
    found = []
    with tempfile.TemporaryDirectory(prefix="vidsim-fuzz-") as folder:
        for name in names:
            share = max(1, number * TARGETS[name].share // 1000) if words[0] == "all" else number
            found.append(fuzz(name, share, seed, Path(folder)))
            for line in found[-1].lines:
                print(line, flush=True)
            print(table(found[-1:]), file=sys.stderr, flush=True)
    print(table(found))
    sys.exit(any(each.findings for each in found))
