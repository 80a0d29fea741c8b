"""Progress without a terminal: a line now and then."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress

from .step import Step, counted

_EVERY_S = 30.0


class Lines:
    """Prints a line per stage in progress on stderr, every half minute."""

    def __init__(self, every_s: float = _EVERY_S) -> None:
        """Start with no stage; `every_s` is the time between lines, in seconds."""
        self._every_s = every_s
        self._lock = threading.Lock()
        self._running: dict[str, tuple[Step, float]] = {}
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._print, name="vidsim-progress", daemon=True)

    def tell(self, step: Step) -> None:
        """Take the latest step of a stage, from any thread."""
        with self._lock:
            _, began = self._running.pop(step.stage, (step, time.monotonic()))
            if not step.finished:
                self._running[step.stage] = step, began
            if self._thread.ident is None:
                self._thread.start()

    def close(self) -> None:
        """Print no more."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _print(self) -> None:
        while not self._closed.wait(self._every_s):
            with self._lock:
                running = list(self._running.values())
            for step, began in running:
                note = f"; {step.note}" if step.note else ""
                said = f"{step.stage}: {counted(step, time.monotonic() - began)}{note}"
                with suppress(OSError, ValueError):  # nobody reads it any more
                    print(said, file=sys.stderr, flush=True)
