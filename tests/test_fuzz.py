"""Whatever others write is read, or refused in a sentence: some inputs of each seed, every time.

docs/reliability.md tells of the long run.
"""

from __future__ import annotations

import os
import random
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from vidsim.schemas.errors import StoreError

from .helpers.fuzz import harness, worker
from .helpers.fuzz.harness import Fuzzed, fuzz, table
from .helpers.fuzz.mutations import json_of, mutated, mutated_text, odd_value
from .helpers.fuzz.targets import TARGETS, Outcome


def assert_right(found: Fuzzed, number: int) -> None:
    assert not found.findings, "\n".join(found.lines)
    assert sum(found.outcomes.values()) == number
    assert found.outcomes[Outcome.ACCEPTED]
    assert found.outcomes[Outcome.REFUSED]


@pytest.mark.parametrize(
    ("target", "number"), [("filters", 500), ("texts", 300), ("protocol", 100)]
)
def test_some_odd_inputs_are_read_or_refused(target: str, number: int, tmp_path: Path) -> None:
    assert_right(fuzz(target, number, 0, tmp_path), number)


@pytest.mark.acceptance
@pytest.mark.parametrize("target", TARGETS)
def test_odd_inputs_are_read_or_refused(target: str, tmp_path: Path) -> None:
    number = TARGETS[target].in_tests
    assert_right(fuzz(target, number, 1_000, tmp_path), number)


def test_inputs_follow_from_their_seed() -> None:
    def made() -> list[object]:
        chance = random.Random("x/7")
        data, text = bytes(range(256)), "a == 'b' and c"
        return [
            *(mutated(chance, data, [data, b"other"]) for _ in range(200)),
            *(mutated_text(chance, text, ("and", "or")) for _ in range(200)),
            *(json_of(chance, odd_value(chance)) for _ in range(200)),
        ]

    assert made() == made()
    assert len({repr(one) for one in made()}) > 400


def _refuses(_: random.Random) -> Outcome:
    raise StoreError("a sentence")


def _says_nothing(_: random.Random) -> Outcome:
    raise StoreError("")


def _fails(_: random.Random) -> Outcome:
    raise KeyError("a mistake")


def _warns(_: random.Random) -> Outcome:
    warnings.warn("an overflow", RuntimeWarning, stacklevel=1)
    return Outcome.ACCEPTED


def _takes_memory(_: random.Random) -> Outcome:
    bytearray(500 << 20)
    return Outcome.ACCEPTED


@pytest.mark.parametrize(
    ("feed", "told"),
    [
        (_refuses, {"outcome": "refused"}),
        (_says_nothing, "an error says nothing"),
        (_fails, "KeyError: 'a mistake'"),
        (_warns, "RuntimeWarning: an overflow"),
        (_takes_memory, "MB of memory"),
    ],
)
def test_what_is_wrong_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, feed: object, told: dict[str, str] | str
) -> None:
    monkeypatch.setitem(worker._feeds, "filters", feed)
    found = worker._fed("filters", 0)
    if isinstance(told, str):
        assert told in found["wrong"]
    else:
        assert found == told


def test_a_process_that_ends_or_hangs_is_a_finding_at_its_seed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next seeds come all the same."""
    module = tmp_path / "bad_target.py"
    module.write_text(
        "import os, time\n"
        "from contextlib import contextmanager\n"
        "from vidsim.tests.helpers.fuzz import targets, worker\n"
        "targets.TARGETS['quick'] = targets.TARGETS['filters']\n"
        "def feed(chance):\n"
        "    number = chance.randrange(3)\n"
        "    if number == 0: os._exit(3)\n"
        "    if number == 1: time.sleep(99)\n"
        "    return targets.Outcome.ACCEPTED\n"
        "@contextmanager\n"
        "def started(*_): yield feed\n"
        "worker.started = started\n"
        "main = worker.main\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(harness, "_MODULE", "bad_target")
    monkeypatch.setitem(TARGETS, "quick", replace(TARGETS["filters"], limit_s=2.0))
    kinds = [random.Random(f"quick/{seed}").randrange(3) for seed in range(100)]
    first = next(seed for seed in range(100) if {*kinds[seed : seed + 3]} == {0, 1, 2})
    found = fuzz("quick", 3, first, tmp_path)
    ended, hung, well = (first + kinds[first : first + 3].index(kind) for kind in range(3))
    assert found.findings.keys() == {ended, hung}
    assert found.findings[ended].startswith("the process died: ")
    assert found.findings[hung].startswith("no end within 2 s: ")
    assert found.outcomes == {Outcome.ACCEPTED: 1}
    assert well not in found.findings
    assert f"quick 1 {ended}" in "".join(found.lines)
    assert f"| quick | {first} to {first + 2} | 3 | 1 | 0 | 0 | 2 |" in table([found])
