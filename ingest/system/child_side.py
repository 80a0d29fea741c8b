"""The child's side of a `worker_process`: its limits, its confinement, and what it runs."""

from __future__ import annotations

import ctypes
import importlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable

from .channel import Channel
from .sandbox import Confinement, enter

_PR_SET_PDEATHSIG = 1


def serve(arguments: list[str]) -> None:
    """Run the child's side: set its limits, import its module, and run it to the end."""
    module_function, fd, parent, memory_mb, data_mb, file_mb, confinement = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle.
    _die_with(int(parent))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _limit(resource.RLIMIT_AS, int(memory_mb))
    _limit(resource.RLIMIT_DATA, int(data_mb))
    _limit(resource.RLIMIT_FSIZE, int(file_mb))
    channel = Channel(socket.socket(fileno=int(fd)), takes_files=True)
    module, _, function = module_function.partition(":")
    run: Callable[[Channel], None] = getattr(importlib.import_module(module), function)
    enter(Confinement(confinement))
    try:
        channel.send("ready")
        run(channel)
    except (EOFError, ConnectionError):
        pass  # The parent has closed the channel: no work is left.


def _limit(kind: int, megabytes: int) -> None:
    """Lower a limit of this process; leave it for 0, or if it is already lower."""
    _, hard = resource.getrlimit(kind)
    wanted = megabytes << 20
    if megabytes and (hard == resource.RLIM_INFINITY or wanted < hard):
        resource.setrlimit(kind, (wanted, wanted))


def _die_with(parent: int) -> None:
    """Ask the kernel to end this process when its parent ends, for whatever reason."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone")


if __name__ == "__main__":
    serve(sys.argv[1:])
