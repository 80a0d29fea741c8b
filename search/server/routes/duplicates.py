"""Routes of duplicates: groups of videos that share footage, and what people decide about them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field, model_validator

from ....schemas.duplicates import DuplicateOptions
from ....schemas.errors import VidsimError
from ....schemas.results import Result
from ..clips.asking import Asked, Name
from ..clips.files import servable
from ..duplicates.decisions import Choice, Decision
from ..duplicates.groups import (
    DuplicateGroups,
    DuplicateSearch,
    Judged,
    described,
    grouped,
    groups_csv,
    judged,
    video_ids,
)
from ..media.pictures import source
from .serving import Here, Serving

router = APIRouter(prefix="/v1", tags=["duplicates"])

_Libraries = Annotated[list[str] | None, Query(description="none for all; may be given again")]


def _options(
    max_distance: Annotated[
        int, Query(ge=0, le=64, description="most differing bits of two frames' 64-bit hashes")
    ] = DuplicateOptions.max_distance,
    min_similarity: Annotated[
        float, Query(ge=-1, le=1, description="least cosine of the mean frame embeddings")
    ] = DuplicateOptions.min_similarity,
) -> DuplicateOptions:
    return DuplicateOptions(max_distance, min_similarity)


_Wait = Annotated[
    float,
    Query(ge=0, le=60, description="seconds to wait for a search; then 202 says how far it is"),
]
_WAIT_S = 20.0

_LOOK_S = 5.0
"""Seconds in which the files of one page are looked into: some hundred on one core."""

_STILL: dict[int | str, dict[str, Any]] = {
    202: {"model": DuplicateSearch, "description": "the search goes on; ask again"}
}

_Options = Annotated[DuplicateOptions, Depends(_options)]


class DecisionList(Result):
    """All that was decided."""

    decisions: list[Decision] = Field(description="the newest last")


class DecisionRequest(Asked):
    """What is decided about two videos."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "first": "demo/copy_of_siren.mp4",
                    "second": "demo/siren.mp4",
                    "decision": "keep",
                    "keep": "demo/siren.mp4",
                }
            ]
        }
    )

    first: Name
    second: Name
    decision: Choice | None = Field(description="null takes back what was decided")
    keep: Name | None = Field(default=None, description="which of the two; none for both")

    @model_validator(mode="after")
    def _fits(self) -> DecisionRequest:
        if self.first == self.second:
            raise ValueError("'first' and 'second' are one video")
        if self.keep is not None and self.decision != "keep":
            raise ValueError("'keep' goes with the decision 'keep'")
        if self.keep not in (None, self.first, self.second):
            raise ValueError("'keep' is neither 'first' nor 'second'")
        return self


class Decided(Result):
    """What is decided about two videos now."""

    decision: Decision | None


@router.get(
    "/duplicates",
    summary="List groups of videos that share footage",
    response_model=DuplicateGroups,
    responses=_STILL,
)
async def duplicates(
    here: Here,
    options: _Options,
    library: _Libraries = None,
    undecided: Annotated[
        bool, Query(description="only groups with a pair about which nothing is decided")
    ] = False,
    limit: Annotated[int, Query(ge=1, le=200, description="groups")] = 20,
    offset: Annotated[int, Query(ge=0)] = 0,
    wait_s: _Wait = _WAIT_S,
) -> DuplicateGroups | JSONResponse:
    """List groups, a page at a time; the first time after a change of the home takes long."""
    found = await here.duplicates.find(library or (), options, wait_s)
    if found is None:
        return _still(here)

    def page() -> DuplicateGroups:
        pairs = judged(found, here.decisions)
        groups = grouped(pairs)
        if undecided:
            groups = [of for of in groups if any(pair.decision is None for pair in of)]
        shown = groups[offset : offset + limit]
        pixels = _pixels(here, shown)
        return DuplicateGroups(
            groups=[described(of, found, pixels) for of in shown],
            total=len(groups),
            decided=sum(pair.decision is not None for pair in pairs),
            **{name: getattr(found.report, name) for name in _OF_REPORT},
        )

    return await to_thread.run_sync(page)


_OF_REPORT = ("libraries", "videos", "max_distance", "min_similarity", "failed", "notes")


@router.get(
    "/duplicates.csv",
    summary="Return all pairs as CSV",
    response_class=Response,
    responses=_STILL | {200: {"content": {"text/csv": {}}}},
)
async def as_csv(
    here: Here, options: _Options, library: _Libraries = None, wait_s: _Wait = _WAIT_S
) -> Response:
    """Return a line per pair under a header: its group, what was decided, and where they match."""
    found = await here.duplicates.find(library or (), options, wait_s)
    if found is None:
        return _still(here)

    def text() -> str:
        lines = groups_csv(grouped(judged(found, here.decisions)), found.report)
        return "".join(f"{line}\n" for line in lines)

    return Response(
        await to_thread.run_sync(text),
        media_type="text/csv",
        headers={"content-disposition": 'attachment; filename="duplicates.csv"'},
    )


@router.get("/duplicates/decisions", summary="List what was decided")
def decisions(here: Here) -> DecisionList:
    """List all decisions, by the ids that videos had when they were made."""
    return DecisionList(decisions=here.decisions.all())


@router.put("/duplicates/decisions", summary="Decide about two videos")
def decide(here: Here, asked: DecisionRequest) -> Decided:
    """Note which of two videos to keep, or that they are not the same; no file is touched."""
    first, second = here.duplicates.side(asked.first), here.duplicates.side(asked.second)
    return Decided(decision=here.decisions.decide(first, second, asked.decision, asked.keep))


def _still(here: Serving) -> JSONResponse:
    """Return how far the search is."""
    body = DuplicateSearch(stages=here.duplicates.stages())
    return JSONResponse(body.model_dump(), 202, {"Retry-After": "1"})


def _pixels(here: Serving, groups: Sequence[Sequence[Judged]]) -> dict[str, tuple[int, int]]:
    """Return width and height of the videos of groups, as far as they are known.

    Each file is looked into once, and what is seen kept. The looks of a page end after a while;
    the same page asked for again has more of them.
    """
    found = {}
    until = time.monotonic() + _LOOK_S
    for video_id in (video_id for pairs in groups for video_id in video_ids(pairs)):
        if time.monotonic() > until:
            break
        with suppress(VidsimError):  # it is gone, out of bounds or damaged, which others tell
            seen = here.pictures.described(source(video_id, servable(here.catalogue, video_id)))
            if seen.width and seen.height:
                found[video_id] = seen.width, seen.height
    return found
