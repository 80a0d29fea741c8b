"""The tests of tests/gpu, in a process of pytest's own; what each printed is kept."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import Any

from .common import REPOSITORY, Bench


def measure(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Runs them.

    Raises:
        AssertionError: One failed, or none ran.
    """
    written = bench.work / "tests.xml"
    command = [sys.executable, "-P", "-m", "pytest", "-m", "gpu", "tests/gpu", "--rootdir", "."]
    command += ["-p", "no:cacheprovider", "--basetemp", str(bench.work / "pytest")]
    command += [f"--junitxml={written}", "-o", "junit_logging=system-out"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    if not written.is_file():
        raise AssertionError(f"pytest wrote nothing: {(done.stdout + done.stderr)[-2000:]}")
    outcomes = []
    for case in ElementTree.parse(written).iter("testcase"):
        outcome = _outcome(case)
        outcomes.append(outcome["outcome"])
        yield case.attrib["name"], outcome
    ran = outcomes.count("passed")
    assert "failed" not in outcomes, f"{outcomes.count('failed')} failed, {ran} passed"
    assert ran, "no test ran"


def _outcome(case: ElementTree.Element) -> dict[str, Any]:
    found: dict[str, Any] = {"outcome": "passed", "seconds": float(case.attrib["time"])}
    for tag, outcome in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        if (why := case.find(tag)) is not None:
            found |= {"outcome": outcome, "why": f"{why.get('message')}\n{why.text or ''}"[:4000]}
    if (output := case.findtext("system-out")) and output.strip():
        lines = output.strip().splitlines()
        found["printed"] = [line for line in lines if line and not line.startswith("---")]
    return found
