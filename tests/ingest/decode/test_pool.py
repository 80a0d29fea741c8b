"""The child process and the pool of decoders: nothing a file does hurts the others."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from vidsim.ingest.decode.events import Event, Failed, Finished, Opened, SegmentMedia
from vidsim.ingest.decode.pool import DecodeLimits, decode_all
from vidsim.ingest.decode.segments import DecodeRequest
from vidsim.ingest.system.sandbox import Confinement
from vidsim.ingest.system.worker_process import Child, StalledError
from vidsim.schemas.errors import WorkerError
from vidsim.schemas.modality import FrameSampling

from ...helpers import media_cases

MakeClip = Callable[..., Path]
FRAMES = {"x": FrameSampling(4, 32, "crop"), "y": FrameSampling(2, 16, "stretch")}

BAD_DECODER = """
import os, time
from vidsim.ingest.decode import worker as decode_worker

def main(channel):
    real = decode_worker.decode

    def decode(request, on_progress, until):
        name = os.path.basename(request.path)
        if "hang" in name:
            time.sleep(60)
        if "crash" in name:
            os.abort()
        if "greedy" in name:
            kept = bytearray(3 << 30)
        if "exit" in name:
            raise KeyError("a mistake of ours")
        if "liar" in name:
            channel.send("segment", {"index": 0, "start_s": 0, "end_s": 1}, {})
            os.write(channel._sock.fileno(), b"x" * 64)
        if "claims" in name:
            opened = {"duration_s": 40000.0, "segments": 4000, "has_video": False}
            opened |= {"has_audio": True, "divisible": False, "megapixels": 0}
            channel.send("opened", opened)
            while True:
                time.sleep(0.1)
                on_progress()
        if "slow" in name:
            for _ in range(30):
                time.sleep(0.1)
                on_progress()
        return real(request, on_progress, until)

    decode_worker.decode = decode
    decode_worker._HEARTBEAT_S = 0.2
    decode_worker.main(channel)
"""

ECHO = """
import os, signal, sys, time

def main(channel):
    print("chatter on stdout")
    while True:
        message = channel.receive()
        if message.kind == "sleep":
            time.sleep(60)
        if message.kind == "die":
            print("last words", file=sys.stderr, flush=True)
            os._exit(3)
        if message.kind == "signal":
            os.kill(os.getpid(), message.fields["number"])
        if message.kind == "write":
            with open(message.fields["path"], "wb") as file:
                file.write(bytes(4 << 20))
        if message.kind == "modules":
            channel.send("modules", {"names": sorted(sys.modules)})
            continue
        if message.kind == "huge":
            os.write(channel._sock.fileno(), b"vsm1" + b"\\xff" * 12)
            time.sleep(60)
        channel.send(message.kind, message.fields, message.arrays)
"""


@pytest.fixture(autouse=True)
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes `bad_decoder` and `echo` importable, here and in children."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "bad_decoder.py").write_text(BAD_DECODER)
    (folder / "echo.py").write_text(ECHO)
    monkeypatch.syspath_prepend(str(folder))


@contextlib.contextmanager
def echo(**options: object) -> Iterator[Child]:
    child = Child("echo:main", None, **options)  # type: ignore[arg-type]
    try:
        yield child
    finally:
        child.close()


def clean() -> tuple[int, int]:
    """(open file descriptors, children) of this process."""
    return psutil.Process().num_fds(), len(psutil.Process().children())


def run(
    paths: list[Path], workers: int = 2, limits: DecodeLimits | None = None
) -> dict[str, list[Event]]:
    """All events by file name."""
    requests = ((i, DecodeRequest(str(path), FRAMES, True)) for i, path in enumerate(paths))
    events: dict[str, list[Event]] = {}
    for number, event in decode_all(requests, workers, limits or DecodeLimits()):
        events.setdefault(paths[number].name, []).append(event)
    return events


def clips(make_clip: MakeClip, *names: str) -> list[Path]:
    tone = (440.0, 1.0, 16000, 1)
    return [
        make_clip(f"{name}.mkv", times=[i / 25 for i in range(25)], tone=tone) for name in names
    ]


def test_a_child_gives_arrays_and_fields_back_as_they_were() -> None:
    arrays: dict[str, npt.NDArray[Any]] = {
        "bytes": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
        "floats": np.random.default_rng(0).normal(size=200_000).astype(np.float32),
        "none": np.zeros((0, 1024), np.float32),
        "strided": np.arange(10, dtype=np.int64)[::2],
    }
    fields = {"text": "ünï\udcff", "number": 1.5, "list": [1, None, True]}
    with echo() as child:
        child.send("hello", fields, arrays)
        message = child.receive(10)
    assert (message.kind, message.fields) == ("hello", fields)
    assert set(message.arrays) == set(arrays)
    for name, array in arrays.items():
        assert message.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(message.arrays[name], array)


@pytest.mark.parametrize(
    ("kind", "fields", "sentence"),
    [
        ("die", {}, "the worker ended with code 3: last words"),
        ("signal", {"number": int(signal.SIGSEGV)}, r"the worker crashed \(SIGSEGV\)"),
        ("huge", {}, "the worker answered with something unreadable"),
    ],
)
def test_what_became_of_a_child_is_said_in_one_sentence(
    kind: str, fields: dict[str, int], sentence: str
) -> None:
    with echo() as child:
        child.send(kind, fields)
        with pytest.raises(WorkerError, match=sentence):
            child.receive(10)


def test_a_silent_child_is_killed() -> None:
    with echo() as child:
        child.send("sleep")
        with pytest.raises(StalledError, match=r"no answer for 0\.3 s"):
            child.receive(0.3)
        assert not psutil.pid_exists(child.pid)


def test_a_child_that_cannot_start_says_why() -> None:
    child = Child("no_such_module:main", None)
    with pytest.raises(WorkerError, match="No module named 'no_such_module'"):
        child.send("hello")


def test_a_child_ignores_ctrl_c() -> None:
    with echo() as child:
        child.send("one")
        child.receive(10)
        os.kill(child.pid, signal.SIGINT)
        child.send("two")
        assert child.receive(10).kind == "two"


def test_a_child_may_not_write_large_files(tmp_path: Path) -> None:
    with echo(file_limit_mb=1, confinement=Confinement.NONE) as child:
        child.send("write", {"path": str(tmp_path / "large")})
        with pytest.raises(WorkerError, match="File too large"):
            child.receive(10)
    assert (tmp_path / "large").stat().st_size <= 1 << 20


def test_children_leave_nothing_behind() -> None:
    with echo() as child:  # The first one starts the spawning thread.
        child.wait_ready()
    before = clean()
    for kind in ("hello", "die", "sleep"):
        with echo() as child:
            child.send(kind)
            with contextlib.suppress(WorkerError):
                child.receive(0.2)
            child.close()
    unused = Child("echo:main", None)
    unused.close(grace_s=0)
    assert clean() == before


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals are Linux's")
def test_a_child_does_not_outlive_its_parent() -> None:
    script = """
        import os, sys, threading
        from vidsim.ingest.system.worker_process import Child
        made = []
        def start():
            made.append(Child("echo:main", None))
            made[0].send("hello")
            made[0].receive(10)
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()  # It must not take the child along.
        made[0].send("again")
        made[0].receive(10)
        made[0].send("sleep")
        print(made[0].pid, flush=True)
        os.kill(os.getpid(), 9)
    """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env=env,
        stdout=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    pid = int(done.stdout)
    for _ in range(50):
        # Where nobody reaps orphans, what is left is a zombie.
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    pytest.fail("the child lives on")


def test_the_pool_decodes_every_file(make_clip: MakeClip) -> None:
    paths = clips(make_clip, *"abcdefg")
    events = run(paths)
    assert sorted(events) == sorted(path.name for path in paths)
    for of_file in events.values():
        opened, media, finished = of_file
        assert isinstance(opened, Opened)
        assert opened.segments == 1
        assert isinstance(media, SegmentMedia)
        assert finished == Finished(1)
        assert {name: a.shape for name, a in media.frames.items()} == {
            "x": (4, 32, 32, 3),
            "y": (2, 16, 16, 3),
        }
        assert media.audio is not None
        assert media.audio.shape == (16000,)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("hang", "decoding took more than 1 s without progress"),
        ("crash", "the decoder crashed (SIGABRT)"),
        ("greedy", "decoding it takes more memory than is allowed"),
        ("exit", "the decoder ended with code 1: KeyError: 'a mistake of ours'"),
        ("liar", "the decoder answered with something unreadable"),
    ],
)
def test_a_bad_file_costs_only_itself(make_clip: MakeClip, name: str, reason: str) -> None:
    paths = clips(make_clip, "a", name, "b", "c")
    limits = DecodeLimits(stall_s=1.0, memory_mb=2048, worker="bad_decoder:main")
    events = run(paths, workers=1, limits=limits)
    assert events.pop(f"{name}.mkv")[-1] == Failed(reason)
    assert sorted(events) == ["a.mkv", "b.mkv", "c.mkv"]
    assert all(of_file[-1] == Finished(1) for of_file in events.values())


def test_what_the_content_causes_is_told_from_what_the_machine_does(
    make_clip: MakeClip, tmp_path: Path
) -> None:
    text, gone = tmp_path / "text.mp4", tmp_path / "gone.mkv"
    text.write_text("no video" * 100)
    (cut,) = clips(make_clip, "cut")  # libav calls that an error of the disk
    cut.write_bytes(cut.read_bytes()[:400])
    events = run([text, gone, cut])
    no_video = Failed("not a video: it is in no format that vidsim reads", lasting=True)
    assert events["text.mp4"] == events["cut.mkv"] == [no_video]
    assert events["gone.mkv"] == [Failed("the file is not there")]


def test_what_a_decoder_said_last_is_in_the_log(
    make_clip: MakeClip, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "vidsim"):
        run(clips(make_clip, "exit"), 1, DecodeLimits(worker="bad_decoder:main"))
    assert "ended with code 1; last it said:" in caplog.text
    assert "Traceback (most recent call last)" in caplog.text


def test_memory_is_limited_where_a_gpu_may_decode_too(make_clip: MakeClip) -> None:
    limits = DecodeLimits(memory_mb=2048, worker="bad_decoder:main", nvdec=True)
    (end,) = run(clips(make_clip, "greedy"), 1, limits)["greedy.mkv"]
    assert end == Failed("decoding it takes more memory than is allowed")


def test_processor_time_of_a_file_and_open_files_are_limited(make_clip: MakeClip) -> None:
    requests = [
        (i, DecodeRequest(str(p), FRAMES, True)) for i, p in enumerate(clips(make_clip, "a"))
    ]
    others = psutil.Process().children()
    events = decode_all(requests, 1)
    next(events)
    (decoder,) = (child for child in psutil.Process().children() if child not in others)
    assert 0 < decoder.rlimit(psutil.RLIMIT_CPU)[0] < 3 * 86_400
    assert decoder.rlimit(psutil.RLIMIT_NOFILE) == (256, 256)
    assert decoder.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    events.close()


def test_a_lower_limit_of_processor_time_stays(make_clip: MakeClip, tmp_path: Path) -> None:
    """As `ulimit -t` sets it on machines that many share."""
    code = "import resource; resource.setrlimit(resource.RLIMIT_CPU, (900, 900))\n"
    real = "from vidsim.ingest.decode.worker import main\n"
    (tmp_path / "modules" / "hurried.py").write_text(code + real)
    (*_, end) = run(clips(make_clip, "a"), 1, DecodeLimits(worker="hurried:main"))["a.mkv"]
    assert end == Finished(1)


@pytest.mark.acceptance
def test_a_slow_file_that_makes_progress_is_waited_for(make_clip: MakeClip) -> None:
    limits = DecodeLimits(stall_s=2.5, worker="bad_decoder:main")  # it takes 3 s and its start
    assert run(clips(make_clip, "slow"), 1, limits)["slow.mkv"][-1] == Finished(1)


@pytest.mark.acceptance
def test_a_file_that_takes_too_long_in_all_is_given_up(make_clip: MakeClip) -> None:
    limits = DecodeLimits(stall_s=10.0, base_s=1.0, worker="bad_decoder:main")
    events = run(clips(make_clip, "slow", "a"), 1, limits)
    assert events["slow.mkv"] == [Failed("decoding took more than 1 s")]
    assert events["a.mkv"][-1] == Finished(1)


def test_a_file_that_claims_hours_is_given_the_time_of_what_it_holds(make_clip: MakeClip) -> None:
    limits = DecodeLimits(stall_s=10.0, base_s=1.0, worker="bad_decoder:main")
    *_, end = run(clips(make_clip, "claims"), 1, limits)["claims.mkv"]
    assert end == Failed("decoding took more than 1 s")


@pytest.mark.parametrize(
    ("what", "megabytes", "seconds", "pictures_a_second", "pixels", "takes_s"),
    [
        # What takes_s says was measured on one core, or is of the slowest codecs.
        ("an hour of 720p", 900, 3600, 25, 1280 * 720, 400),
        ("ten minutes of 4K at 60 pictures a second", 2000, 600, 60, 3840 * 2160, 2200),
        ("an hour of a screen in 4K at which nothing moves", 5, 3600, 30, 3840 * 2160, 1100),
        ("a slide for ten hours", 1, 36_000, 1, 1920 * 1080, 120),
        ("an hour of silence, 8 kHz", 57, 3600, 0, 0, 10),
        ("twelve hours of silence, compressed", 0.1, 43_200, 0, 0, 60),
        ("one picture an hour", 2, 43_200, 1 / 3600, 1920 * 1080, 120),
        ("a second of 8K", 20, 1, 60, 7680 * 4320, 6),
    ],
)
def test_honest_files_have_several_times_what_they_take(
    what: str,
    megabytes: float,
    seconds: int,
    pictures_a_second: float,
    pixels: int,
    takes_s: float,
) -> None:
    limits, size, segments = DecodeLimits(), int(megabytes * 1e6), seconds // 10
    megapixels = (seconds * pictures_a_second + segments * bool(pixels)) * pixels / 1e6
    opened = Opened(seconds, segments, bool(pixels), True, megapixels=megapixels)
    allowed_s = limits.opened_s(size, opened, 8192 * 4320) + segments * limits.per_segment_s
    assert allowed_s > 3 * takes_s, what


def test_a_small_file_is_not_allowed_long_whatever_it_claims() -> None:
    limits = DecodeLimits()
    assert limits.before_opened_s(80_000) < 61
    claims = Opened(43_200, 4320, True, True, megapixels=1e12)
    for_pixels_s = 0.05 * (80_000 + 4320) * 0.1  # a picture per byte at the very most
    assert limits.opened_s(80_000, claims, 100_000) < 61 + for_pixels_s


@pytest.mark.acceptance
def test_a_slow_consumer_costs_no_file(make_clip: MakeClip) -> None:
    path = make_clip(times=[i / 2 for i in range(200)])
    request = DecodeRequest(str(path), FRAMES, True, segment_seconds=5.0)
    limits = DecodeLimits(stall_s=0.5, base_s=1.0, per_megapixel_s=0.0, per_segment_s=0.0)
    events: list[Event] = []
    for _, event in decode_all([(0, request)], 1, limits):
        if len(events) < 4:
            time.sleep(0.7)
        events.append(event)
    assert events[-1] == Finished(20)


def test_decoding_waits_for_the_consumer(make_clip: MakeClip) -> None:
    paths = clips(make_clip, *(f"clip{i}" for i in range(12)))
    taken: list[int] = []

    def requests() -> Iterator[tuple[int, DecodeRequest]]:
        for i, path in enumerate(paths):
            taken.append(i)
            yield i, DecodeRequest(str(path), FRAMES, True)

    events = decode_all(requests(), 1)
    next(events)
    time.sleep(1.0)
    assert len(taken) <= 4
    assert sum(1 for _ in events) == 35


def test_no_decoder_is_left_at_the_end(make_clip: MakeClip) -> None:
    run(clips(make_clip, "first"))
    before = clean()
    run(clips(make_clip, "a", "b"))
    assert clean() == before


@pytest.mark.acceptance
def test_nothing_is_left_however_it_ends(make_clip: MakeClip) -> None:
    run(clips(make_clip, "first"))
    before = clean()
    paths = clips(make_clip, "a", "hang", "crash", "b")
    run(paths, 2, DecodeLimits(stall_s=0.5, worker="bad_decoder:main"))
    assert clean() == before

    events = decode_all(
        [(i, DecodeRequest(str(path), FRAMES, True)) for i, path in enumerate(paths[:2])],
        2,
        DecodeLimits(worker="bad_decoder:main"),
    )
    next(events)
    started = time.monotonic()
    events.close()  # One decoder hangs: closing must not wait for its stall limit.
    assert time.monotonic() - started < 3
    assert clean() == before


def test_what_goes_wrong_outside_files_is_raised(make_clip: MakeClip) -> None:
    def requests() -> Iterator[tuple[int, DecodeRequest]]:
        yield 0, DecodeRequest(str(path), FRAMES, True)
        raise OSError("the list ended early")

    (path,) = clips(make_clip, "a")
    with pytest.raises(OSError, match="ended early"):
        list(decode_all(requests(), 2))
    with pytest.raises(WorkerError, match="no_such_module"):
        run([path], 2, DecodeLimits(worker="no_such_module:main"))


def test_a_decoder_loads_no_network_library() -> None:
    script = "import sys, vidsim.ingest.decode.worker; print(*sys.modules)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    loaded = subprocess.run(
        [sys.executable, "-c", script], env=env, stdout=subprocess.PIPE, check=True, text=True
    ).stdout.split()
    assert not {"torch", "tensorflow", "jax", "faiss", "pymilvus"} & set(loaded)


@pytest.mark.acceptance
def test_every_file_of_the_collection_ends_in_a_segment_or_a_sentence(shared_data: Path) -> None:
    paths = sorted(path for path in (shared_data / "robustness").rglob("*") if path.is_file())
    assert paths
    started = time.monotonic()
    requests = [(i, DecodeRequest(str(path), FRAMES, True)) for i, path in enumerate(paths)]
    ends: dict[int, list[Event]] = {}
    for number, event in decode_all(requests, 2):
        ends.setdefault(number, []).append(event)
    assert time.monotonic() - started < 30
    assert sorted(ends) == list(range(len(paths)))
    for number, events in ends.items():
        last = events[-1]
        if isinstance(last, Failed):
            assert 5 < len(last.reason) < 200, paths[number]
            assert "\n" not in last.reason, paths[number]
            assert "decoder" not in last.reason, (paths[number], last)  # None may crash.
        else:
            assert isinstance(last, Finished), paths[number]
            assert last.segments > 0, paths[number]
            assert sum(isinstance(event, SegmentMedia) for event in events) == last.segments


def test_what_is_missing_of_a_file_is_told(tmp_path: Path) -> None:
    path = media_cases.write(tmp_path / "cut.avi", [media_cases.Piece(8.0)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    *_, finished = run([path])["cut.avi"]
    assert isinstance(finished, Finished)
    assert "are missing at its end" in finished.damage.describe()
