"""Ingest jobs: one at a time, ended when told, and known to the next server."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from vidsim.ingest.shards.home import Place, open_shards
from vidsim.ingest.shards.lock import writing
from vidsim.schemas.errors import LibraryError
from vidsim.schemas.modality import Modality
from vidsim.search.server.http.refusals import BusyError, ConflictError
from vidsim.search.server.jobs import jobs
from vidsim.search.server.jobs.job import IngestOptions, Job
from vidsim.search.server.jobs.jobs import Jobs
from vidsim.search.server.jobs.process import WORKER, IngestProcess

from ....helpers.forked import forked
from ....helpers.ingest_workers import (
    CRASHING,
    POLITE,
    PRETENDING,
    STUBBORN,
    run_here,
    submit_and_die,
)
from ....helpers.ingests import write_files
from ....helpers.web import until

HOW = IngestOptions()

Open = Callable[..., Jobs]


@pytest.fixture
def open_jobs(tmp_path: Path) -> Iterator[Open]:
    """Opens the jobs of ``tmp_path / "jobs"``, run by a stand-in of `ingest_workers`."""
    with ExitStack() as stack:

        def opened(worker: str = POLITE) -> Jobs:
            found = Jobs(tmp_path / "jobs", Place(tmp_path / "home"), worker)
            stack.callback(found.close)
            return found

        yield opened


@pytest.fixture
def may_end(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Has jobs run without a process, until they are told to end or may."""
    may = threading.Event()
    monkeypatch.setattr(IngestProcess, "run", run_here(may))
    return may


def ended(found: Jobs, job: Job) -> Job:
    return until(lambda: now if (now := found.get(job.job)).ended else None)


def at_work(found: Jobs, job: Job) -> Job:
    """The job, once its process works."""
    return until(lambda: now if (now := found.get(job.job)).steps else None)


def test_jobs_run_one_at_a_time_in_order(
    open_jobs: Open, may_end: threading.Event, tmp_path: Path
) -> None:
    found = open_jobs()
    names = ["c", "a", "b"]
    asked = [found.submit(tmp_path, name, HOW) for name in names]
    at_work(found, asked[0])
    assert [found.get(job.job).state for job in asked] == ["running", "queued", "queued"]
    may_end.set()
    done = [ended(found, job) for job in asked]
    assert [job.report.library for job in done if job.report] == names
    assert [job.job for job in found.all()] == [job.job for job in reversed(asked)]
    assert done[0].steps[0].said == "1 of 2 files"
    assert all(job.started_at for job in done)


def test_a_key_gives_the_same_job_and_no_other_request(
    open_jobs: Open, may_end: threading.Event, tmp_path: Path
) -> None:
    found = open_jobs()
    job = found.submit(tmp_path, "lib", HOW, key="k", asked="a")
    assert found.submit(tmp_path, "lib", HOW, key="k", asked="a").job == job.job
    assert found.submit(tmp_path, "lib", HOW, key="l", asked="a").job != job.job
    with pytest.raises(ConflictError, match="another request"):
        found.submit(tmp_path, "lib", HOW, key="k", asked="b")
    found.close()
    assert open_jobs().submit(tmp_path, "lib", HOW, key="k", asked="a").job == job.job


def test_to_retry_is_a_new_job_and_only_one(
    open_jobs: Open, may_end: threading.Event, tmp_path: Path
) -> None:
    found = open_jobs()
    options = IngestOptions(prune=True)
    job = found.submit(tmp_path, "lib", options)
    with pytest.raises(ConflictError, match="cancel it first"):
        found.retry(job.job)
    found.cancel(job.job)
    ended(found, job)
    again = found.retry(job.job)
    assert again.retry_of == job.job
    assert (again.folder, again.library, again.options) == (str(tmp_path), "lib", options)
    assert found.retry(job.job).job == again.job
    with pytest.raises(LibraryError, match="no such job"):
        found.retry("../../etc/passwd")


def test_only_so_many_wait_and_only_so_many_are_kept(
    open_jobs: Open, may_end: threading.Event, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_MOST_QUEUED", 2)
    monkeypatch.setattr(jobs, "_KEPT", 3)
    found = open_jobs()
    at_work(found, found.submit(tmp_path, "lib", HOW))
    for _ in range(4):
        waiting = [found.submit(tmp_path, "lib", HOW) for _ in range(2)]
        with pytest.raises(BusyError):
            found.submit(tmp_path, "lib", HOW)
        for job in waiting:
            assert found.cancel(job.job).state == "cancelled"
    assert [job.state for job in found.all()] == ["cancelled"] * 3 + ["running"]
    assert len([*(tmp_path / "jobs").iterdir()]) == 4


def test_a_server_that_ends_interrupts_and_the_next_one_knows(
    open_jobs: Open, may_end: threading.Event, tmp_path: Path
) -> None:
    found = open_jobs()
    first, second = (found.submit(tmp_path, name, HOW) for name in ("a", "b"))
    at_work(found, first)
    found.close()
    again = open_jobs()
    may_end.set()
    for job in (first, second):
        left = again.get(job.job)
        assert left.state == "interrupted"
        assert left.error
        assert "retry it" in left.error.message
        assert ended(again, again.retry(job.job)).state == "done"


def test_a_damaged_job_is_left_out(
    open_jobs: Open, may_end: threading.Event, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = open_jobs()
    kept, damaged = (found.submit(tmp_path, name, HOW) for name in ("a", "b"))
    found.close()
    path = tmp_path / "jobs" / f"{damaged.job}.json"
    path.write_text(path.read_text().replace('"b"', '"c"'))
    assert [job.job for job in open_jobs().all()] == [kept.job]
    assert str(path) in caplog.text


def test_a_job_is_cancelled_while_it_runs_and_while_it_waits(
    open_jobs: Open, tmp_path: Path
) -> None:
    found = open_jobs(POLITE)
    first, second = (found.submit(tmp_path, name, HOW) for name in ("a", "b"))
    assert at_work(found, first).waiting == "process 7 (test) has been writing"
    assert found.cancel(second.job).state == "cancelled"
    assert found.cancel(first.job).cancelling
    now = ended(found, first)
    assert (now.state, now.waiting, now.cancelling) == ("cancelled", "", False)
    assert found.cancel(first.job) == now, "nothing changes what has ended"
    assert found.get(second.job).started_at is None


def test_a_process_that_does_not_listen_is_killed(
    open_jobs: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = ((signal.SIGINT, 0.1), (signal.SIGTERM, 0.1))
    monkeypatch.setattr(IngestProcess.stop, "__defaults__", (patience,))
    found = open_jobs(STUBBORN)
    job = found.submit(tmp_path, "lib", HOW)
    at_work(found, job)
    found.cancel(job.job)
    assert ended(found, job).state == "cancelled"


def test_a_crash_is_told(open_jobs: Open, tmp_path: Path) -> None:
    found = open_jobs(CRASHING)
    job = ended(found, found.submit(tmp_path, "lib", HOW))
    assert job.state == "failed"
    assert job.error
    assert job.error.message.startswith("The ingest crashed (SIGABRT); retry it")


@pytest.mark.acceptance
def test_a_killed_server_leaves_no_process_and_its_job_is_interrupted(
    open_jobs: Open, tmp_path: Path
) -> None:
    assert forked(lambda: submit_and_die(tmp_path), 60) == {"ended": -signal.SIGKILL}
    job, child = (tmp_path / "said").read_text().split()
    until(lambda: not psutil.pid_exists(int(child)))
    assert open_jobs().get(job).state == "interrupted"


@pytest.mark.acceptance
def test_a_job_waits_for_another_writer_then_stores(open_jobs: Open, tmp_path: Path) -> None:
    texts = {"a.mp4": "one", "b.mp4": "other", "c.mp4": "damaged"}
    folder = write_files(tmp_path / "lib", texts)
    found = open_jobs(PRETENDING)
    place = Place(tmp_path / "home")
    with writing(place.home, "a test"):
        job = found.submit(folder, "lib", IngestOptions(modalities=[Modality.COLOR]))
        waiting = until(lambda: found.get(job.job).waiting)
        assert re.fullmatch(rf"process {os.getpid()} \(a test\) has been writing since .*", waiting)
    done = ended(found, job)
    assert (done.state, done.waiting) == ("done", "")
    assert done.report
    assert (done.report.library, done.report.embedded) == ("lib", 2)
    assert [failed.reason for failed in done.report.failed] == ["It is damaged."]
    assert {*open_shards(place.home).catalog("lib")} == {"lib/a.mp4", "lib/b.mp4"}


def test_what_a_job_cannot_do_is_told(open_jobs: Open, tmp_path: Path) -> None:
    found = open_jobs(WORKER)
    job = ended(found, found.submit(tmp_path / "nothing", "lib", HOW))
    assert job.state == "failed"
    assert job.error
    assert job.error.kind == "LibraryError"
    assert "There is no" in job.error.message
