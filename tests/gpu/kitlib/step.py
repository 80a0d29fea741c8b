"""One step, in its own process: ``python -m kitlib.step NAME BENCH RESULT``.

A step is a module ``kitlib.step_NAME`` with a generator ``measure(bench)``. Everything that it
yields, a name and figures, is written at once, so that only what was not yielded can be lost.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from typing import Any

from .common import Bench, write_json


def main(name: str, bench: str, result: Path) -> int:
    """Measures, and writes to `result` what comes of it: `result`, `why` and `error`."""
    found: dict[str, Any] = {}
    try:
        module = importlib.import_module(f".step_{name}", __package__)
        for key, figures in module.measure(Bench.load(bench)):
            found[key] = figures
            write_json(result, {"result": found})
    except BaseException as error:
        why = f"{type(error).__name__}: {error}"
        write_json(result, {"result": found, "why": why, "error": traceback.format_exc()})
        return 1
    # A measurement that failed alone did not keep the others from being made.
    failed = {k: v["error"] for k, v in found.items() if isinstance(v, dict) and "error" in v}
    if failed:
        why = "; ".join(f"{k}: {error.strip().splitlines()[-1]}" for k, error in failed.items())
        write_json(result, {"result": found, "why": why, "error": "\n".join(failed.values())})
        return 1
    write_json(result, {"result": found})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
