"""What was written is there after a power cut: it was synced, and so was the folder of its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidsim.ingest.shards.shard_files import Shards

from ...helpers.embedded_videos import embedded
from ...helpers.power import Disk


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_shards_and_their_lists_outlast_a_power_cut(tmp_path: Path, disk: Disk) -> None:
    shards = Shards(tmp_path)
    for number in range(3):
        shards.write("lib", [embedded(f"lib/{number}.mp4", seed=number)])
        assert disk.lost(tmp_path) == []


def test_what_was_dropped_is_gone_after_a_power_cut(tmp_path: Path, disk: Disk) -> None:
    shards = Shards(tmp_path)
    shards.write("lib", [embedded("lib/a.mp4"), embedded("lib/b.mp4")])
    shards.drop("lib", {"lib/a.mp4": None})
    assert disk.lost(tmp_path) == []
    assert [*Shards(tmp_path).catalog("lib")] == ["lib/b.mp4"]


def test_what_is_not_synced_is_seen_to_be_lost(tmp_path: Path, disk: Disk) -> None:
    (tmp_path / "a").write_text("never synced")
    assert disk.lost(tmp_path) == ["a"]
