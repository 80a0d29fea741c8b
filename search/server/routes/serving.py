"""What all routes share: the library, what is kept for it, and the limits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from ....schemas.serve import ServeOptions
from ...library import Library
from ..clips.catalogue import Catalogue
from ..clips.uploads import Uploads
from ..duplicates.decisions import Decisions
from ..duplicates.search import Duplicates
from ..http.turns import Turns
from ..jobs.folders import Folders
from ..jobs.jobs import Jobs
from ..maps.maps import Maps
from ..media.pictures import Pictures
from .meters import Meters


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
        folders: Folders that may be ingested.
        jobs: Ingests.
        duplicates: Videos that share footage.
        decisions: What people decided about them.
        meters: What is counted and timed.
        pictures: What is shown of files.
        maps: Maps of what is stored.
    """

    library: Library
    options: ServeOptions
    folder: Path
    catalogue: Catalogue
    uploads: Uploads
    turns: Turns
    folders: Folders
    jobs: Jobs
    duplicates: Duplicates
    decisions: Decisions
    meters: Meters
    pictures: Pictures
    maps: Maps


def serving(request: Request) -> Serving:
    """Return what the app of a request serves."""
    found: Serving = request.app.state.serving
    return found


Here = Annotated[Serving, Depends(serving)]
"""Parameter of a route that needs what is served."""
