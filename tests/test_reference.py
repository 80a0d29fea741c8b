"""docs/cli.md names every command, argument and option that the program has."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = (DOCS / "cli.md").read_text()
COMMANDS = re.findall(r"^## vidsim (.+)$", PAGE, re.MULTILINE)


def help_of(*words: str) -> str:
    code = "from vidsim.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words, "--help"], capture_output=True, text=True, check=True
    ).stdout


def test_it_is_what_the_program_declares() -> None:
    assert runpy.run_path(str(DOCS / "make_reference.py"))["page"]() == PAGE, "run 'make reference'"


@pytest.mark.parametrize("command", ["ingest", "query", "models pull", "bench scale"])
def test_it_names_what_the_help_does(command: str) -> None:
    section = PAGE.partition(f"\n## vidsim {command}\n")[2].partition("\n## ")[0]
    told = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", help_of(*command.split())))
    listed = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", section))
    assert told - listed == {"-h", "--help"}


def test_every_command_of_the_help_has_a_section() -> None:
    for group in ((), ("models",), ("bench",)):
        listed = help_of(*group).partition("Commands:\n")[2]
        names = re.findall(r"^  ([a-z][a-z-]*)  ", listed, re.MULTILINE)
        groups = {"models", "bench"} if not group else set()
        assert {" ".join([*group, n]) for n in names if n not in groups} <= {*COMMANDS}
