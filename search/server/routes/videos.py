"""Routes of what is stored: videos in pages, facets, and uploads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from ....schemas.results import LibrarySummary, Result, StoredVideo
from ....schemas.video import VideoOrder
from ..clips.listing import Counts, Facets, counted, listed
from .serving import Here

router = APIRouter(prefix="/v1", tags=["videos"])

_Text = Annotated[str, Query(max_length=4096)]


class VideoPage(Result):
    """A page of a list of stored videos."""

    videos: list[StoredVideo]
    total: int = Field(description="of all pages")


class LibraryList(Result):
    """All libraries of the home."""

    libraries: list[LibrarySummary]
    being_written: str = Field(description="which process writes the home; empty where none does")


def _facets(
    library: Annotated[list[str] | None, Query(description="may be given again")] = None,
    label: Annotated[list[str] | None, Query(description="may be given again")] = None,
    folder: Annotated[str, Query(max_length=4096, examples=["ucf101/YoYo"])] = "",
    contains: Annotated[str, Query(max_length=4096, description="of id or label")] = "",
    damaged: bool = False,
    min_s: Annotated[float | None, Query(ge=0)] = None,
    max_s: Annotated[float | None, Query(ge=0)] = None,
    since: Annotated[str, Query(max_length=32, examples=["2019-05-01"])] = "",
    until: Annotated[str, Query(max_length=32, examples=["2019-05-31"])] = "",
) -> Facets:
    return Facets(
        frozenset(library or ()),
        frozenset(label or ()),
        folder,
        contains,
        damaged,
        min_s,
        max_s,
        since,
        until,
    )


_Facets = Annotated[Facets, Depends(_facets)]
_Filter = Annotated[str, Query(max_length=4096, description="Milvus filter")]


@router.get("/videos", summary="List stored videos")
def videos(
    here: Here,
    facets: _Facets,
    filter: _Filter = "",
    sort: VideoOrder = "id",
    reverse: bool = False,
    limit: Annotated[int, Query(ge=1, le=1000)] = 60,
    offset: Annotated[int, Query(ge=0)] = 0,
) -> VideoPage:
    """List the videos that have all that is asked for, a page at a time."""
    found = listed(_filtered(here, filter), facets, sort, reverse)
    return VideoPage(videos=found[offset : offset + limit], total=len(found))


@router.get("/libraries", summary="List the libraries")
def libraries(here: Here) -> LibraryList:
    """List all libraries, with what each holds and whether its files are there."""
    return LibraryList(
        libraries=here.library.libraries(), being_written=here.library.being_written()
    )


@router.get("/facets", summary="Count stored videos by library, label, duration and day")
def facets(here: Here, facets: _Facets, filter: _Filter = "") -> Counts:
    """Count the videos that `GET /v1/videos` lists for the same parameters."""
    return counted(listed(_filtered(here, filter), facets, "id", False))


def _filtered(here: Here, filter: str) -> Iterator[StoredVideo]:
    stored = here.catalogue.now().videos
    if not filter:
        yield from stored.values()
        return
    found = here.library.find(filter=filter)
    yield from (stored[name] for of in found.values() for name in of if name in stored)
