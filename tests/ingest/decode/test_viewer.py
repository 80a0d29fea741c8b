"""Looking into untrusted files: few children, which end, and no file that harms the next."""

from __future__ import annotations

import io
import threading
import time
from contextlib import suppress
from pathlib import Path

import av
import psutil
import pytest

from vidsim.ingest.decode.container import UnreachableError
from vidsim.ingest.decode.viewer import Viewer
from vidsim.schemas.errors import MediaError, WorkerError

from ...helpers.clips import MakeClip

TIMES = [n / 25 for n in range(50)]

BAD = """
import os, signal, time
import numpy as np

def main(channel):
    while True:
        message = channel.receive()
        path = message.fields["path"]
        if path == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if path == "slow":
            time.sleep(0.3)
        if message.kind == "clip":
            channel.send("data", {}, {"data": np.zeros(3, np.float32)})
        if message.kind == "hear":
            channel.send("sound", {}, {"sound": np.zeros(7, np.float32)})
        if message.kind == "describe":
            channel.send("done", {
                "kind": "video", "container": path, "codec": "x", "width": 1, "height": 1,
                "duration_s": 1.0, "sound": False, "plays": True,
            })
        else:
            channel.send("done", {"start_s": 0, "end_s": "soon", "picture": 1, "sound": 1})
"""


def children(worker: str = "viewer_worker") -> int:
    """How many children of this process look into files; other tests may have left some."""
    count = 0
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it ends just now
            count += worker in " ".join(child.cmdline())
    return count


def test_all_that_is_shown_of_a_file_comes_from_one_child(make_clip: MakeClip) -> None:
    clip = str(make_clip("a.mkv", times=TIMES, tone=(440, 2, 16000, 1)))
    viewer = Viewer(idle_s=0.2)
    try:
        assert children() == 0
        assert viewer.describe(clip).codec == "ffv1"
        frames = viewer.look(clip, [1.0, 0.0], 64)
        assert [f.mean() for f in frames if f is not None] == pytest.approx(
            [25 * 255 / 219, 0], abs=1.5
        )
        heard = viewer.hear(clip, 0.5, 1.5)
        assert heard is not None
        assert heard.shape == (16_000,)
        file = io.BytesIO()
        encoded = viewer.clip(clip, 0.5, 1.5, file)
        assert (encoded.picture, encoded.sound) == (True, True)
        with av.open(io.BytesIO(file.getvalue())) as container:
            assert container.duration == pytest.approx(1_000_000, abs=30_000)
        assert children() == 1
        end = time.monotonic() + 10
        while children() and time.monotonic() < end:
            time.sleep(0.05)
        assert children() == 0, "it is ended when nothing is asked"
    finally:
        viewer.close()


def test_a_bad_file_is_told_and_does_not_harm_the_next(tmp_path: Path, make_clip: MakeClip) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    clip = str(make_clip("a.mkv", times=TIMES[:5]))
    viewer = Viewer()
    try:
        with pytest.raises(MediaError, match="not a video"):
            viewer.clip(str(tmp_path / "text.mp4"), 0, 1, io.BytesIO())
        with pytest.raises(UnreachableError, match="not there"):
            viewer.look(str(tmp_path / "gone.mp4"), [0])
        assert viewer.describe(clip).width == 64
        assert viewer.hear(clip, 0, 1) is None
        assert children() == 1
    finally:
        viewer.close()


@pytest.mark.acceptance
def test_a_child_that_crashes_or_lies_costs_its_file_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad_viewer.py").write_text(BAD)
    monkeypatch.syspath_prepend(str(tmp_path))
    viewer = Viewer("bad_viewer:main")
    try:
        with pytest.raises(MediaError, match="crashed"):
            viewer.describe("crash")
        with pytest.raises(MediaError, match="something unreadable"):
            viewer.describe("<script>")
        with pytest.raises(MediaError, match="something unreadable"):
            viewer.clip("a", 0, 1, io.BytesIO())
        with pytest.raises(MediaError, match="something unreadable"):
            viewer.hear("a", 0, 1)
        with pytest.raises(MediaError, match="no picture of it decodes"):
            viewer.look("a", [0])
        assert viewer.describe("fine").container == "fine"
    finally:
        viewer.close()


@pytest.mark.acceptance
def test_few_children_serve_many_threads_and_a_closed_viewer_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad_viewer.py").write_text(BAD)
    monkeypatch.syspath_prepend(str(tmp_path))
    viewer = Viewer("bad_viewer:main", most=2)
    done: list[str] = []
    threads = [
        threading.Thread(target=lambda: done.append(viewer.describe("slow").container))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        most = max(most, children("bad_viewer"))
        time.sleep(0.02)
    assert done == ["slow"] * 5
    assert most == 2
    viewer.close()
    assert children("bad_viewer") == 0
    with pytest.raises(WorkerError, match="stopping"):
        viewer.describe("fine")
