"""What a child process may do, by what it is for: its environment, its files, its calls.

Entered by the child once its modules are imported, before it reads a first request. Where the
kernel lacks a part, the others hold; `available` says which it has.
"""

from __future__ import annotations

import ctypes
import resource
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from . import landlock, syscall_filter

_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 38, 39
_PR_CAP_AMBIENT, _CLEAR_ALL = 47, 4
_CAPABILITIES_3 = 0x20080522
_MOST_CAPABILITIES = 64
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2

_OPEN_FILES = 256
"""Of those that read files of strangers, which have some ten open at once."""

_ENVIRONMENT = frozenset(
    {"PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD"}
    | {"PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "PYTHONNOUSERSITE"}
    | {"PYTHONHASHSEED", "PYTHONFAULTHANDLER", "PYTHONMALLOC", "PYTHONWARNINGS", "PYTHONUTF8"}
)
_ENVIRONMENT_BEGINS: tuple[str, ...] = ("LC_", "MALLOC_", "GLIBC_TUNABLES")
"""Of all children, but those that are vidsim itself."""

_COMPUTING = frozenset(
    {"HOME", "XDG_CACHE_HOME", "VIDSIM_CACHE", "VIDSIM_DEVICE", "VIDSIM_CPU_PATH"}
)
_COMPUTING_BEGINS = (
    "CUDA_",
    "NVIDIA_",
    "TF_",
    "XLA_",
    "OMP_",
    "MKL_",
    "OPENBLAS_",
    "KMP_",
    "GOMP_",
)
"""On top, of those that compute, perhaps on a GPU."""

_CODE_FOLDERS = ("site-packages", "dist-packages", "lib-dynload")


class Confinement(StrEnum):
    """What a child is for, from the least that it may do to the most.

    Attributes:
        MEDIA: Decode files of strangers. It reads the files that it is handed, and its own code;
            it writes none, and has no network, no other program and no other process.
        READING: The same, but it opens files by their names: it may read all that the user may.
        COMPUTING: Run networks, or decode on a GPU: files as the user has them, for the driver's
            sake, and programs, such as a compiler; no network and no capabilities.
        NONE: It is vidsim itself, and may do what its parent may.
    """

    MEDIA = "media"
    READING = "reading"
    COMPUTING = "computing"
    NONE = "none"


@dataclass(frozen=True)
class Available:
    """What the kernel gives to confine children with.

    Attributes:
        no_new_privileges: Whether a process can give up new privileges.
        seccomp: Whether it filters calls, and the numbers of this processor's calls are known.
        landlock: Version of its Landlock, 0 without.
    """

    no_new_privileges: bool
    seccomp: bool
    landlock: int

    @property
    def whole(self) -> bool:
        """Return whether nothing of what vidsim uses is missing."""
        return self.no_new_privileges and self.seccomp and self.landlock > 0


def available() -> Available:
    """Return what this kernel gives; changes nothing."""
    if sys.platform != "linux":
        return Available(False, False, 0)
    no_new = ctypes.CDLL(None).prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) >= 0
    return Available(no_new, syscall_filter.is_there(), landlock.abi())


def environment(confinement: Confinement, of: Mapping[str, str]) -> dict[str, str]:
    """Return what a child gets of an environment: no token, key or address of a server."""
    if confinement is Confinement.NONE:
        return dict(of)
    names, begins = _ENVIRONMENT, _ENVIRONMENT_BEGINS
    if confinement is Confinement.COMPUTING:
        names, begins = names | _COMPUTING, begins + _COMPUTING_BEGINS
    return {name: of[name] for name in of if name in names or name.startswith(begins)}


def enter(confinement: Confinement) -> None:
    """Confine this process for good.

    Raises:
        OSError: The kernel has a part of it, and refused.
    """
    if confinement is Confinement.NONE or sys.platform != "linux":
        return
    media = confinement is not Confinement.COMPUTING
    if media:
        _lower(resource.RLIMIT_NOFILE, _OPEN_FILES)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # Root reads what belongs to others by a capability. What opens files by their names keeps it.
    # Containers give another one for that, with which Landlock still refuses to write.
    _keep_capabilities(
        () if confinement is Confinement.MEDIA else (_DAC_READ_SEARCH, _DAC_OVERRIDE)
    )
    syscall_filter.refuse_calls(media)
    if confinement is Confinement.MEDIA:
        landlock.allow_only(_code())
    elif confinement is Confinement.READING:
        landlock.allow_only([("/", landlock.READ)])
    else:  # all files, but no look into processes outside: the parent's memory and environment
        landlock.allow_only([("/", landlock.ALL)])


def _lower(kind: int, to: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY or to < hard:
        resource.setrlimit(kind, (to, to))


def _keep_capabilities(one_of: Sequence[int]) -> None:
    """Drop all capabilities of this thread but the first of some that it has, for good."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    for number in range(_MOST_CAPABILITIES):
        libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)  # fails for who has none to drop
    header = struct.pack("@Ii", _CAPABILITIES_3, 0)
    had = ctypes.create_string_buffer(24)
    if libc.capget(header, had):
        return
    effective, *_ = struct.unpack("@6I", had.raw)
    kept = next((1 << number for number in one_of if effective & 1 << number), 0)
    left = struct.pack("@6I", kept, kept, 0, 0, 0, 0)
    libc.capset(header, left)


def _code() -> list[tuple[str, int]]:
    """Return what a program reads while it runs: modules, libraries, what the machine has."""
    package = Path(__file__).resolve().parents[2]
    folders = {sys.prefix, sys.base_prefix, sys.exec_prefix, str(package)}
    folders |= {entry for entry in sys.path if Path(entry).name in _CODE_FOLDERS}
    folders |= {"/lib", "/lib64", "/usr/lib", "/usr/lib64"}
    facts = ["/etc/ld.so.cache", "/etc/localtime", "/dev/urandom", "/proc/cpuinfo"]
    facts += ["/proc/meminfo", "/proc/stat", "/sys/devices/system/cpu"]
    readable = [(path, landlock.READ) for path in (*sorted(folders - {"/", ""}), *facts)]
    return [*readable, ("/dev/null", landlock.READ_AND_WRITE)]
