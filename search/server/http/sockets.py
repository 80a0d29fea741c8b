"""Where a server listens: a port, and a socket in the home that only its owner can open."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ....schemas.errors import SettingsError

FOLDER = "server"
"""Folder of a server's own files, below the home."""

SOCKET = "socket"
"""Name of its socket there."""

NOTE = "serving.json"
"""Name of a note there: who serves the home, where, and as which version."""

WAITING = 128
"""Connections that may wait to be accepted."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        SettingsError: The address is none of this machine, or is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
        found.listen(WAITING)
    except OSError as error:
        raise SettingsError(
            f"vidsim cannot listen at {host}, port {port} ({error.strerror}); give another --port, "
            "or --port 0 for any that is free."
        ) from error
    return found


def listen_in(folder: Path) -> socket.socket:
    """Return a socket that listens in a folder, in the place of what a killed server left there.

    Raises:
        OSError: The folder cannot be written.
    """
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with short_path(folder) as path:
        with suppress(FileNotFoundError):
            os.unlink(path)
        found.bind(path)
        os.chmod(path, 0o600)
    found.listen(WAITING)
    return found


def connect_to(folder: Path) -> socket.socket:
    """Return a socket that is connected to the server of a folder.

    Raises:
        OSError: None answers there.
    """
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short_path(folder) as path:
            found.connect(path)
    except BaseException:
        found.close()
        raise
    return found


@contextmanager
def short_path(folder: Path) -> Iterator[str]:
    """Yield a path of the folder's socket that is short enough for the kernel, whatever it is.

    Linux takes paths of up to 107 bytes for sockets (unix(7)).
    """
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)
