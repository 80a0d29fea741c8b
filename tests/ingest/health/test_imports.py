"""Packages are imported in other processes: one that crashes or hangs is told, and alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidsim.ingest.health.finding import Check, Finding, carry_out
from vidsim.ingest.health.imports import try_imports

BROKEN = {
    "broken_one": "raise OSError('libnothing.so: cannot open')",
    "killed_one": "import os, signal; os.kill(os.getpid(), signal.SIGILL)",
    "hanging_one": "import time; time.sleep(600)",
    "leaving_one": "raise SystemExit(3)",
    "noisy_one": "print('{\"word\": 3}' * 9, flush=True)",
    "whole_one": "",
}


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Modules that do what modules should not, where an interpreter finds them."""
    for name, content in BROKEN.items():
        (tmp_path / f"{name}.py").write_text(content)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return [*BROKEN]


def test_each_module_has_its_own_end(modules: list[str]) -> None:
    found = try_imports([modules, ["json"]], one_s=5)
    assert [*found] == [*modules, "json"]
    said = {name: of.wrong for name, of in found.items()}
    assert said == {
        "broken_one": "OSError: libnothing.so: cannot open",
        "killed_one": "it ends the process that imports it (SIGILL)",
        "hanging_one": "it hangs: not imported within 5 s",
        "leaving_one": "SystemExit: 3",
        "noisy_one": "",
        "whole_one": "",
        "json": "",
    }


def test_a_check_fails_only_itself() -> None:
    def fails() -> list[Finding]:
        raise ZeroDivisionError("by nothing")

    (found,) = carry_out(Check("it", fails, 5))
    assert (found.state, found.name) == ("wrong", "it")
    assert "ZeroDivisionError: by nothing" in found.found


def test_a_check_that_hangs_is_left() -> None:
    from threading import Event

    until = Event()

    def hangs() -> list[Finding]:
        until.wait(60)
        return []

    try:
        (found,) = carry_out(Check("it", hangs, 0.2))
    finally:
        until.set()
    assert found.found == "no answer within 0.2 s"
    assert found.step
