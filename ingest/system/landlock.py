"""Landlock: a process gives up all files but those that it names (Linux 5.13 and later)."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterable
from contextlib import suppress

_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""System calls; the same on all processors."""

_VERSION = 1
_PATH_BENEATH = 1

_WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
_READ_DIR = 1 << 3
_OF_A_FILE = _WRITE_FILE | READ_FILE | 1 << 0 | 1 << 14
"""Rights that a rule for something else than a folder may name (linux/landlock.h)."""

ALL = ~0
READ = READ_FILE | _READ_DIR
READ_AND_WRITE = READ | _WRITE_FILE

_FILES_SINCE = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""What is refused about files: since ABI 1 all but moving between folders (2), cutting by name (3)
and commands to devices (5)."""

_NET_SINCE, _NET = 4, 3
"""Binding and connecting TCP."""

_SCOPED_SINCE, _SCOPED = 6, 3
"""Abstract sockets and signals of processes that are not confined so."""


def abi() -> int:
    """Return the version of Landlock that this kernel has; 0 for none."""
    found = ctypes.CDLL(None).syscall(_CREATE, None, ctypes.c_size_t(0), _VERSION)
    return max(0, int(found))


def allow_only(paths: Iterable[tuple[str, int]]) -> bool:
    """Give up, in this thread and those it starts, all access to files but some, for good.

    Files that are open already stay readable, and so do those handed over by others. New privileges
    must be off.

    Args:
        paths: Files and folders with what may be done with them and all below: `READ`,
            `READ_AND_WRITE` or `ALL`. One that is not there is passed over.

    Returns:
        Whether the kernel does so.

    Raises:
        OSError: It has Landlock, and refused.
    """
    version = abi()
    if not version:
        return False
    files = sum(rights for since, rights in _FILES_SINCE.items() if since <= version)
    attributes = struct.pack("@Q", files)
    if version >= _NET_SINCE:
        attributes += struct.pack("@Q", _NET)
    if version >= _SCOPED_SINCE:
        attributes += struct.pack("@Q", _SCOPED)
    rules = _call(_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    try:
        for path, rights in paths:
            try:
                folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                allowed = rights & files & (~0 if os.path.isdir(path) else _OF_A_FILE)
                with suppress(OSError):  # of a file system that has no rules
                    _call(_ADD, rules, _PATH_BENEATH, struct.pack("=Qi", allowed, folder), 0)
            finally:
                os.close(folder)
        _call(_RESTRICT, rules, 0)
    finally:
        os.close(rules)
    return True


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    found = int(libc.syscall(number, *arguments))
    if found < 0:
        raise OSError(ctypes.get_errno(), "Landlock refused")
    return found
