"""Progress in words, at a terminal and without one."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from vidsim.ingest.system.progress import Bars, Reporting, Step, repeating
from vidsim.ingest.system.progress_lines import Lines
from vidsim.ingest.system.step import counted


@pytest.mark.parametrize(
    ("step", "elapsed_s", "said"),
    [
        (Step("s", 0, 18, "files"), 0, "0 of 18 files, 0:00:00 so far"),
        (Step("s", 6, 18, "files"), 60, "6 of 18 files, 0.1 files/s, about 0:02:00 left"),
        (Step("s", 1, 100, "files"), 50, "1 of 100 files, 0.02 files/s, about 1:22:30 left"),
        (Step("s", 40, None, "videos"), 10, "40 videos, 4 videos/s, 0:00:10 so far"),
        (Step("s", 0, None, "networks"), 8.2, "0:00:08 so far"),
        (Step("s", 18, 18, "files", True), 61, "18 of 18 files, 0.3 files/s, in 0:01:01"),
        (
            Step("s", 53e6, 5.3e9, "bytes of video"),
            10,
            "0.053 of 5.3 GB of video, 5.3 MB/s, about 0:16:30 left",
        ),
        (Step("s", 250, 500, "bytes"), 1, "0.25 of 0.5 kB, 0.25 kB/s, about 0:00:01 left"),
    ],
)
def test_what_is_counted_is_labelled(step: Step, elapsed_s: float, said: str) -> None:
    assert counted(step, elapsed_s) == said


def test_without_a_terminal_a_line_comes_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(every_s=0.05)
    lines.tell(Step("checking", 3, 3, "files"))
    lines.tell(Step("checking", 3, 3, "files", finished=True))
    lines.tell(Step("embedding", 0, 2e6, "bytes of video"))
    lines.tell(Step("embedding", 1e6, 2e6, "bytes of video", note="1 of 2 files done, now a.mkv"))
    said = ""
    until = time.monotonic() + 30
    while said.count("\n") < 2 and time.monotonic() < until:
        time.sleep(0.05)
        said += capsys.readouterr().err
    lines.tell(Step("embedding", 2e6, 2e6, "bytes of video", finished=True))
    lines.close()
    line = r"embedding: 1 of 2 MB of video, .+/s, about .+ left; 1 of 2 files done, now a\.mkv"
    assert len(said.splitlines()) >= 2
    assert all(re.fullmatch(line, each) for each in said.splitlines()), said


def test_what_is_done_at_once_prints_nothing_without_a_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with Bars() as bars:
        bars.start("checking", 2, "files")
        bars.advance("checking", 2)
        bars.finish("checking")
    assert capfd.readouterr() == ("", "")


STAGES = """if True:
    from vidsim.ingest.system.progress import Bars
    with Bars() as bars:
        bars.start("loading networks", None, "networks")
        bars.finish("loading networks")
        for _ in range(2):
            bars.start("embedding", 4e6, "bytes of video")
            bars.advance("embedding", 1e6)
            bars.note("embedding", "1 of 2 files done, now a.mkv")
            bars.finish("embedding")
"""


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_terminal_shows_a_bar_per_stage_if_it_can(term: str) -> None:
    control, terminal = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", STAGES],
        env=os.environ | {"TERM": term, "COLUMNS": "80"},
        stdin=subprocess.DEVNULL,
        stderr=terminal,
        check=True,
        timeout=60,
    )
    os.close(terminal)
    seen = b""
    with suppress(OSError):
        while part := os.read(control, 65536):
            seen += part
    os.close(control)
    assert done.returncode == 0
    if term == "dumb":
        assert seen == b""
        return
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert re.search(r"loading networks .* in 0:00:0\d", plain), plain
    assert re.search(r"embedding .* 1 of 4 MB of video, .+ MB/s, in 0:00:0\d", plain), plain
    assert "1 of 2 files done, now a.mkv" in plain


def test_the_steps_of_another_process_are_shown_as_ones_own() -> None:
    steps = [
        Step("pull", 0, None, "bytes"),
        Step("pull", 7, None, "bytes"),
        Step("embed", 0, 3, "videos"),
        Step("embed", 2, 3, "videos"),
        Step("pull", 7, None, "bytes", finished=True),
        Step("embed", 2, 3, "videos", note="a.mp4"),
        Step("embed", 2, 3, "videos", finished=True, note="a.mp4"),
        Step("embed", 0, 1, "videos"),
    ]
    shown: list[Step] = []
    repeat = repeating(Reporting(shown.append))
    for step in steps:
        repeat(step)
    assert shown == steps
