"""What a newcomer types first, piped and on a terminal; also run with the newest typer allowed."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

COMMAND = [sys.executable, "-c", "from vidsim.cli import main; main()"]


class Said(NamedTuple):
    code: int
    out: str
    err: str


def piped(*words: str) -> Said:
    done = subprocess.run(
        [*COMMAND, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    return Said(done.returncode, done.stdout, done.stderr)


def on_a_terminal(*words: str) -> Said:
    """Runs with stdout and stderr on terminals of their own, to tell them apart."""
    pairs = [pty.openpty() for _ in range(2)]
    process = subprocess.Popen(
        [*COMMAND, *words], stdin=subprocess.DEVNULL, stdout=pairs[0][1], stderr=pairs[1][1]
    )
    texts = []
    for ours, theirs in pairs:
        os.close(theirs)
        texts.append(read_all(ours).replace("\r\n", "\n"))
        os.close(ours)
    return Said(process.wait(timeout=60), *texts)


def read_all(terminal: int) -> str:
    """All that is written to a terminal before its last writer has closed it."""
    found = b""
    try:
        while chunk := os.read(terminal, 65536):
            found += chunk
    except OSError:  # Linux says so once nobody can write any more
        pass
    return found.decode()


RUNS = pytest.mark.parametrize("run", [piped, on_a_terminal])
Run = Callable[..., Said]


@RUNS
@pytest.mark.parametrize(
    ("words", "command"),
    [((), "query"), (("models",), "pull"), (("bench",), "kmeans")],
    ids=["vidsim", "models", "bench"],
)
def test_a_group_alone_shows_its_help(run: Run, words: tuple[str, ...], command: str) -> None:
    alone, asked = run(*words), run(*words, "--help")
    assert alone == asked
    assert alone.code == 0
    assert not alone.err
    lines = [line.split() for line in alone.out.splitlines()]
    assert lines[0][: 2 + len(words)] == ["Usage:", "vidsim", *words]
    assert [command] in [line[:1] for line in lines]
    assert "\\n" not in alone.out


@RUNS
@pytest.mark.parametrize(
    ("words", "where"), [(("nonsense",), "vidsim"), (("bench", "nonsense"), "vidsim bench")]
)
def test_an_unknown_command_is_named_with_the_next_step(
    run: Run, words: tuple[str, ...], where: str
) -> None:
    said = run(*words)
    assert said == (2, "", f"Error: No such command 'nonsense'; see '{where} --help'.\n")


@RUNS
def test_a_missing_argument_is_named_with_the_next_step(run: Run) -> None:
    code, out, err = run("query")
    assert (code, out) == (2, "")
    assert err.startswith("Error: Missing argument")
    assert err.endswith("see 'vidsim query --help'.\n")
