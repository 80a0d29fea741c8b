"""Options of ``vidsim serve``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class ServeOptions:
    """How a library is served.

    Attributes:
        host: The address to listen on.
        port: The port; 0 for any that is free.
        token: What every request must bring; "" for none, which only a loopback address may have.
        hosts: Names by which the server may be asked for, besides this machine's.
        roots: Folders of which folders may be ingested, besides those of known libraries.
        most_waiting: Queries that may run or wait.
        max_upload_mb: Size of an upload, in MB.
        max_clip_s: Length of an uploaded clip, in seconds.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = field(default="", repr=False)
    hosts: frozenset[str] = frozenset()
    roots: tuple[Path, ...] = ()
    most_waiting: int = 64
    max_upload_mb: int = 512
    max_clip_s: float = 900.0
