"""Ingest jobs: one at a time, as a home has one writer; the others wait in order.

What there is of each job is a file, so that a server that starts again knows what was asked of the
one before. A job that has ended never changes: to retry one is to make a new one.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Condition, Thread
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ....ingest.shards.home import Place
from ....ingest.system.checked_json import ChangedError, read_checked, write_checked
from ....ingest.system.unreadable import unwritten
from ....schemas.errors import LibraryError, StoreError
from ..http.refusals import BusyError, ConflictError, Refusal
from .job import IngestOptions, Job
from .process import PATIENCE, WORKER, Ended, IngestProcess
from .steps import StageNow

_log = logging.getLogger(__name__)

_KEPT = 100
"""Ended jobs that are kept; the oldest goes first."""

_MOST_QUEUED = 100
"""Jobs that may wait; the next is refused."""

_RETRY_S = 60.0

_AT_CLOSING: Sequence[tuple[int, float]] = tuple((number, 3.0) for number, _ in PATIENCE)
"""`PATIENCE` of a server that ends, for which whoever ends it waits."""


class _Record(BaseModel):
    """The file of a job.

    Attributes:
        number: Order in which jobs were asked for.
        key: The client's Idempotency-Key; "" for none.
        asked: Digest of the request that came with the key.
        job: The job.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    key: str = ""
    asked: str = ""
    job: Job


@dataclass
class _Entry:
    """A job as it is now.

    Attributes:
        record: What its file holds, or will.
        process: What runs it, or will.
        revision: Grows with each change.
    """

    record: _Record
    process: IngestProcess
    revision: int = 0

    @property
    def job(self) -> Job:
        return self.record.job


class Jobs:
    """The ingest jobs of a home; any thread may call."""

    def __init__(self, folder: Path, place: Place, worker: str = WORKER) -> None:
        """Read the jobs of earlier servers; what they had not ended is interrupted now.

        Args:
            folder: Where the files of the jobs are.
            place: The home and Milvus that jobs write to.
            worker: What runs them, for which tests substitute another.

        Raises:
            StoreError: The folder cannot be read or written.
        """
        self._folder = folder
        self._place = replace(place, wait=True)
        self._changed = Condition()
        self._worker = worker
        self._entries = {each.job.job: self._entry(each) for each in _read_all(folder)}
        self._closed = False
        self._thread: Thread | None = None
        for entry in self._entries.values():
            if not entry.job.ended:
                self._end(entry, Ended("interrupted", error=_SERVER_ENDED))

    def submit(
        self,
        folder: Path,
        library: str,
        options: IngestOptions,
        *,
        key: str = "",
        asked: str = "",
        retry_of: str | None = None,
    ) -> Job:
        """Add a job to the queue.

        Args:
            folder: What to ingest.
            library: Name of the library.
            options: How.
            key: The client's Idempotency-Key; "" for none.
            asked: Digest of the request that came with it.
            retry_of: The job that this one tries again.

        Raises:
            BusyError: Too many jobs wait.
            ConflictError: The key came with another request before.
            StoreError: The job cannot be written down.
        """
        with self._changed:
            if known := self.known(key, asked):
                return known
            if sum(entry.job.state == "queued" for entry in self._entries.values()) >= _MOST_QUEUED:
                raise BusyError(_RETRY_S)
            job = Job(
                job=secrets.token_hex(8),
                state="queued",
                folder=str(folder),
                library=library,
                options=options,
                created_at=_now(),
                retry_of=retry_of,
            )
            number = max((e.record.number for e in self._entries.values()), default=0) + 1
            entry = self._entry(_Record(number=number, key=key, asked=asked, job=job))
            self._write(entry)
            self._entries[job.job] = entry
            if self._thread is None:
                self._thread = Thread(target=self._work, name="vidsim-jobs", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            return job

    def known(self, key: str, asked: str) -> Job | None:
        """Return the job that was made for an Idempotency-Key; None where there is none.

        Raises:
            ConflictError: The key came with another request.
        """
        with self._changed:
            for entry in self._entries.values() if key else ():
                if entry.record.key == key:
                    if entry.record.asked != asked:
                        raise ConflictError(
                            "This Idempotency-Key came with another request before; send a new one."
                        )
                    return entry.job
        return None

    def all(self) -> list[Job]:
        """Return all jobs, the newest first."""
        with self._changed:
            found = sorted(self._entries.values(), key=lambda e: e.record.number, reverse=True)
            return [entry.job for entry in found]

    def get(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            LibraryError: There is none of this id.
        """
        return self.look(job_id)[0]

    def look(self, job_id: str) -> tuple[Job, int]:
        """Return a job and its revision, which grows with each change.

        Raises:
            LibraryError: There is none of this id.
        """
        with self._changed:
            entry = self._find(job_id)
            return entry.job, entry.revision

    def cancel(self, job_id: str) -> Job:
        """End a job: one that waits at once, one that runs as soon as it can; others stay as are.

        Raises:
            LibraryError: There is none of this id.
        """
        with self._changed:
            entry = self._find(job_id)
            if entry.job.state == "queued":
                self._end(entry, Ended("cancelled"))
            elif entry.job.state == "running" and not entry.job.cancelling:
                self._change(entry, cancelling=True)
                entry.process.stop()
            return entry.job

    def retry(self, job_id: str) -> Job:
        """Do a job that has ended again, as a new job; the one that does so already, if one does.

        Raises:
            BusyError: Too many jobs wait.
            ConflictError: It has not ended.
            LibraryError: There is none of this id.
            StoreError: The new job cannot be written down.
        """
        with self._changed:
            job = self._find(job_id).job
            if not job.ended:
                raise ConflictError(f"This job is {job.state}; cancel it first, or let it end.")
            for other in self._entries.values():
                if other.job.retry_of == job_id and not other.job.ended:
                    return other.job
            return self.submit(Path(job.folder), job.library, job.options, retry_of=job_id)

    def close(self) -> None:
        """End what runs, and note that it and what waits are interrupted."""
        with self._changed:
            self._closed = True
            for entry in self._entries.values():
                if entry.job.state == "running":
                    entry.process.stop(_AT_CLOSING)
            self._changed.notify_all()
        if self._thread:
            self._thread.join()
        with self._changed:
            for entry in self._entries.values():
                if not entry.job.ended:
                    self._end(entry, Ended("interrupted", error=_SERVER_ENDED))

    def _work(self) -> None:
        """Run one job after the other."""
        while True:
            with self._changed:
                entry = self._changed.wait_for(lambda: self._closed or self._next())
                if not isinstance(entry, _Entry):
                    return
                self._change(entry, state="running", started_at=_now())
                self._keep(entry)
            ended = self._run(entry)
            with self._changed:
                if ended.state != "done" and entry.job.cancelling:
                    ended = Ended("cancelled")
                elif ended.state == "interrupted" and self._closed:
                    ended = Ended("interrupted", error=_SERVER_ENDED)
                self._end(entry, ended)

    def _run(self, entry: _Entry) -> Ended:
        def tell(steps: list[StageNow], waiting: str) -> None:
            with self._changed:
                self._change(entry, steps=steps, waiting=waiting)

        job = entry.job
        try:
            return entry.process.run(self._place, Path(job.folder), job.library, job.options, tell)
        except Exception as error:  # the jobs after it are to run all the same
            _log.exception("The job %s failed.", job.job)
            said = (
                f"The job failed unexpectedly ({type(error).__name__}: {error}); please report it."
            )
            return Ended("failed", error=Refusal(kind="InternalError", message=said))

    def _entry(self, record: _Record) -> _Entry:
        return _Entry(record, IngestProcess(self._worker))

    def _next(self) -> _Entry | None:
        queued = (entry for entry in self._entries.values() if entry.job.state == "queued")
        return min(queued, key=lambda entry: entry.record.number, default=None)

    def _find(self, job_id: str) -> _Entry:
        found = self._entries.get(job_id)
        if found is None:
            raise LibraryError("There is no such job any more; /v1/ingest lists those there are.")
        return found

    def _end(self, entry: _Entry, ended: Ended) -> None:
        self._change(
            entry,
            state=ended.state,
            ended_at=_now(),
            waiting="",
            cancelling=False,
            report=ended.report,
            error=ended.error,
        )
        self._keep(entry)
        done = sorted(
            (e for e in self._entries.values() if e.job.ended), key=lambda e: e.record.number
        )
        for old in done[:-_KEPT]:
            del self._entries[old.job.job]
            self._path(old.job).unlink(missing_ok=True)

    def _change(self, entry: _Entry, **changes: Any) -> None:
        job = entry.job.model_copy(update=changes)
        entry.record = entry.record.model_copy(update={"job": job})
        entry.revision += 1

    def _keep(self, entry: _Entry) -> None:
        """Write a job down; one that cannot be is told, and goes on."""
        try:
            self._write(entry)
        except StoreError as error:
            _log.warning("%s", error)

    def _write(self, entry: _Entry) -> None:
        path = self._path(entry.job)
        try:
            write_checked(path, entry.record.model_dump(mode="json"))
        except OSError as error:
            raise StoreError(unwritten(f"The job {path}", error)) from error

    def _path(self, job: Job) -> Path:
        return self._folder / f"{job.job}.json"


_SERVER_ENDED = Refusal(
    kind="WorkerError",
    message="The server ended before this job; retry it, and it goes on from there.",
)


def _read_all(folder: Path) -> list[_Record]:
    """Return the jobs that are kept, the oldest first; a file that is damaged is told and left."""
    found = []
    for path in folder.glob("*.json"):
        try:
            record = _Record.model_validate(read_checked(path))
        except (ChangedError, ValidationError) as error:
            _log.warning("The job %s is not known any more (%s).", path, error)
            continue
        if path.stem == record.job.job:
            found.append(record)
    return sorted(found, key=lambda record: record.number)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
