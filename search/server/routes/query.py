"""Routes that search: by uploads or stored videos, and what makes two of them alike."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi import Query as Parameter
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import UploadFile

from ....ingest.milvus.filters import is_in
from ....schemas.errors import MediaError
from ....schemas.explanation import Explanation
from ....schemas.modality import Modality
from ....schemas.results import QueryResult
from ..clips.asking import Clip, Comparison, Name, Named, Query, QueryWithout, answered
from ..clips.files import servable
from ..clips.listing import Facets
from ..clips.uploads import unkept
from ..http.guard import decoded, is_form
from .serving import Here, Serving
from .taking_in import take_in

router = APIRouter(prefix="/v1", tags=["search"])

_FORM = {
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/Query"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["clip"],
                "properties": {
                    "clip": {"type": "string", "format": "binary"},
                    "options": {"type": "string", "description": "JSON, as without a form"},
                },
            }
        },
    },
    "required": True,
}

_PIECE = 1 << 20


@router.post(
    "/query",
    summary="Rank stored videos by likeness to clips",
    response_model=QueryResult,
    openapi_extra={"requestBody": _FORM},
)
async def query(here: Here, request: Request) -> Response:
    """Ask by stored videos and uploads as JSON, or by one file in a form, which is not kept."""
    if is_form(request.headers):
        return await _query_by_form(here, request)
    asked = _validated(Query, await request.body())
    return await _answer(here, request, asked.clips, asked.unlike, asked)


async def _query_by_form(here: Serving, request: Request) -> Response:
    try:
        with here.uploads.place():
            async with request.form(max_files=1, max_fields=1) as form:
                file, options = form.get("clip"), form.get("options", "{}")
                if not isinstance(file, UploadFile) or isinstance(options, UploadFile):
                    raise MediaError(
                        "The form has no file; send one as 'clip', and 'options' as text."
                    )
                asked = _validated(QueryWithout, options)
                name = (file.filename or "clip").encode(errors="replace").decode()
                upload, _ = await take_in(here, name, _pieces(file), file.size)
    except UnicodeError as error:
        raise MediaError("The form is not understood; send it in UTF-8.") from error
    except OSError as error:  # a large one is in a temporary file meanwhile
        raise unkept("The form", error) from error
    try:
        return await _answer(here, request, [Clip(upload=upload.token)], [], asked)
    finally:
        here.uploads.drop(upload.token)


async def _pieces(file: UploadFile) -> AsyncIterator[bytes]:
    while piece := await file.read(_PIECE):
        yield piece


async def _answer(
    here: Serving, request: Request, clips: list[Clip], unlike: list[Clip], asked: QueryWithout
) -> Response:
    """Return the library's answer, which is valid and need not be checked again."""

    def ask(named: Named) -> QueryResult:
        how = asked.arguments()
        if (facets := asked.facets()) != Facets():
            stored = here.catalogue.now().videos
            passing = is_in("video_id", (n for n, v in stored.items() if facets.allow(v)))
            how["filter"] = f"({asked.filter}) and {passing}" if asked.filter else passing
        if asked.region and asked.exclude_self is None:
            how["exclude_self"] = not any(clip.upload for clip in clips)
        return here.library.query(
            [_taken(here, named, clip, asked) for clip in clips],
            unlike=[named.taken(clip) for clip in unlike],
            **how,
        )

    sent = [clip.upload for clip in (*clips, *unlike) if clip.upload]
    with here.meters.query("upload" if sent else "stored"), here.uploads.held(sent):
        said = await here.turns.run(lambda: answered(here.uploads, ask).model_dump_json(), request)
    return Response(said, media_type="application/json")


def _taken(here: Serving, named: Named, clip: Clip, asked: QueryWithout) -> str | FilePath:
    """Return a clip as the library takes it: of a region, which is not stored, its file."""
    if asked.region and clip.video is not None:
        return named.file(str(servable(here.catalogue, clip.video)), clip.video)
    return named.taken(clip)


@router.get(
    "/videos/{video}/neighbours",
    summary="Rank stored videos by likeness to a stored one",
    response_model=QueryResult,
)
async def neighbours(
    here: Here,
    request: Request,
    video: Annotated[str, Path(description="percent-encoded id, its slashes too", max_length=4096)],
    k: Annotated[int, Parameter(ge=1, le=1000)] = 10,
    min_score: Annotated[float, Parameter(ge=0, le=1)] = 0.0,
    modality: Annotated[list[Modality] | None, Parameter(description="none for all")] = None,
    library: Annotated[list[Name] | None, Parameter(description="none for all")] = None,
    filter: Annotated[str, Parameter(max_length=4096)] = "",
) -> Response:
    """Ask by a stored video, of which nothing is decoded."""
    asked = QueryWithout(
        k=k, min_score=min_score, modalities=modality, libraries=library or [], filter=filter
    )
    await request.body()
    return await _answer(here, request, [Clip(video=decoded(video))], [], asked)


@router.post("/compare", summary="Say what makes two clips alike, and where")
async def compare(here: Here, request: Request, asked: Comparison) -> Explanation:
    """Compare two stored videos or uploads over time and by modality."""

    def ask(named: Named) -> Explanation:
        return here.library.explain(named.taken(asked.first), named.taken(asked.second))

    sent = [clip.upload for clip in (asked.first, asked.second) if clip.upload]
    with here.meters.query("comparison"), here.uploads.held(sent):
        return await here.turns.run(lambda: answered(here.uploads, ask), request)


def _validated(model: type[Any], body: bytes | str) -> Any:
    """Return a body as a model; errors are those of FastAPI."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        found = json.loads(error.json(include_url=False, include_input=False))
        raise RequestValidationError(
            [{**each, "loc": ("body", *each["loc"])} for each in found]
        ) from error
