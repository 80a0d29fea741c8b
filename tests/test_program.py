"""The program as a shell sees it: how it is run, its exit codes, terminals, and how exact it is."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from vidsim.schemas.results import IngestReport, QueryResult

from .helpers.clips import write_shades
from .helpers.command_line import Here, command, environment, home_of_shades, vidsim

WORDS = ("-m", "color", "--device", "cpu")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return home_of_shades(tmp_path_factory.mktemp("shared"))


@pytest.fixture
def clips(shared: tuple[Path, Path]) -> Path:
    return shared[0]


@pytest.fixture
def home(shared: tuple[Path, Path]) -> Path:
    return shared[1]


def test_python_runs_it_as_a_module(home: Path) -> None:
    run = [sys.executable, "-P", "-m", "vidsim", "libraries", "--videos"]
    done = subprocess.run(
        run, env=environment(home), capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.splitlines() == ["clips/a.mkv", "clips/snow/1.mkv", "clips/snow/2.mkv"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("stat", ["status"]),
        ("ingest --stri", ["--strict"]),
        ("query --library ", ["clips"]),
        ("query clips/s", ["clips/snow/1.mkv", "clips/snow/2.mkv"]),
        ("remove cl", ["clips"]),
        ("verify ", ["clips"]),
        ("export here --library c", ["clips"]),
        ("query none/", []),
    ],
)
def test_the_shell_completes(home: Path, line: str, offered: list[str]) -> None:
    words = f"vidsim {line}".split(" ")
    asked = {
        "_VIDSIM_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = vidsim(home, VIDSIM_UNHEARD_OF="1", **asked)
    assert (done.stdout.split(), done.stderr) == (offered, "")


def test_files_that_failed_are_an_exit_code_where_it_is_asked_for(
    vidsim_here: Here, tmp_path: Path
) -> None:
    folder = tmp_path / "lib"
    write_shades(folder, {"good.mkv": 100})
    (folder / "bad.mkv").write_text("no video")
    for words, code in (((), 0), (("--strict",), 3), (("--strict", "--json"), 3)):
        done = vidsim_here(tmp_path / "home", "ingest", str(folder), *WORDS, *words)
        assert done.returncode == code
        assert "Error" not in done.stderr
    assert len(IngestReport.model_validate_json(done.stdout).failed) == 1
    (folder / "bad.mkv").unlink()
    done = vidsim_here(tmp_path / "home", "ingest", str(folder), *WORDS, "--strict")
    assert done.returncode == 0


def test_a_name_that_is_no_setting_is_told_and_stops_nothing(home: Path) -> None:
    wrong = {"VIDSIM_CACH": "x"}
    said = "VIDSIM_CACH is not a setting; did you mean VIDSIM_CACHE?\n"
    done = vidsim(home, "query", "clips/a.mkv", "--json", **wrong)
    assert (done.returncode, done.stderr) == (0, said)
    assert QueryResult.model_validate_json(done.stdout).results
    assert vidsim(home, "query", "--help", **wrong).stderr == ""


def test_json_has_no_more_digits_than_mean_something(vidsim_here: Here, home: Path) -> None:
    printed = vidsim_here(home, "query", "clips/a.mkv", "--json").stdout
    exact = QueryResult.model_validate_json(printed)
    for match in exact.results:
        assert match.likeness == float(f"{match.likeness:.6g}")
        for of in match.modalities.values():
            assert of.start_s == round(of.start_s, 3)
            assert of.similarity == float(f"{of.similarity:.6g}")


@pytest.mark.acceptance
def test_a_dumb_terminal_is_sent_plain_text(clips: Path, tmp_path: Path) -> None:
    said = ingest_on_a_terminal(clips, tmp_path / "dumb", "dumb")
    assert "\x1b" not in said
    assert said.startswith("clips: 3 videos, 3 segments"), "no bar was drawn"
    assert "\x1b" in ingest_on_a_terminal(clips, tmp_path / "other", "xterm")


def ingest_on_a_terminal(clips: Path, home: Path, kind: str) -> str:
    control, terminal = pty.openpty()
    process = subprocess.Popen(
        command("ingest", str(clips), *WORDS),
        env=environment(home, TERM=kind),
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    said = b""
    try:
        while part := os.read(control, 65536):
            said += part
    except OSError:  # Linux says so once nobody can write any more
        pass
    os.close(control)
    assert process.wait(timeout=60) == 0
    return said.decode().replace("\r\n", "\n")


def test_a_query_that_loaded_torch_says_all_before_it_ends(
    clips: Path, home: Path, tmp_path: Path
) -> None:
    """It ends without taking torch apart, so nothing may be left to be written."""
    log = tmp_path / "log"
    program = "import torch; from vidsim.__main__ import run; run()"

    def ran(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", program, *words],
            env=environment(home, VIDSIM_LOG=str(log)),
            capture_output=True,
            text=True,
            timeout=120,
        )

    answered = ran("query", str(clips / "snow/1.mkv"), *WORDS, "--json")
    assert answered.returncode == 0, answered.stderr
    assert QueryResult.model_validate_json(answered.stdout).results
    assert "is compared by labhist" in log.read_text()
    refused = ran("query", str(clips / "nothing.mkv"), *WORDS)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("Error: ")
    assert refused.stderr.endswith(".\n")
