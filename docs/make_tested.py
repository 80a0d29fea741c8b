"""Writes ingest/health/tested.py: what pyproject.toml allows, and what requirements.lock holds.

A wheel has neither file, and 'vidsim doctor' compares with both. ``make lock`` runs it;
tests/ingest/health/test_tested.py holds that it is up to date.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULE = ROOT / "ingest" / "health" / "tested.py"

HEAD = '''"""What pyproject.toml allows and requirements.lock holds, for where there is neither.

Written by docs/make_tested.py ('make lock' runs it).
"""

from __future__ import annotations

'''


def text() -> str:
    """Return the module as it should be."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = (re.match(r"([\w.-]+)([^;]*)", line) for line in project["dependencies"])
    allowed = {found[1]: found[2].strip() for found in asked if found}
    lock = (ROOT / "requirements.lock").read_text()
    locked: dict[str, list[str]] = {}  # of some a version per Python
    for name, version in re.findall(r"^([\w.-]+)==([^ ;]+)", lock, re.MULTILINE):
        locked.setdefault(name, []).append(version)
    return (
        HEAD
        + f'PYTHON = "{project["requires-python"]}"\n"""Versions of Python."""\n\n'
        + _table("ALLOWED", "Versions of what vidsim imports, by distribution.", allowed)
        + "\n"
        + _table(
            "LOCKED",
            "What it is tested with, of some a version per Python; what its tests need among it.",
            {name: " ".join(sorted(versions)) for name, versions in locked.items()},
        )
    )


def _table(name: str, says: str, of: dict[str, str]) -> str:
    rows = "".join(f'    "{key}": "{of[key]}",\n' for key in sorted(of))
    return f'{name} = {{\n{rows}}}\n"""{says}"""\n'


if __name__ == "__main__":
    MODULE.write_text(text())
