"""One process writes to a home; others read it, and are told who writes."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vidsim.ingest.shards.lock import HeldLock, Holder, holder, writer, writing
from vidsim.schemas.errors import StoreError

HOLD = """
import sys
from pathlib import Path
from vidsim.ingest.shards.lock import writing
with writing(Path(sys.argv[1]), "ingest of clips") as held:
    held.tell(12, 18)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(home: Path) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout
    assert child.stdout.readline() == "held\n"
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def test_the_second_writer_is_told_of_the_first(tmp_path):
    with (
        another_process(tmp_path) as child,
        pytest.raises(StoreError) as caught,
        writing(tmp_path, "reindexing"),
    ):
        pass
    said = str(caught.value)
    assert f"process {child.pid} (ingest of clips, 12 of 18 videos) has been writing since" in said
    assert "--wait" in said
    assert "VIDSIM_HOME" in said


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_one_sentence(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError) as caught, writing(tmp_path / "home", "ingest of clips"):
        pytest.fail("two could write at once")
    said = str(caught.value)
    assert f"{tmp_path / 'home'} cannot be locked for writing, as its file system has no" in said
    assert "set VIDSIM_HOME" in said
    assert "\n" not in said
    assert holder(tmp_path / "home") is None, "it can be read"


def test_who_holds_it_is_said_with_day_and_machine_where_they_are_others():
    began = time.mktime((2026, 3, 4, 5, 6, 0, 0, 0, -1))
    said = str(Holder(7, "ingest of clips", began, host="elsewhere"))
    assert said == (
        "process 7 on elsewhere (ingest of clips) has been writing since 2026-03-04 05:06"
    )
    assert " on " not in str(Holder(7, "removal", time.time(), host=platform.node()))


def test_a_reader_sees_who_writes_until_it_ends_or_is_killed(tmp_path):
    assert holder(tmp_path) is None
    with another_process(tmp_path) as child:
        found = holder(tmp_path)
        assert found is not None
        assert (found.pid, found.done, found.total) == (child.pid, 12, 18)
        assert found.note() == (
            f"Process {child.pid} is still writing (ingest of clips, 12 of 18 videos); this is "
            "what was finished."
        )
    assert holder(tmp_path) is None, "its note may stay; the lock does not"
    with writing(tmp_path, "removal"):
        found = holder(tmp_path)
        assert found is not None
        assert (found.pid, found.doing) == (os.getpid(), "removal")
    assert holder(tmp_path) is None


def test_what_a_killed_process_said_is_not_said_of_the_next(tmp_path, monkeypatch):
    with another_process(tmp_path) as child:
        pass
    monkeypatch.setattr(HeldLock, "_write", lambda self: None)  # it has not come to that yet
    with writing(tmp_path, "removal"):
        found = holder(tmp_path)
        assert found is not None
        assert found.pid != child.pid


def test_who_only_compares_is_no_writer(tmp_path):
    with writing(tmp_path, "comparison", changes=False):
        assert writer(tmp_path) is None
        with pytest.raises(StoreError, match=r"\(comparison\) has been reading since"):
            writing(tmp_path, "removal").__enter__()


def test_it_is_waited_for_where_that_is_asked(tmp_path, caplog):
    with another_process(tmp_path) as child:
        assert child.stdin
        began = time.monotonic()
        threading.Timer(1.0, child.stdin.close).start()
        with writing(tmp_path, "removal", wait=True):
            assert time.monotonic() - began > 0.9
    assert "Waiting for it to end." in caplog.text


def test_asking_who_writes_never_turns_a_writer_away(tmp_path):
    with writing(tmp_path, "removal"):
        pass
    script = (
        "import sys, time; from pathlib import Path\n"
        "from vidsim.ingest.shards.lock import holder\n"
        "end = time.monotonic() + 3\n"
        "while time.monotonic() < end: holder(Path(sys.argv[1]))\n"
    )
    asking = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    try:
        for _ in range(200):
            with writing(tmp_path, "removal"):
                pass
    finally:
        asking.kill()
        asking.wait()
