"""The examples of docs/python.md run, one after another, and it names all that there is."""

from __future__ import annotations

import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vidsim
from vidsim import Library

from .helpers.clips import MakeClip

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"
TEXT = PAGE.read_text()

TIMES = [n / 25 for n in range(25)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_clip: MakeClip) -> Path:
    """The folder that the page tells of: two classes of two clips each, and one more clip."""
    random = np.random.default_rng(0)
    for name in ("drawn/ball", "drawn/checkers", "weather/snow", "weather/sunset"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        picture = random.integers(0, 256, (3, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1)
        make_clip(f"videos/{name}.mp4", times=TIMES, images=[picture], codec="libx264")
    shutil.copy(tmp_path / "videos" / "drawn" / "ball.mp4", tmp_path / "clip.mp4")
    monkeypatch.setenv("VIDSIM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VIDSIM_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.acceptance
def test_every_example_runs(folder: Path) -> None:
    names: dict[str, Any] = {}
    try:
        for found in re.finditer(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
            lines_before = TEXT.count("\n", 0, found.start(1))
            exec(compile("\n" * lines_before + found[1], PAGE, "exec"), names)
    finally:
        if "library" in names:
            names["library"].close()
    assert [*folder.glob("h5/*.h5")], "the last examples ran"


def test_every_method_and_option_is_named() -> None:
    methods = {n: m for n, m in vars(Library).items() if inspect.isfunction(m) and n[0] != "_"}
    internal = {"wait_for_milvus"}  # of 'vidsim up'
    assert {n for n in methods if n not in TEXT} == internal
    for method in (Library.open, Library.ingest, Library.query):
        asked = inspect.signature(method).parameters.values()
        options = [p.name for p in asked if p.kind is p.KEYWORD_ONLY]
        assert [o for o in options if f"`{o}`" not in TEXT and f"{o}=" not in TEXT] == []


def test_every_name_that_vidsim_offers_is_named() -> None:
    assert [name for name in vidsim.__all__ if f"`{name}`" not in TEXT] == []
