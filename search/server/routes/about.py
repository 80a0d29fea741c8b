"""Routes about the server itself: whether it lives, whether it can answer, what it measures."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from ....ingest.shards.home import read_notes
from ....schemas.errors import StoreError
from ....schemas.results import Result
from .meters import CONTENT_TYPE
from .serving import Here, Serving

router = APIRouter(tags=["about"])

PAGE = Path(__file__).parents[1] / "page"
"""Folder of the page's files."""


class Health(Result):
    """That the server lives."""

    status: Literal["ok"] = "ok"


class Readiness(Result):
    """Whether the server can answer."""

    status: Literal["ready", "not ready"]
    reasons: list[str] = Field(default=[], description="why not, in sentences")


@router.get("/healthz", summary="Say that the server lives")
async def health() -> Health:
    """Answer at once, whatever else goes on."""
    return Health()


@router.get(
    "/readyz",
    summary="Say whether the server can answer",
    response_model=Readiness,
    responses={503: {"model": Readiness}},
)
def readiness(here: Here) -> Response:
    """Read the home, and look whether uploads can be kept and the page is there."""
    reasons = [*_reasons(here)]
    found = Readiness(status="not ready" if reasons else "ready", reasons=reasons)
    return JSONResponse(found.model_dump(), 503 if reasons else 200)


@router.get(
    "/metrics",
    summary="Return what the server measures",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"example": "vidsim_uploads 0.0\n"}}}},
)
def metrics(here: Here) -> Response:
    """Return queries, their times and queue, jobs and library sizes in Prometheus' text format."""
    return Response(here.meters.text(), media_type=CONTENT_TYPE)


def _reasons(here: Serving) -> Iterator[str]:
    try:
        read_notes(here.library.home)
    except StoreError as error:
        yield str(error)
    try:
        with tempfile.TemporaryFile(dir=here.folder / "uploads") as file:
            file.write(b"0")
    except OSError as error:
        yield f"Uploads cannot be kept in {here.folder} ({error.strerror}); see to that."
    if not (PAGE / "index.html").is_file():
        yield f"The page is not in {PAGE}; install vidsim again."
