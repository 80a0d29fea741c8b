"""The app: all routes, their errors, and the files of the page."""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from ... import __version__
from .http.refusals import Refused, answer_errors
from .routes import about, duplicates, jobs, local, media, query, session, uploads, videos
from .routes import map as map_
from .routes.about import PAGE
from .routes.serving import Serving

_ABOUT = """Find videos that are alike by colour, frame content, sound and motion.

A video id such as `ucf101/YoYo/v_YoYo_g01_c01.avi` is one segment of a path: percent-encode its
slashes, too (`%2F`). Every answer that is no success has the body
`{"error": {"kind": ..., "message": ...}}`, where the message says what to do next. 429 comes with
`Retry-After`."""


def create_app(serving: Serving) -> FastAPI:
    """Return the app that serves a library; it closes nothing that is open."""
    app = FastAPI(
        title="vidsim",
        version=__version__,
        description=_ABOUT,
        openapi_url="/v1/openapi.json",
        responses={"default": {"model": Refused, "description": "Why it is refused"}},
        docs_url=None,  # these pages fetch their scripts from elsewhere
        redoc_url=None,
    )
    app.state.serving = serving
    answer_errors(app)
    for routes in (
        local,
        query,
        videos,
        uploads,
        jobs,
        duplicates,
        session,
        about,
        media,
        map_,
    ):
        app.include_router(routes.router)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})

    return app
