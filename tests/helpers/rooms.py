"""The rooms of the house, and which module imports which; without imports of its own from here.

The page on the architecture is drawn from it as well, outside of any package.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


ROOMS = (
    "schemas",
    "ingest/system",
    "ingest/discover",
    "ingest/decode",
    "ingest/models",
    "ingest/extract",
    "ingest/shards",
    "ingest/milvus",
    "ingest/sync",
    "ingest/health",
    "ingest/exchange",
    "ingest",
    "search",
    "search/duplicates",
    "search/evaluation",
    "search/pages",
    "search/library.py",
    "search/report_text.py",
    "search/demo.py",
    "search/server/http",
    "search/server/clips",
    "search/server/media",
    "search/server/jobs",
    "search/server/duplicates",
    "search/server/maps",
    "search/server/routes",
    "search/server",
    "search/bench",
    "deploy",
    "cli.py",
)
"""In the order of the data's way: a room, or a module that stands for itself, imports from itself
and from those before it."""


def modules() -> list[Path]:
    """Every module of vidsim, from the repository's root."""
    rooms = ("schemas", "ingest", "search", "deploy")
    found = [p for room in rooms for p in (ROOT / room).rglob("*.py")] + [ROOT / "cli.py"]
    return sorted(p.relative_to(ROOT) for p in found)


def imported(module: Path) -> Iterator[Path]:
    """What a module imports of vidsim, wherever in it, for types alone too."""
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        folder = module.parents[node.level - 1]
        named = folder.joinpath(*(node.module or "").split(".")) if node.module else folder
        for alias in node.names:
            beside = named / f"{alias.name}.py"
            yield beside if (ROOT / beside).exists() else _file(named)


def _file(named: Path) -> Path:
    return named / "__init__.py" if (ROOT / named).is_dir() else named.with_suffix(".py")


def room(module: Path) -> str:
    """The room that a module stands in; the folder nearest to it."""
    names = [str(p) for p in (module, *module.parents)]
    return next(name for name in names if name in ROOMS)
