"""The house: imports point one way, there is no circle, and the tests stand in the same rooms."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from .helpers.repository import ROOT
from .helpers.rooms import ROOMS, imported, modules, room

MOST_LINES = 400
"""A module fits on a few screens; one that is longer stands in `LONGER`, with the reason."""

LONGER = {
    "cli.py": "every command with its options",
    "ingest/shards/shard_files.py": "all that is done with a library's shards",
    "search/library.py": "a method for each thing that can be done, with its documentation",
}


def whole_names(module: Path) -> Iterator[str]:
    """What a module imports by its whole name, of vidsim or not."""
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def modules_of_tests() -> list[Path]:
    return sorted(p.relative_to(ROOT) for p in (ROOT / "tests").rglob("*.py"))


def test_imports_point_to_the_rooms_before() -> None:
    wrong = [
        f"{module} ({room(module)}) imports {other} ({room(other)})"
        for module in modules()
        for other in imported(module)
        if other != Path("__init__.py") and ROOMS.index(room(other)) > ROOMS.index(room(module))
    ]
    assert not wrong


def test_no_circle() -> None:
    graph = {m: {o for o in imported(m) if o != m} for m in modules()}
    assert [*TopologicalSorter(graph).static_order()]  # raises CycleError


def test_imports_of_vidsim_are_relative_within_it() -> None:
    wrong = [
        f"{m}: {n}" for m in modules() for n in whole_names(m) if n.partition(".")[0] == "vidsim"
    ]
    assert not wrong


def test_a_module_fits_on_a_few_screens() -> None:
    lines = {str(m): len((ROOT / m).read_text().splitlines()) for m in modules()}
    assert {m: n for m, n in lines.items() if n > MOST_LINES and m not in LONGER} == {}
    assert [m for m in LONGER if lines[m] <= MOST_LINES] == [], "no longer needed"


def test_the_command_line_calls_a_library_and_little_else() -> None:
    allowed = {
        "search/library.py": "all that can be done",
        "search/report_text.py": "what a person reads of it",
        "search/csv_text.py": "the same, as CSV",
        "search/terminal_pictures.py": "what draws pictures in a terminal",
        "search/status_text.py": "the same, of 'vidsim status'",
        "search/completion.py": "what the shell completes",
        "search/evaluation/report.py": "the same, of an evaluation",
        "search/demo.py": "'vidsim demo'",
        "search/server/run.py": "'vidsim serve'",
        "search/server/client.py": "a library that asks it",
        "search/bench/commands.py": "'vidsim bench'",
        "ingest/health/doctor.py": "'vidsim doctor'",
        "ingest/health/finding.py": "what a person reads of it",
        "ingest/models/commands.py": "'vidsim models'",
        "ingest/system/progress.py": "the bars",
    }
    called = {str(m) for m in imported(Path("cli.py"))} - {"__init__.py"}
    others = {m for m in called if not m.startswith(("schemas/", "deploy/"))}
    assert others == allowed.keys()


def test_no_test_imports_another() -> None:
    """What several share is in tests/helpers, or a fixture, which pytest finds."""
    wrong = [
        f"{module} imports {other}"
        for module in modules_of_tests()
        for other in imported(module)
        if other.name == "conftest.py" or other.name.startswith("test_")
    ]
    absolute = [f"{m}: {n}" for m in modules_of_tests() for n in whole_names(m)]
    wrong += [a for a in absolute if a.partition(": ")[2].startswith(("vidsim.tests", "tests"))]
    assert not wrong


def test_the_folders_of_tests_are_the_rooms() -> None:
    folders = {str(module.parent.relative_to("tests")) for module in modules_of_tests()}
    rooms = {name for name in ROOMS if (ROOT / name).is_dir()}
    assert folders == rooms | {".", "helpers", "helpers/fuzz", "gpu", "gpu/kitlib"}
