"""What the kit's modules share: names, folders, and what is measured."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[3]
MODALITIES = ("color", "frame", "motion")
"""Sound needs TensorFlow, which is too large to be brought."""


@dataclass(frozen=True)
class Bench:
    """What every step is told.

    Attributes:
        device: ``cuda`` or ``cpu``.
        small: Whether to take few clips and vectors, as on a CPU.
        clips: The folder of clips, of class folders.
        work: A folder for whatever a step writes; steps share it.
        modalities: What can be computed with the weights that are there.
    """

    device: str
    small: bool
    clips: Path
    work: Path
    modalities: tuple[str, ...] = MODALITIES

    def dump(self) -> str:
        """As JSON."""
        return json.dumps(
            {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items()}
        )

    @classmethod
    def load(cls, text: str) -> Bench:
        """From what `dump` gave."""
        found: dict[str, Any] = json.loads(text)
        folders = {name: Path(found[name]) for name in ("clips", "work")}
        return cls(**found | folders | {"modalities": tuple(found["modalities"])})


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def attempt(measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What was measured, or the traceback of why it could not be: the next may do better."""
    try:
        return measured()
    except Exception:
        return {"error": traceback.format_exc()}


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes a file in one move, so that it is whole whenever the process is ended."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(content, indent=1, default=str) + "\n")
    partial.replace(path)
