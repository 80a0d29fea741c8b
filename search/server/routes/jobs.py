"""Routes of ingest: which folders there are, and jobs with their progress."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from ....ingest.discover.videos import library_name
from ....schemas.errors import LibraryError
from ..http.guard import TRUSTED
from ..http.refusals import ForbiddenError
from ..jobs.folders import FolderList
from ..jobs.job import IngestRequest, Job, JobList
from ..jobs.jobs import Jobs
from .serving import Here, Serving

router = APIRouter(prefix="/v1", tags=["ingest"])

_LOOK_S = 0.25
"""Time between two looks at a job: nobody sees more than four changes a second."""

_ALIVE_S = 15.0
"""Time after which a comment is sent: proxies end a connection that is silent for a minute."""

_LAST = "ended"
"""Id of the last event: who connects again with it is told to come no more."""


@router.get("/folders", summary="List the folders that may be ingested")
def folders(
    here: Here,
    parent: Annotated[
        str | None, Query(max_length=100, description="id of a folder; none for the roots")
    ] = None,
) -> FolderList:
    """List the roots, or the folders in a folder."""
    return here.folders.listed(parent)


@router.post("/ingest", summary="Ingest a folder, as a job", status_code=202)
def ingest(
    here: Here,
    asked: IngestRequest,
    request: Request,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="the same key and body give the same job"),
    ] = None,
) -> Job:
    """Start a job, or have it wait for those before it."""
    key, digest = idempotency_key or "", hashlib.sha256(asked.model_dump_json().encode())
    job = here.jobs.known(key, digest.hexdigest())
    if job is None:
        trusted = bool(request.scope.get(TRUSTED))
        folder, library = _chosen(here, asked, trusted)
        job = here.jobs.submit(folder, library, asked.options(), key=key, asked=digest.hexdigest())
    response.headers["Location"] = f"/v1/ingest/{job.job}"
    return job


@router.get("/ingest", summary="List the jobs")
def jobs(here: Here) -> JobList:
    """List all jobs that wait or run, and the newest of those that ended."""
    return JobList(jobs=here.jobs.all())


@router.get("/ingest/{job}", summary="Return a job")
def job(here: Here, job: str) -> Job:
    """Return a job as it is now."""
    return here.jobs.get(job)


@router.get(
    "/ingest/{job}/events",
    summary="Follow a job",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "server-sent events `job`, whose data is the job, until it has ended",
            "content": {"text/event-stream": {"example": "event: job\ndata: {...}\n\n"}},
        },
        204: {"description": "the client has had the last event"},
    },
)
async def events(
    here: Here, job: str, last_event_id: Annotated[str | None, Header()] = None
) -> Response:
    """Send the job at once, and again at each change."""
    found = here.jobs.get(job)
    if found.ended and last_event_id == _LAST:
        return Response(status_code=204)  # browsers connect again for ever otherwise
    return StreamingResponse(
        _events(here.jobs, job),
        media_type="text/event-stream",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


@router.post("/ingest/{job}/cancel", summary="Cancel a job")
def cancel(here: Here, job: str) -> Job:
    """End a job; what it finished stays stored. One that has ended stays as it is."""
    return here.jobs.cancel(job)


@router.post("/ingest/{job}/retry", summary="Do a job again", status_code=202)
def retry(here: Here, job: str, request: Request, response: Response) -> Job:
    """Start a new job like one that has ended, which goes on from what is stored."""
    folder = Path(here.jobs.get(job).folder)
    if not request.scope.get(TRUSTED) and not here.folders.allows(folder):
        raise ForbiddenError(
            f"{folder} is below none of the folders that this server may ingest; run 'vidsim "
            "ingest' on it, or start the server with --root."
        )
    again = here.jobs.retry(job)
    response.headers["Location"] = f"/v1/ingest/{again.job}"
    return again


def _chosen(here: Serving, asked: IngestRequest, trusted: bool) -> tuple[Path, str]:
    """Return the folder to ingest, and the library's name.

    Raises:
        ForbiddenError: It was asked for by its path, and not by the home's own socket.
        LibraryError: It is not known, or the name can be none of a library.
    """
    name = asked.name
    if asked.path is not None:
        if not trusted:
            raise ForbiddenError("Folders are chosen by their ids; /v1/folders lists them.")
        folder = Path(asked.path)
        if not folder.is_absolute():
            raise LibraryError(f"{folder} is no absolute path; give one.")
    elif asked.folder is not None:
        folder, known = here.folders.choose(asked.folder)
        name = name or known
    else:
        folder = here.folders.of_library(asked.library or "")
        name = name or asked.library
    return folder, library_name(folder, name)


async def _events(jobs: Jobs, job_id: str) -> AsyncIterator[str]:
    """Yield the events of a job.

    Looking four times a second costs next to nothing, and needs no way from the threads of jobs to
    the loop; sse-starlette would add a dependency for these lines.
    """
    seen, silent_s = -1, 0.0
    while True:
        try:
            job, revision = jobs.look(job_id)
        except LibraryError:  # it is kept no longer
            return
        if revision != seen:
            name = f"id: {_LAST}\n" if job.ended else ""
            yield f"event: job\n{name}data: {job.model_dump_json()}\n\n"
            seen, silent_s = revision, 0.0
        elif silent_s >= _ALIVE_S:
            yield ": the job goes on\n\n"
            silent_s = 0.0
        if job.ended:
            return
        await asyncio.sleep(_LOOK_S)
        silent_s += _LOOK_S
