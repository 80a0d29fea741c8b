"""``kit run``: installs what was received, carries out the steps, and writes what came of them."""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from .common import MODALITIES, Bench, write_json
from .install import install, make_environment
from .parts import Inventory, read_inventory
from .report import to_markdown
from .steps import GENERATE, STEPS, Record, run_steps

_CLIPS = "ucf101_mini"

_WEIGHTS = {"frame": "efficientnet_lite0", "motion": "i3d"}
"""Folders of weights by modality."""

_PATIENCE = {"cuda": 1.0, "cpu": 2.5}
"""Factors of the steps' time limits."""


class _Reporter:
    """The report, which is written anew whenever something has been added to it."""

    def __init__(self, out: Path, head: dict[str, Any]) -> None:
        self._out, self._began = out, time.monotonic()
        self._before: list[Record] = []
        self.content = head | {"seconds": 0.0, "steps": []}
        out.mkdir(parents=True, exist_ok=True)
        self._write()

    def keep(self) -> None:
        """Has the steps of the next `tell` come after those that were told so far."""
        self._before = self.content["steps"]

    def tell(self, records: list[Record]) -> None:
        """Takes what became of the steps so far, and says it of the last."""
        self.content["steps"] = self._before + records
        self._write()
        last = records[-1]
        why = f": {last['why']}" if "why" in last else ""
        print(f"{last['name']}: {last['status']}, {last['seconds']:.0f} s{why}", file=sys.stderr)

    def _write(self) -> None:
        self.content["seconds"] = round(time.monotonic() - self._began, 1)
        write_json(self._out / "kit.json", self.content)
        try:
            tables = to_markdown(self.content)
        except Exception:  # what was measured counts, not how it is laid out
            tables = f"These tables could not be laid out:\n\n{traceback.format_exc()}"
        (self._out / "kit.md").write_text(tables)


def run(into: Path, out: Path, device: str, small: bool | None, seconds: float) -> int:
    """Measures everything that there is time for; the report is written after every step.

    Args:
        into: Where parts were received.
        out: A folder for ``kit.json`` and ``kit.md``, made if it is not there.
        device: ``cuda`` or ``cpu``.
        small: Whether to take few clips and vectors; None: on a CPU.
        seconds: For all of it.

    Returns:
        0 where every step was carried out and none failed, else 1.
    """
    deadline = time.monotonic() + seconds
    into, small = into.resolve(), device == "cpu" if small is None else small
    inventory = read_inventory(into)
    absent = [
        m for m, name in _WEIGHTS.items() if not any((into / "cache/weights").glob(f"{name}/*"))
    ]
    clips = into / "data" / _CLIPS
    generated = not any(clips.glob("*/*"))
    left_out = {
        "tensorflow": "too large to be brought, so sound is not measured",
        **inventory.notes,
    }
    left_out |= dict.fromkeys(absent, "its weights were not received")
    if generated:
        left_out["clips"] = "none were received: generated ones are measured"
    head: dict[str, Any] = {
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "sizes": "small" if small else "full",
        "seconds_allowed": seconds,
        "missing": _missing(inventory),
        "left_out": left_out,
    }
    reporter = _Reporter(out, head)
    for sentence in [*head["missing"], *(f"left out: {m} ({why})" for m, why in left_out.items())]:
        print(sentence, file=sys.stderr)
    reporter.tell([_install(into, 0.25 * seconds)])
    reporter.keep()
    with tempfile.TemporaryDirectory(prefix="vidsim-kit-", ignore_cleanup_errors=True) as scratch:
        work = Path(scratch)
        clips = work / "data" / _CLIPS if generated else clips
        modalities = tuple(m for m in MODALITIES if m not in absent)
        bench = Bench(device, small, clips, work, modalities)
        python: list[str] = [sys.executable, "-P", "-m", "kitlib.step"]
        run_steps(
            (GENERATE, *STEPS) if generated else STEPS,
            lambda step, result: [*python, step.name, bench.dump(), str(result)],
            make_environment(into, bench),
            work,
            deadline,
            _PATIENCE[device],
            reporter.tell,
        )
    print(f"{out / 'kit.json'}\n{out / 'kit.md'}")
    return int(any(record["status"] != "ok" for record in reporter.content["steps"]))


def _install(into: Path, limit_s: float) -> Record:
    began = time.monotonic()
    record: Record = {"name": "install", "about": "packages that were received", "status": "ok"}
    try:
        record["result"] = {"packages": install(into, limit_s)}
    except Exception as error:
        record |= {"status": "failed", "why": str(error), "error": traceback.format_exc()}
    return record | {"seconds": round(time.monotonic() - began, 2)}


def _missing(inventory: Inventory) -> list[str]:
    """What was not received, in sentences."""
    if not inventory.parts:
        return ["No part was received: only what this machine has itself is used."]
    return [
        f"{name} was not received: {_list(files)}." for name, files in inventory.lacking.items()
    ]


def _list(files: Sequence[str]) -> str:
    """Names of files, those of a folder of clips as their number."""
    clips = [name for name in files if name.startswith("data/")]
    others = [PurePosixPath(name).name for name in files if name not in clips]
    return ", ".join([*others, f"{len(clips)} clips"] if clips else others)
