"""A damaged file never changes an answer without a word, nor breaks or stops a query.

All that a home can hold is damaged, a file at a time (helpers/damage.py). An answer is the same as
before, says what is wrong, or is refused in one sentence.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .helpers.damage import Harness, table


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    made = Harness(tmp_path_factory.mktemp("damage"))
    yield made
    made.close()


@pytest.mark.acceptance
def test_a_damaged_file_changes_no_answer_without_a_word(harness: Harness) -> None:
    findings = list(harness.run(harness.plan(12)))
    assert [line for finding in findings for line in finding.wrong] == [], table(findings)


@pytest.mark.acceptance
def test_any_damage_is_told_and_what_is_derived_is_repaired(harness: Harness) -> None:
    findings = list(harness.run(harness.plan(120, seed=1), repair=True))
    print(table(findings))
    assert [line for finding in findings for line in finding.wrong] == []
