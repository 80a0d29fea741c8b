"""Routes of uploads: clips that clients send to ask by, kept for a while."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from ....ingest.decode.description import Description, Kind
from ....schemas.results import Result
from ..clips.uploads import KEPT_S, Upload
from ..media.pictures import source
from .serving import Here
from .taking_in import take_in

router = APIRouter(prefix="/v1", tags=["uploads"])


class Uploaded(Result):
    """An upload, and for how long it is kept."""

    upload: str = Field(description="what to ask by")
    name: str
    kind: Kind
    duration_s: float | None = Field(description="null for a picture")
    width: int | None = Field(description="pixels, upright and square; null for a sound")
    height: int | None
    plays: bool = Field(description="whether browsers play it as it is; else ask for clips")
    sound: bool
    expires_s: float = Field(description="after it was last asked for")


_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "/uploads", status_code=201, summary="Send a clip, sound or picture", openapi_extra=_BODY
)
async def send(
    here: Here,
    request: Request,
    name: Annotated[str, Query(max_length=1024, examples=["clip.mp4"])] = "clip",
) -> Uploaded:
    """Keep the body as a clip to ask by; its networks run when it is asked by, and only then."""
    length = request.headers.get("content-length", "")
    size = int(length) if length.isdecimal() else None
    with here.uploads.place():
        upload, found = await take_in(here, name, request.stream(), size)
    return _told(upload, found)


@router.get("/uploads/{upload}", summary="Describe a clip that was sent")
async def details(here: Here, upload: str) -> Uploaded:
    """Describe an upload, which is kept for longer then."""
    kept = here.uploads.get(upload)
    seen = source(kept.name, kept.path, upload=True)
    found = await here.pictures.turns.run(lambda: here.pictures.described(seen))
    return _told(kept, found)


def _told(upload: Upload, found: Description) -> Uploaded:
    return Uploaded(
        upload=upload.token,
        name=upload.name,
        kind=found.kind,
        duration_s=found.duration_s,
        width=found.width,
        height=found.height,
        plays=found.plays,
        sound=found.sound,
        expires_s=KEPT_S,
    )


@router.delete("/uploads/{upload}", status_code=204, summary="Delete a clip that was sent")
def delete(here: Here, upload: str) -> None:
    """Delete an upload; nothing is said where there is none."""
    here.uploads.drop(upload)
