"""Decisions about duplicates: they survive restarts and renamed files, and are never lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidsim.schemas.errors import StoreError
from vidsim.search.server.duplicates.decisions import Decisions, Side

A, B, C = (Side(f"lib/{name}.mp4", f"content of {name}") for name in "abc")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "server" / "decisions.json"


def test_a_decision_is_kept_whichever_video_is_named_first(path: Path) -> None:
    made = Decisions(path).decide(B, A, "keep", keep=A.video_id)
    assert made
    assert (made.decision, made.keep) == ("keep", A.video_id)
    again = Decisions(path)
    assert again.of(A, B) == again.of(B, A) == made
    assert again.of(A, C) is None
    assert again.all() == [made]


def test_it_is_changed_and_taken_back(path: Path) -> None:
    decisions = Decisions(path)
    decisions.decide(A, B, "keep", keep=B.video_id)
    decisions.decide(A, C, "not the same")
    decisions.decide(A, B, "keep")
    assert [(d.decision, d.keep) for d in decisions.all()] == [
        ("not the same", None),
        ("keep", None),
    ]
    assert decisions.decide(B, A, None) is None
    assert [d.decision for d in Decisions(path).all()] == ["not the same"]


def test_a_renamed_file_keeps_what_was_decided(path: Path) -> None:
    Decisions(path).decide(A, B, "keep", keep=A.video_id)
    for first, second in ((Side("z/new.mp4", A.content), B), (Side("a/new.mp4", A.content), B)):
        found = Decisions(path).of(first, second)
        assert found
        assert found.keep == first.video_id


def test_of_identical_files_each_is_itself(path: Path) -> None:
    copies = [Side(f"lib/{name}.mp4", "the same") for name in "abc"]
    decisions = Decisions(path)
    decisions.decide(copies[0], copies[1], "keep", keep="lib/b.mp4")
    assert decisions.of(copies[0], copies[2]) is None
    found = decisions.of(copies[1], copies[0])
    assert found
    assert found.keep == "lib/b.mp4"


def test_a_damaged_file_is_told_and_not_overwritten(path: Path) -> None:
    Decisions(path).decide(A, B, "not the same")
    path.write_text(damaged := path.read_text().replace("not the same", "keep"))
    decisions = Decisions(path)
    for ask in (decisions.all, lambda: decisions.decide(A, C, "keep")):
        with pytest.raises(StoreError, match="move the file away"):
            ask()
    assert path.read_text() == damaged


def test_what_cannot_be_written_is_not_decided(path: Path) -> None:
    path.parent.write_text("no folder")
    decisions = Decisions(path)
    with pytest.raises(StoreError):
        decisions.decide(A, B, "keep")
