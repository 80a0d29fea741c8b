"""What all routes share: the library, what is kept for it, and the limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from ..library import Library
from .catalogue import Catalogue
from .turns import Turns
from .uploads import Uploads

FOLDER = "server"
"""Folder of the server's own files, below the home."""


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


@dataclass(frozen=True)
class Serving:
    """A library that is served, and what is kept for it.

    Attributes:
        library: The library, open for as long as the server runs.
        options: The limits.
        folder: Folder of the server's own files.
        catalogue: What is stored.
        uploads: Clips of clients.
        turns: Turns of queries.
    """

    library: Library
    options: ServeOptions
    folder: Path
    catalogue: Catalogue
    uploads: Uploads
    turns: Turns


def serving(request: Request) -> Serving:
    """Return what the app of a request serves."""
    found: Serving = request.app.state.serving
    return found


Here = Annotated[Serving, Depends(serving)]
"""Parameter of a route that needs what is served."""
