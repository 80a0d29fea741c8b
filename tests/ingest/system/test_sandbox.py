"""What child processes may do: each by what it is for, whoever runs vidsim."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from vidsim.ingest.system import landlock, sandbox, syscall_filter
from vidsim.ingest.system.sandbox import Available, Confinement, available
from vidsim.ingest.system.worker_process import Child
from vidsim.schemas.errors import WorkerError

PROBE = """
import ctypes, os, resource, signal, socket, subprocess, sys, threading

def main(channel):
    while True:
        message = channel.receive()
        asked = message.fields
        if message.kind == "read given":
            said = os.pread(message.file, 100, 0).decode() if message.file is not None else None
            channel.send("said", {"said": said, "errno": asked.get("errno")})
            continue
        try:
            said = ACTS[message.kind](**asked)
            channel.send("said", {"said": said, "errno": 0})
        except OSError as error:
            channel.send("said", {"said": "", "errno": error.errno})
        except RuntimeError as error:
            channel.send("said", {"said": str(error), "errno": -1})

def raw(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def thread():
    done = []
    thread = threading.Thread(target=lambda: done.append("ran"))
    thread.start()
    thread.join()
    return done[0]

def memory():
    file = os.memfd_create("x")
    with open(f"/proc/self/fd/{file}", "r+b") as again:
        again.write(b"kept")
    return os.pread(file, 9, 0).decode()

ACTS = {
    "environment": lambda: dict(os.environ),
    "read": lambda path: open(path).read(),
    "write": lambda path: str(open(path, "w").write("x")),
    "unlink": lambda path: os.unlink(path),
    "chmod": lambda path: os.chmod(path, 0o777),
    "truncate": lambda path: os.truncate(path, 0),
    "rename": lambda path: os.rename(path, path + "2"),
    "touch": lambda path: os.utime(path),
    "inet": lambda: str(socket.socket()),
    "unix": lambda: str(socket.socket(socket.AF_UNIX)),
    "raw socket": lambda: str(socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
    "fork": lambda: os.fork() or os._exit(0),
    "program": lambda: str(subprocess.run(["true"]).returncode),
    "signal": lambda pid: os.kill(pid, 0),
    "limits": lambda pid: str(resource.prlimit(pid, resource.RLIMIT_CPU)),
    "trace": lambda pid: raw(101 if os.uname().machine == "x86_64" else 117, 16, pid, 0, 0),
    "io_uring": lambda: raw(425, 1, 0),
    "unheard of": lambda: raw(5000),
    "unshare": lambda: raw(272 if os.uname().machine == "x86_64" else 97, 0x10000000),
    "thread": thread,
    "memory": memory,
    "start": lambda: str(subprocess.Popen(["sleep", "600"]).pid),
    "import": lambda: __import__("wave").__name__,
}
"""

TOKENS = {
    "VIDSIM_TOKEN": "root:hidden",
    "VIDSIM_SERVE_TOKEN": "hidden",
    "VIDSIM_URI": "http://root:hidden@milvus",
    "AWS_SECRET_ACCESS_KEY": "hidden",
    "PIP_INDEX_URL": "https://me:hidden@index",
    "SSH_AUTH_SOCK": "/run/agent",
}


@pytest.fixture(autouse=True)
def probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "sandbox_probe.py").write_text(PROBE)
    monkeypatch.syspath_prepend(str(folder))


@contextmanager
def child(confinement: Confinement = Confinement.MEDIA) -> Iterator[Child]:
    started = Child("sandbox_probe:main", None, confinement=confinement)
    try:
        started.wait_ready()
        yield started
    finally:
        started.close()


def ask(of: Child, kind: str, path: str | None = None, **fields: Any) -> Any:
    """What it did, or the errno with which it was refused."""
    of.send(kind, fields, path=path)
    said = of.receive(20).fields
    return said["errno"] or said["said"]


def status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


REFUSED = errno.EPERM if available().seccomp else None
"""What a call that is filtered ends with; None where this kernel has no filters."""
HIDDEN = errno.EACCES if available().landlock else None


def refused(found: Any, by: int | None) -> bool:
    return by is None or found == by


@pytest.mark.parametrize("confinement", [c for c in Confinement if c is not Confinement.NONE])
def test_secrets_of_the_environment_stay_with_the_parent(
    confinement: Confinement, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**TOKENS, "LC_TIME": "C", "MALLOC_ARENA_MAX": "2"}.items():
        monkeypatch.setenv(name, value)
    with child(confinement) as it:
        found = ask(it, "environment")
    assert not TOKENS.keys() & found.keys()
    assert "hidden" not in "".join(found.values())
    assert (found["LC_TIME"], found["MALLOC_ARENA_MAX"]) == ("C", "2")


def test_what_is_vidsim_itself_has_all_that_its_parent_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VIDSIM_TOKEN", "root:hidden")
    with child(Confinement.NONE) as it:
        assert ask(it, "environment")["VIDSIM_TOKEN"] == "root:hidden"
        assert status(it.pid)["CapEff"] == status(os.getpid())["CapEff"]


@pytest.mark.parametrize("confinement", [c for c in Confinement if c is not Confinement.NONE])
def test_no_child_has_capabilities_or_may_get_any(confinement: Confinement) -> None:
    with child(confinement) as it:
        found = status(it.pid)
    read_search = 1 << 2
    kept = 0 if confinement is Confinement.MEDIA else read_search
    assert int(found["CapEff"], 16) & ~kept == int(found["CapPrm"], 16) & ~kept == 0
    assert int(found["CapInh"], 16) == int(found["CapAmb"], 16) == 0
    assert int(found["CapBnd"], 16) == 0 or os.geteuid() != 0
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2" or not available().seccomp


@pytest.mark.parametrize("confinement", [Confinement.MEDIA, Confinement.READING])
def test_what_decodes_reaches_no_network_process_or_program(confinement: Confinement) -> None:
    me = {"pid": os.getpid()}
    with child(confinement) as it:
        for kind in ("inet", "unix", "raw socket", "fork", "io_uring", "unshare"):
            assert refused(ask(it, kind), REFUSED), kind
        for kind in ("signal", "limits", "trace"):
            assert refused(ask(it, kind, **me), REFUSED), kind
        assert REFUSED is None or ask(it, "program") in (errno.EPERM, errno.EACCES)
        assert REFUSED is None or ask(it, "unheard of") == errno.ENOSYS
        # And what it needs, it can do.
        assert ask(it, "signal", pid=it.pid) is None
        assert ask(it, "thread") == "ran"
        assert ask(it, "memory") == "kept"
        assert ask(it, "import") == "wave"


@pytest.mark.parametrize("confinement", [Confinement.MEDIA, Confinement.READING])
def test_what_decodes_changes_no_file(confinement: Confinement, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("as it was")
    before = file.stat()
    with child(confinement) as it:
        assert refused(ask_about(it, "write", tmp_path / "new"), HIDDEN)
        assert refused(ask_about(it, "write", file), HIDDEN)
        for kind in ("unlink", "chmod", "truncate", "rename", "touch"):
            assert refused(ask_about(it, kind, file), REFUSED), kind
    if REFUSED and HIDDEN:
        assert file.read_text() == "as it was"
        after = file.stat()
        for what in ("st_mode", "st_size", "st_mtime_ns", "st_ino"):
            assert getattr(after, what) == getattr(before, what)


def ask_about(of: Child, kind: str, file: Path) -> Any:
    of.send(kind, {"path": str(file)})
    said = of.receive(20).fields
    return said["errno"] or said["said"]


def test_a_decoder_reads_the_file_that_it_is_given_and_no_other(tmp_path: Path) -> None:
    mine, secret = tmp_path / "mine", tmp_path / "secret"
    mine.write_text("of this request")
    secret.write_text("of somebody")
    with child() as it:
        assert refused(ask_about(it, "read", secret), HIDDEN)
        assert refused(ask_about(it, "read", Path("/etc/passwd")), HIDDEN)
        assert refused(ask_about(it, "read", Path("/proc/self/environ")), HIDDEN)
        assert ask(it, "read given", path=str(mine)) == "of this request"
    with child(Confinement.READING) as it:
        assert ask_about(it, "read", secret) == "of somebody"


@pytest.mark.parametrize("confinement", [c for c in Confinement if c is not Confinement.NONE])
def test_the_parent_cannot_be_looked_into(confinement: Confinement) -> None:
    with child(confinement) as it:
        for name in ("environ", "mem", "maps"):
            assert refused(ask_about(it, "read", Path(f"/proc/{os.getpid()}/{name}")), HIDDEN)


def test_this_kernel_is_asked_right() -> None:
    """Else whatever is not refused would pass for what the kernel lacks."""
    modules = Path("/sys/kernel/security/lsm")
    if modules.exists():
        assert ("landlock" in modules.read_text().split(",")) == (available().landlock > 0)
    assert Path("/proc/sys/kernel/seccomp").exists() == available().seccomp


def test_what_is_no_plain_file_is_not_opened_for_a_child(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with child() as it:
        assert ask(it, "read given", path=str(tmp_path / "gone")) == errno.ENOENT
        for odd in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
            assert ask(it, "read given", path=str(odd)) is None
        assert ask(it, "read given", path="nul\0") is None


def test_what_computes_has_no_network_either() -> None:
    with child(Confinement.COMPUTING) as it:
        for kind in ("inet", "raw socket", "io_uring", "unshare"):
            assert refused(ask(it, kind), REFUSED), kind
        for kind in ("signal", "trace"):
            assert refused(ask(it, kind, pid=os.getpid()), REFUSED), kind
        assert ask(it, "unix").startswith("<socket")
        assert ask(it, "program") == "0"


@pytest.mark.parametrize("killed", [False, True])
def test_what_a_child_started_ends_with_it(killed: bool) -> None:
    with child(Confinement.COMPUTING) as it:
        pid = int(ask(it, "start"))
        assert psutil.pid_exists(pid)
        if killed:
            it.kill(signal.SIGKILL)
            with pytest.raises(WorkerError, match="SIGKILL"):
                it.receive(10)
    for _ in range(100):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.05)
    pytest.fail("it lives on")


def test_a_kernel_without_these_confines_as_far_as_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(syscall_filter, "is_there", lambda: False)
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    assert not syscall_filter.refuse_calls(media=True)
    assert not landlock.allow_only([("/", landlock.READ)])
    found = available()
    assert (found.seccomp, found.landlock, found.whole) == (False, 0, False)
    assert Available(True, True, 1).whole
    assert sandbox.environment(Confinement.NONE, {"A": "b"}) == {"A": "b"}


ALLOWED = 0x7FFF0000
EPERM, ENOSYS = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS


def verdict(program: list[tuple[int, int, int, int]], arch: int, number: int, first: int) -> int:
    """What a filter says of a call, with the meaning of its instructions in linux/filter.h."""
    at, held = 0, 0
    while True:
        what, if_so, if_not, value = program[at]
        at += 1
        if what == 0x20:
            held = {0: number, 4: arch, 16: first & 0xFFFFFFFF}[value]
        elif what == 0x06:
            return value
        else:
            true = {0x15: held == value, 0x25: held > value, 0x45: bool(held & value)}[what]
            at += if_so if true else if_not


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("x86_64", {"read": 0, "ptrace": 101, "execve": 59, "bpf": 321, "fork": 57, "chmod": 90}),
        ("aarch64", {"read": 63, "ptrace": 117, "execve": 221, "bpf": 280, "fchmodat": 53}),
    ],
)
def test_the_filter_of_each_processor_refuses_the_same(name: str, numbers: dict[str, int]) -> None:
    machine = syscall_filter._MACHINES[name]
    for media in (True, False):
        program = [*syscall_filter._program(machine, media, 77)]

        def says(
            number: int, first: int = 0, arch: int = machine.audit, program: Any = program
        ) -> int:
            return verdict(program, arch, number, first)

        assert says(numbers["read"]) == ALLOWED
        assert says(numbers["ptrace"]) == says(numbers["bpf"]) == EPERM
        of_media = EPERM if media else ALLOWED
        assert says(numbers["execve"]) == of_media
        assert says(numbers.get("chmod", numbers.get("fchmodat", 0))) == of_media
        assert says(machine.kill, 77) == says(machine.tgkill, 77) == ALLOWED
        assert says(machine.kill, 1) == says(machine.kill, -1) == says(machine.tgkill, 1) == EPERM
        assert says(machine.prlimit64, 0) == says(machine.prlimit64, 77) == ALLOWED
        assert says(machine.prlimit64, 1) == EPERM
        assert says(machine.clone, 0x3D0F00) == ALLOWED  # pthread_create of glibc
        assert says(machine.clone, signal.SIGCHLD) == of_media
        assert says(435) == (ENOSYS if media else ALLOWED)
        assert says(machine.socket, 1) == of_media
        assert (
            says(machine.socket, 2) == says(machine.socket, 10) == says(machine.socket, 17) == EPERM
        )
        assert says(451) == ENOSYS
        assert says(0x40000000 | 1) == EPERM
        assert says(numbers["read"], arch=0x40000003) == EPERM  # a 32-bit program's
