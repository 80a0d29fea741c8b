"""A home is read at any time, also while its writer is killed: nothing wrong is ever read."""

from __future__ import annotations

from pathlib import Path

import pytest

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
