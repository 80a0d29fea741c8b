"""A command that is killed, or meets a full or failing disk, at any call that changes a file.

After it a query says nothing wrong, and the same command once more ends well: Milvus holds what the
shards hold, and all is as after a run that nothing disturbed (helpers/interruptions.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from .helpers.interruptions import Harness, table

pytestmark = pytest.mark.skipif(
    shutil.which("cc") is None, reason="calls are counted by a library that is compiled first"
)


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    made = Harness(tmp_path_factory.mktemp("interruptions"))
    yield made
    made.close()


@pytest.mark.acceptance
def test_every_command_survives_many_interruptions(harness: Harness) -> None:
    """`python -m vidsim.tests.helpers.interruptions` tries every one, which takes hours."""
    findings = list(harness.run(harness.some(70, seed=1)))
    print(table(findings))
    assert [line for finding in findings for line in finding.wrong] == []
