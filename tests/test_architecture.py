"""docs/architecture.md shows the rooms as the imports have them, and walks what is there."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
MADE = runpy.run_path(str(ROOT / "docs" / "make_architecture.py"))


def test_the_picture_is_what_the_imports_say() -> None:
    page = PAGE.read_text()
    assert page == MADE["drawn_into"](page), "run 'make reference'"


def test_an_arrow_that_a_longer_way_implies_is_left_out() -> None:
    graph = {"a": set(), "b": {"a"}, "c": {"a", "b"}}
    assert [*MADE["arrows"](MADE["reduced"](graph))] == [("b", "a"), ("c", "b")]


@pytest.mark.parametrize(
    "name", re.findall(r"`((?:ingest|search)\.[\w.]+)`", PAGE.read_text()), ids=str
)
def test_what_the_walks_name_is_there(name: str) -> None:
    words = name.split(".")
    files = {n: ROOT.joinpath(*words[:n]).with_suffix(".py") for n in range(1, len(words))}
    length, module = next((n, file) for n, file in files.items() if file.is_file())
    scope = ast.parse(module.read_text()).body
    for word in words[length:]:
        scope = defined(scope)[word].body


def test_the_files_that_contributing_names_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    tests = {path.name for path in (ROOT / "tests").rglob("*.py")}
    named = set(re.findall(r"`(?:tests/)?(\w+\.py)`", text)) - {"cli.py"}
    assert named - tests == set()
    files = re.findall(r"`((?:schemas|ingest|search|docs)/[\w./]*)`", text)
    assert [file for file in files if not (ROOT / file).exists()] == []


def defined(scope: list[ast.stmt]) -> dict[str, ast.FunctionDef | ast.ClassDef]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {found.name: found for found in scope if isinstance(found, kinds)}
