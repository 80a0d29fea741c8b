"""Routes of what is seen and heard: files as they are, and clips and pictures made from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response
from pydantic import ConfigDict, Field

from ....ingest.decode.description import Kind
from ....ingest.decode.pictures import WIDTH
from ....schemas.errors import LibraryError, MediaError
from ....schemas.results import Result, StoredVideo
from ..clips.files import servable
from ..http.guard import decoded
from ..http.refusals import Refused
from ..http.sending import media_type, send_made, send_media
from ..media import drawing
from ..media.derived import Wanted
from ..media.pictures import Source, source
from .serving import Here, Serving

router = APIRouter(prefix="/v1", tags=["media"])

_Video = Annotated[
    str,
    Path(
        description="percent-encoded id, its slashes too",
        examples=["ucf101%2FYoYo%2Fv_YoYo_g01_c01.avi"],
    ),
]
_Upload = Annotated[str, Path(description="of an upload", examples=["Xw3v7k0d4rCkq0u8m2yQ7A"])]
_Start = Annotated[float, Query(ge=0, le=1e6, description="seconds from the file's start")]
_End = Annotated[
    float | None, Query(ge=0, le=1e6, description="seconds; none for as much as may be asked for")
]
_Size = Annotated[int, Query(ge=16, le=1280, description="pixels of the longer side")]

_CLIP = ("video/mp4", "audio/mp4")

_EXAMPLE: dict[str, Any] = {
    "video_id": "ucf101/YoYo/v_YoYo_g01_c01.avi",
    "path": "/data/ucf101/YoYo/v_YoYo_g01_c01.avi",
    "label": "YoYo",
    "duration_s": 7.2,
    "size": 512000,
    "segments": 1,
    "sound": False,
    "modalities": ["color", "frame"],
    "rows": {"labhist": 1, "efficientnet_lite0": 8},
    "damage": "",
    "stored_at": "2019-05-01T12:00:00Z",
    "there": True,
    "decodes": True,
    "plays": False,
    "kind": "video",
    "container": "avi",
    "codec": "mpeg4",
    "width": 320,
    "height": 240,
    "has_sound_track": False,
    "storyboard": {"columns": 5, "rows": 5, "width": 160, "height": 120, "times_s": [0.144, 0.432]},
}


class StoryboardPlan(Result):
    """How frames lie in a storyboard: in rows from the top left, all of one size."""

    columns: int
    rows: int
    width: int = Field(description="pixels of each frame")
    height: int
    times_s: list[float] = Field(description="when each is on the screen, about")


class VideoDetails(StoredVideo):
    """A stored video, and what its file is."""

    there: bool = Field(description="whether its file is there, below its library's folder")
    decodes: bool = Field(default=False, description="false where it is there and cannot be shown")
    plays: bool = Field(
        default=False, description="whether browsers play the file itself; else ask for clips"
    )
    kind: Kind | None = Field(default=None, description="null where that is not known")
    container: str | None = None
    codec: str | None = Field(
        default=None, description="of the picture, or of the sound where it has none"
    )
    width: int | None = Field(default=None, description="pixels, upright and square")
    height: int | None = None
    has_sound_track: bool = False
    storyboard: StoryboardPlan | None = Field(default=None, description="null without one")

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})


@router.get("/videos/{video}", summary="Describe a stored video and its file")
async def details(here: Here, video: _Video) -> VideoDetails:
    """Describe a video that is stored, whether or not its file is there and decodes."""
    return await here.pictures.turns.run(lambda: _details(here, decoded(video)))


def _details(here: Serving, video_id: str) -> VideoDetails:
    stored = here.catalogue.video(video_id)
    there, found = True, None
    try:
        found = here.pictures.described(source(video_id, servable(here.catalogue, video_id)))
    except LibraryError:
        there = False
    except MediaError:
        pass
    if found is None:
        return VideoDetails(**stored.model_dump(), there=there)
    plan = drawing.plan_storyboard(found)
    return VideoDetails(
        **stored.model_dump(),
        there=True,
        decodes=True,
        plays=found.plays,
        kind=found.kind,
        container=found.container,
        codec=found.codec,
        width=found.width,
        height=found.height,
        has_sound_track=found.sound,
        storyboard=None if plan is None else _planned(plan),
    )


def _planned(plan: drawing.Storyboard) -> StoryboardPlan:
    return StoryboardPlan(
        columns=drawing.COLUMNS,
        rows=drawing.ROWS,
        width=plan.width,
        height=plan.height,
        times_s=list(plan.times_s),
    )


def _stored(here: Here, video: _Video) -> Source:
    video_id = decoded(video)
    return source(video_id, servable(here.catalogue, video_id))


def _sent(here: Here, upload: _Upload) -> Source:
    found = here.uploads.get(upload)
    return source(found.name, found.path, upload=True)


# FastAPI calls these in threads: they ask the disk.
_Stored = Annotated[Source, Depends(_stored)]
_Sent = Annotated[Source, Depends(_sent)]

_Route = Callable[[Callable[..., Any]], Callable[..., Any]]


def _file(path: str, summary: str, *types: str) -> _Route:
    """Route GET and HEAD to what answers with a file of these media types."""
    content = {t: {"schema": {"type": "string", "format": "binary"}} for t in types}
    responses: dict[int | str, dict[str, Any]] = {
        200: {"content": content, "description": "the file"},
        206: {"content": content, "description": "ranges of it"},
        304: {"description": "what the browser has is right still"},
        416: {"model": Refused},
    }

    def add(answer: Callable[..., Any]) -> Callable[..., Any]:
        router.get(path, summary=summary, response_class=Response, responses=responses)(answer)
        router.head(path, include_in_schema=False, response_class=Response)(answer)
        return answer

    return add


async def _made(here: Serving, request: Request, want: Callable[[], Wanted]) -> Response:
    """Answer with what is wanted, made if need be."""

    def make() -> Response:
        wanted = want()
        return send_made(request, here.pictures.made(wanted), wanted.suffix)

    return await here.pictures.turns.run(make)


async def _as_it_is(here: Serving, request: Request, of: Source) -> Response:
    """Answer with a file, by the type that it has, whatever its name is."""

    def send() -> Response:
        found = here.pictures.described(of)
        type_ = media_type(found.kind, found.container)
        return send_media(request, of.path, of.name.rpartition("/")[2], type_)

    return await here.pictures.turns.run(send)


@_file("/videos/{video}/media", "The file of a video as it is", "video/*", "audio/*")
async def media(here: Here, request: Request, of: _Stored) -> Response:
    """Send the file; whether browsers play it, `plays` of the video's details says."""
    return await _as_it_is(here, request, of)


@_file("/uploads/{upload}/media", "The file of an upload", "video/*", "audio/*", "image/*")
async def media_of_upload(here: Here, request: Request, of: _Sent) -> Response:
    """Send the file; whether browsers play it, `plays` of the upload says."""
    return await _as_it_is(here, request, of)


@_file("/videos/{video}/clip", "A stretch of a video that browsers play", *_CLIP)
async def clip(
    here: Here, request: Request, of: _Stored, start_s: _Start = 0.0, end_s: _End = None
) -> Response:
    """Make a stretch of up to 60 s once: MP4 of up to 480 lines, or of a sound the sound alone."""
    return await _made(here, request, lambda: here.pictures.clip(of, start_s, end_s))


@_file("/uploads/{upload}/clip", "A stretch of an upload that browsers play", *_CLIP)
async def clip_of_upload(
    here: Here, request: Request, of: _Sent, start_s: _Start = 0.0, end_s: _End = None
) -> Response:
    """Make a stretch, as of a video."""
    return await _made(here, request, lambda: here.pictures.clip(of, start_s, end_s))


@_file("/videos/{video}/thumbnail", "A frame of a video", "image/jpeg")
async def thumbnail(
    here: Here, request: Request, of: _Stored, at_s: _Start = 0.0, size: _Size = WIDTH
) -> Response:
    """Show what is on the screen at a time, upright."""
    return await _made(here, request, lambda: here.pictures.thumbnail(of, at_s, size))


@_file("/uploads/{upload}/thumbnail", "A frame of an upload", "image/jpeg")
async def thumbnail_of_upload(
    here: Here, request: Request, of: _Sent, at_s: _Start = 0.0, size: _Size = WIDTH
) -> Response:
    """Show what is on the screen at a time, upright; of a picture the picture."""
    return await _made(here, request, lambda: here.pictures.thumbnail(of, at_s, size))


@_file("/videos/{video}/storyboard", "Frames from all over a video", "image/jpeg")
async def storyboard(here: Here, request: Request, of: _Stored) -> Response:
    """Show 25 frames in rows of 5; the video's details say when each is on the screen."""
    return await _made(here, request, lambda: here.pictures.storyboard(of))


@_file("/videos/{video}/preview", "Frames from all over a video, animated", "image/webp")
async def preview(here: Here, request: Request, of: _Stored) -> Response:
    """Show 12 frames one after another."""
    return await _made(here, request, lambda: here.pictures.preview(of))


@_file("/videos/{video}/strip", "The dominant colours of a video over time", "image/png")
async def strip(here: Here, request: Request, video: _Video) -> Response:
    """Show the vid2img strip that is stored with the video; its file need not be there."""
    pictures, videos = here.pictures, here.catalogue
    return await _made(here, request, lambda: pictures.stored_strip(videos.video(decoded(video))))


@_file("/uploads/{upload}/strip", "The dominant colours of an upload over time", "image/png")
async def strip_of_upload(here: Here, request: Request, of: _Sent) -> Response:
    """Make the vid2img strip of an upload."""
    return await _made(here, request, lambda: here.pictures.strip(of))


@_file("/videos/{video}/spectrogram", "The spectrogram of a video", "image/png")
async def spectrogram(
    here: Here, request: Request, of: _Stored, start_s: _Start = 0.0, end_s: _End = None
) -> Response:
    """Show what is heard over time by pitch, low pitch at the bottom; of up to 600 s."""
    return await _made(here, request, lambda: here.pictures.spectrogram(of, start_s, end_s))


@_file("/uploads/{upload}/spectrogram", "The spectrogram of an upload", "image/png")
async def spectrogram_of_upload(
    here: Here, request: Request, of: _Sent, start_s: _Start = 0.0, end_s: _End = None
) -> Response:
    """Show what is heard over time by pitch, as of a video."""
    return await _made(here, request, lambda: here.pictures.spectrogram(of, start_s, end_s))
