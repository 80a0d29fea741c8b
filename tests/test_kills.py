"""A home is read at any time, also while its writer is killed: nothing wrong is ever read."""

from __future__ import annotations

from pathlib import Path

import pytest

from .helpers.command_kills import kill_commands
from .helpers.kill_rounds import STEPS
from .helpers.kills import Outcome, kill_while_read, table
from .helpers.meanwhile import WAYS


@pytest.mark.acceptance
@pytest.mark.timeout(600)
def test_what_is_read_while_the_writer_is_killed_is_right(tmp_path: Path) -> None:
    """`python -m vidsim.tests.helpers.kills 50` takes five times as many, in some minutes."""
    outcome: Outcome = kill_while_read(tmp_path, kills=10, seed=1)
    print(table(outcome))
    assert outcome.wrong == []
    assert outcome.kills.total() >= 10
    assert outcome.meanwhile.keys() == WAYS.keys()


@pytest.mark.acceptance
@pytest.mark.timeout(900)
def test_genuine_commands_that_are_killed_end_well_the_next_time(tmp_path: Path) -> None:
    """`python -m vidsim.tests.helpers.command_kills 1000 1 --home-of 1000` takes an hour."""
    outcome = kill_commands(tmp_path, kills=22, seed=1, videos=60)
    print(outcome)
    assert outcome.wrong == []
    assert outcome.kills.total() == 22
    assert outcome.done.keys() == STEPS.keys()
