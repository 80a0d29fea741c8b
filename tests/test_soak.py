"""The short forms of what `helpers/soak.py` and `helpers/load.py` measure for many minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from .helpers.load import load
from .helpers.soak import MEASURES, Look, plot, soak, table, trends


@pytest.mark.acceptance
def test_each_short_clip_is_stored_and_no_process_or_file_is_left(tmp_path: Path) -> None:
    looks, report = soak(tmp_path, clips=150, modalities="color")
    assert (report["videos"], report["failed"], report["notes"]) == (150, [], [])
    assert max(look.files for look in looks) < 40
    assert max(look.children for look in looks) <= 4


def test_a_leak_is_seen() -> None:
    def look(second: int) -> Look:
        return Look(second, 10 * second, 500 + second, 100, 8 + second // 50, 2, 12)

    found = {each.name: each for each in trends([look(second) for second in range(200)])}
    assert found.keys() == {*MEASURES}
    assert round(found["parent_mb"].per_thousand) == 100
    assert found["files"].late > found["files"].early
    assert abs(found["children"].per_thousand) < 1e-9
    assert "+100.00" in table([found["parent_mb"]])


def test_a_run_is_drawn(tmp_path: Path) -> None:
    looks = [Look(second, 10 * second, 500, 100, 8, 2, 12) for second in range(50)]
    plot(looks, tmp_path / "soak.png", "flat")
    assert (tmp_path / "soak.png").stat().st_size > 10_000


@pytest.mark.acceptance
@pytest.mark.timeout(600)
def test_many_clients_are_answered_while_the_server_ingests(tmp_path: Path) -> None:
    outcome = load(tmp_path, seconds=10, clients=8, videos=40, clips=30)
    print(outcome)
    assert outcome.fine
    assert len(outcome.took_ms) > 8
    assert outcome.jobs["done"]
