"""What 'make sbom' writes is held against the lock."""

from __future__ import annotations

import json
import re
import runpy

from .helpers.repository import ROOT

DIFFERENCES = runpy.run_path(str(ROOT / "docs" / "check_sbom.py"))["differences"]
LOCK = (ROOT / "requirements.lock").read_text()


def test_an_sbom_that_lacks_or_adds_something_is_told() -> None:
    locked = re.findall(r"^([\w.-]+)==([^ ;]+)", LOCK, re.MULTILINE)
    assert ("torch", dict(locked)["torch"]) in locked
    whole = [{"name": name, "version": version} for name, version in locked]
    assert DIFFERENCES(json.dumps({"components": whole}), LOCK) == []
    other = [{"name": "left-pad", "version": "1"}, *whole[1:]]
    lacking = "{} {} is not in the SBOM.".format(*locked[0])
    assert DIFFERENCES(json.dumps({"components": other}), LOCK) == [
        "left-pad 1 is not in the lock.",
        lacking,
    ]


def test_everything_that_is_locked_has_a_hash() -> None:
    entries = re.split(r"\n(?=\S)", LOCK.partition("make lock\n")[2])
    assert [e.split()[0] for e in entries if "--hash=sha256:" not in e] == []
