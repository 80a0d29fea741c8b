"""Draws which rooms import which into docs/architecture.md, and says what each room does.

The arrows are what the imports say, the sentences the first lines of the rooms' docstrings.

Run it by ``make reference``; tests/test_architecture.py holds that the drawing is up to date.
"""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"

BEGIN, END = "<!-- make reference: begin -->\n", "<!-- make reference: end -->\n"
"""What stands around the drawing in the page."""

Graph = Mapping[str, set[str]]
"""By room, the rooms that it imports from."""


def rooms() -> Graph:
    """Reads every module's imports; the rooms are those of tests/helpers/rooms.py, in its order."""
    house = runpy.run_path(str(ROOT / "tests" / "helpers" / "rooms.py"))
    found: dict[str, set[str]] = {room: set() for room in house["ROOMS"]}
    for module in house["modules"]():
        here = house["room"](module)
        others = {o for o in house["imported"](module) if o != Path("__init__.py")}
        found[here] |= {house["room"](other) for other in others} - {here}
    return found


def reached(graph: Graph, room: str) -> set[str]:
    """All rooms that a room imports from, directly or through others."""
    return graph[room].union(*(reached(graph, other) for other in graph[room]))


def reduced(graph: Graph) -> Graph:
    """The graph without the arrows that a longer way implies."""
    return {
        room: others - set().union(*(reached(graph, other) for other in others))
        for room, others in graph.items()
    }


def draw(graph: Graph) -> str:
    """The rooms as a Mermaid flowchart; an arrow points from a room to one that it imports."""
    lines = ["```mermaid", "flowchart BT"]
    for floor in ("ingest", "search", ""):
        inside = [room for room in graph if _floor(room) == floor]
        lines += [f"    subgraph {floor}_floor [{floor}]"] if floor else []
        lines += [f'    {"    " if floor else ""}{_id(r)}["{_label(r)}"]' for r in inside]
        lines += ["    end"] if floor else []
    lines += [f"    {_id(a)} --> {_id(b)}" for a, b in arrows(reduced(graph))]
    return "\n".join([*lines, "```", ""])


def table(graph: Graph) -> str:
    """A line per room: its name, and the first line of its docstring."""
    lines = ["| room | what it does |", "|---|---|"]
    lines += [f"| [{room}](../{room}) | {_sentence(ROOT / room)} |" for room in graph]
    return "\n".join([*lines, ""])


def arrows(graph: Graph) -> Iterator[tuple[str, str]]:
    """From which room to which, in the order of the house."""
    order = list(graph)
    for room, others in graph.items():
        for other in sorted(others, key=order.index):
            yield room, other


def _floor(room: str) -> str:
    floor = room.partition("/")[0]
    return floor if floor in {"ingest", "search"} else ""


def _id(room: str) -> str:
    return re.sub(r"\W", "_", room)


def _label(room: str) -> str:
    """Its name; of a floor, the modules that lie in the folder itself."""
    return {"ingest": "pipeline.py, plan.py", "search": "query.py and its steps"}.get(room, room)


def _sentence(room: Path) -> str:
    module = room / "__init__.py" if room.is_dir() else room
    return (ast.get_docstring(ast.parse(module.read_text())) or "").partition("\n")[0]


def drawn_into(page: str) -> str:
    """The page with the drawing of today."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    graph = rooms()
    return f"{before}{BEGIN}\n{draw(graph)}\n{table(graph)}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(drawn_into(PAGE.read_text()))
    print(f"Wrote {PAGE.relative_to(ROOT)}.")
