"""The calls of the kernel that a confined process may not make, as a seccomp filter.

A list of what is refused, not of what is allowed: codecs, numpy and the C library would break with
their next version else. Calls newer than the list are answered as by a kernel that lacks them.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_AF_UNIX = 1
_CLONE_THREAD = 0x00010000
_X32 = 0x40000000

_LAST_KNOWN = 450
"""set_mempolicy_home_node, of Linux 5.17; numbers from 424 on are the same on all machines."""

_ANY_KERNEL = """
ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, kcmp 312 272,
pidfd_open 434 434, pidfd_getfd 438 438, pidfd_send_signal 424 424, process_madvise 440 440,
process_mrelease 448 448, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240, tkill 200 130,
mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, open_tree 428 428,
move_mount 429 429, fsopen 430 430, fsconfig 431 431, fsmount 432 432, fspick 433 433,
mount_setattr 442 442, unshare 272 97, setns 308 268, quotactl 179 60, quotactl_fd 443 443,
name_to_handle_at 303 264, open_by_handle_at 304 265, fanotify_init 300 262, acct 163 89,
bpf 321 280, perf_event_open 298 241, userfaultfd 323 282, lookup_dcookie 212 18,
io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427,
kexec_load 246 104, kexec_file_load 320 294, reboot 169 142, syslog 103 116,
init_module 175 105, finit_module 313 273, delete_module 176 106,
add_key 248 217, request_key 249 218, keyctl 250 219, personality 135 92, vhangup 153 58,
swapon 167 224, swapoff 168 225, sethostname 170 161, setdomainname 171 162,
settimeofday 164 170, clock_settime 227 112, adjtimex 159 171, clock_adjtime 305 266,
migrate_pages 256 238, move_pages 279 239, nfsservctl 180 42,
iopl 172, ioperm 173, modify_ldt 154, uselib 134
"""
"""Refused to all: name, number on x86_64, number on aarch64 where there is one."""

_OF_MEDIA = """
execve 59 221, execveat 322 281, fork 57, vfork 58,
socket 41 198, connect 42 203, bind 49 200, listen 50 201, accept 43 202, accept4 288 242,
shmget 29 194, shmat 30 196, shmctl 31 195, semget 64 190, semop 65 193, semctl 66 191,
semtimedop 220 192, msgget 68 186, msgsnd 69 189, msgrcv 70 188, msgctl 71 187,
mq_open 240 180, mq_unlink 241 181,
truncate 76 45, rename 82, renameat 264 38, renameat2 316 276, mkdir 83, mkdirat 258 34, rmdir 84,
creat 85, link 86, linkat 265 37, unlink 87, unlinkat 263 35, symlink 88, symlinkat 266 36,
mknod 133, mknodat 259 33, chmod 90, fchmod 91 52, fchmodat 268 53, chown 92, fchown 93 55,
lchown 94, fchownat 260 54, utime 132, utimes 235, futimesat 261, utimensat 280 88,
setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15,
fremovexattr 199 16
"""
"""Refused on top to those that read files of strangers: other programs, processes, sockets, shared
memory, and all that changes files by their names."""


@dataclass(frozen=True)
class _Machine:
    """What differs between processors.

    Attributes:
        audit: Its name in a filter (linux/audit.h).
        column: Where its numbers stand in the lists.
    """

    audit: int
    column: int
    seccomp: int
    clone: int
    kill: int
    tgkill: int
    prlimit64: int
    socket: int


_MACHINES = {
    "x86_64": _Machine(0xC000003E, 1, 317, 56, 62, 234, 302, 41),
    "aarch64": _Machine(0xC00000B7, 2, 277, 220, 129, 131, 261, 198),
}
_CLONE3 = 435

_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_TSYNC = 1
_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_LOAD, _EQUAL, _GREATER, _ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _FIRST_ARGUMENT_AT = 0, 4, 16

_Step = tuple[int, int, int, int]
"""An instruction of BPF (linux/filter.h): what, steps to skip if so, and if not, value."""


def is_there() -> bool:
    """Return whether this kernel takes a filter, and this processor's numbers are known."""
    machine = _MACHINES.get(os.uname().machine)
    action = struct.pack("@I", _ERRNO)
    return machine is not None and not _seccomp(machine, _GET_ACTION_AVAIL, 0, action)


def refuse_calls(media: bool) -> bool:
    """Refuse calls to all threads of this process, for good; new privileges must be off.

    What is refused fails with EPERM.

    Args:
        media: Whether it reads files of strangers, and needs no program, process or socket.

    Returns:
        Whether the kernel does so.

    Raises:
        OSError: It has filters, and takes this one not.
    """
    machine = _MACHINES.get(os.uname().machine)
    if machine is None or not is_there():
        return False
    steps = [*_program(machine, media, os.getpid())]
    data = b"".join(struct.pack("<HBBI", *step) for step in steps)
    held = ctypes.create_string_buffer(data, len(data))
    program = struct.pack("@HxxxxxxP", len(steps), ctypes.addressof(held))
    if _seccomp(machine, _SET_MODE_FILTER, _TSYNC, program):
        raise OSError(ctypes.get_errno(), "seccomp refused the filter")
    return True


def _seccomp(machine: _Machine, *arguments: object) -> int:
    return int(ctypes.CDLL(None, use_errno=True).syscall(machine.seccomp, *arguments))


def _program(machine: _Machine, media: bool, pid: int) -> Iterator[_Step]:
    refused, unknown = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
    yield _LOAD, 0, 0, _ARCH_AT
    yield _EQUAL, 1, 0, machine.audit
    yield _RETURN, 0, 0, refused  # 32-bit programs' calls
    yield _LOAD, 0, 0, _NUMBER_AT
    yield _GREATER, 0, 1, _X32 - 1
    yield _RETURN, 0, 0, refused
    yield _GREATER, 0, 1, _LAST_KNOWN
    yield _RETURN, 0, 0, unknown
    for number in _numbers(_ANY_KERNEL + "," + (_OF_MEDIA if media else ""), machine.column):
        yield _EQUAL, 0, 1, number
        yield _RETURN, 0, 0, refused
    yield from _only(machine.kill, [pid])
    yield from _only(machine.tgkill, [pid])
    yield from _only(machine.prlimit64, [0, pid])
    if media:
        # Threads only. The flags of clone3 lie in memory, which a filter cannot read: without it
        # the C library falls back to clone.
        yield _EQUAL, 0, 1, _CLONE3
        yield _RETURN, 0, 0, unknown
        yield _EQUAL, 0, 4, machine.clone
        yield _LOAD, 0, 0, _FIRST_ARGUMENT_AT
        yield _ANY_BIT, 1, 0, _CLONE_THREAD
        yield _RETURN, 0, 0, refused
        yield _RETURN, 0, 0, _ALLOW
    else:
        yield from _only(machine.socket, [_AF_UNIX])
    yield _RETURN, 0, 0, _ALLOW


def _only(number: int, firsts: list[int]) -> Iterator[_Step]:
    """Allow a call with one of some first arguments, and refuse it with any other."""
    yield _EQUAL, 0, len(firsts) + 3, number
    yield _LOAD, 0, 0, _FIRST_ARGUMENT_AT
    for place, first in enumerate(firsts):
        yield _EQUAL, len(firsts) - place, 0, first
    yield _RETURN, 0, 0, _ERRNO | errno.EPERM
    yield _RETURN, 0, 0, _ALLOW


def _numbers(text: str, column: int) -> Iterable[int]:
    for entry in text.split(","):
        words = entry.split()
        if column < len(words):
            yield int(words[column])
