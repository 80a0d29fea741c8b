"""The server's side of an ingest job's child process: what it tells, and how it is ended.

A process of its own leaves the server's interpreter to queries, can be ended at any time, and
takes nothing with it: an ingest goes on from what it finished.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Lock, Thread

from pydantic import ValidationError

from ....ingest.shards.home import Place
from ....ingest.system.channel import Message
from ....ingest.system.sandbox import Confinement
from ....ingest.system.worker_process import Child
from ....schemas.errors import WorkerError
from ....schemas.results import IngestReport
from ..http.refusals import Refusal
from .job import IngestOptions, JobState
from .steps import StageNow
from .worker import fields_of

_log = logging.getLogger(__name__)

WORKER = f"{__package__}.worker:main"

_SILENCE_S = 900.0
"""Seconds without a message, of which one comes every five, after which it is given up: as long as
a machine may be held up by its disk (a choice)."""

PATIENCE: tuple[tuple[int, float], ...] = ((signal.SIGINT, 10), (signal.SIGTERM, 10))
"""Signals that ask it to end, and how many seconds each has; then it is killed."""

Tell = Callable[[list[StageNow], str], object]
"""Receives the steps, and for whom the ingest waits, in words."""


@dataclass(frozen=True)
class Ended:
    """How an ingest ended.

    Attributes:
        state: ``done``, ``failed``, or ``interrupted`` where it was told to end.
        report: Where it is done.
        error: Where it is not.
    """

    state: JobState
    report: IngestReport | None = None
    error: Refusal | None = None


class IngestProcess:
    """A child process that runs one ingest."""

    def __init__(self, worker: str = WORKER) -> None:
        """Prepare; `run` starts it, by `worker`, for which tests substitute another."""
        self._worker = worker
        self._child: Child | None = None
        self._begun = False
        self._lock = Lock()
        self._stopping: Thread | None = None
        self._ended = Event()

    def run(
        self, place: Place, folder: Path, library: str, options: IngestOptions, tell: Tell
    ) -> Ended:
        """Ingest, and return how it ended; never fails.

        Args:
            place: The home; it is waited for where another process holds it.
            folder: What to ingest.
            library: The library's name.
            options: How.
            tell: Called in this thread.
        """
        request = {
            "place": fields_of(place),
            "folder": str(folder),
            "library": library,
            "arguments": options.arguments(),
        }
        try:
            with self._lock:
                if self._ended.is_set():
                    return _INTERRUPTED
                self._child = Child(self._worker, None, name="ingest", confinement=Confinement.NONE)
            try:
                self._child.send("ingest", request)
                return self._listen(self._child, tell)
            finally:
                self._ended.set()
                if self._stopping:
                    self._stopping.join()
                self._child.close()
        except WorkerError as error:
            if self._stopping:
                return _INTERRUPTED
            said = f"{str(error)[0].upper()}{str(error)[1:]}; retry it, and it goes on from there."
            return Ended("failed", error=Refusal(kind="WorkerError", message=said))

    def stop(self, patience: Sequence[tuple[int, float]] = PATIENCE) -> None:
        """Ask it to end, and kill it where it does not; returns at once."""
        with self._lock:
            if self._child is None:
                self._ended.set()
            elif self._stopping is None:
                self._stopping = Thread(
                    target=self._stop, args=(self._child, patience), name="vidsim-stop", daemon=True
                )
                self._stopping.start()

    def _stop(self, child: Child, patience: Sequence[tuple[int, float]]) -> None:
        for number, seconds in patience if self._begun else ():
            child.kill(number)
            if self._ended.wait(seconds):
                return
        child.kill()

    def _listen(self, child: Child, tell: Tell) -> Ended:
        while True:
            message = child.receive(_SILENCE_S)
            if message.kind == "begun":
                self._begun = True
            elif message.kind == "steps":
                steps = [StageNow.model_validate(each) for each in message.fields["steps"]]
                tell(steps, str(message.fields["waiting"]))
            elif message.kind == "stopped":
                return _INTERRUPTED
            else:
                return _ended(child, message)


_INTERRUPTED = Ended(
    "interrupted",
    error=Refusal(
        kind="WorkerError", message="It was told to end; retry it, and it goes on from there."
    ),
)


def _ended(child: Child, message: Message) -> Ended:
    """Return what the last message says.

    Raises:
        WorkerError: It is not one that is known.
    """
    try:
        if message.kind == "done":
            report = message.arrays["report"].tobytes()
            return Ended("done", report=IngestReport.model_validate_json(report))
        error = Refusal.model_validate(message.fields)
    except (KeyError, ValidationError) as error_:
        raise WorkerError("the ingest answered with something unreadable") from error_
    if error.kind == "InternalError":
        child.close()  # after which all is read that it said
        _log.error("An ingest failed:\n  %s", "\n  ".join(child.last_lines))
    return Ended("failed", error=error)
