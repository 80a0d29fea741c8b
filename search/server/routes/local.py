"""Routes of the home's own socket: what commands ask for, who name files by their paths.

The answer is a line of JSON per step of progress, then one with the result or the error.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from threading import Event
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from ....ingest.system.progress import Step
from ....schemas.errors import VidsimError
from ....schemas.video import VideoId
from ..clips.asking import Asked, Named
from ..http.guard import TRUSTED
from .serving import Here, Serving

Tell = Callable[[Step], None]

_running: set[asyncio.Task[None]] = set()
"""What runs, also for those who have gone: asyncio itself keeps no task."""

_log = logging.getLogger(__name__)


class _GoneError(Exception):
    """Ends work that nobody waits for.

    No KeyboardInterrupt: asyncio would end the server with it.
    """


def _trusted(request: Request) -> None:
    """Raise 404 for whoever did not come by the home's socket: for them there is nothing here."""
    if not request.scope.get(TRUSTED):
        raise HTTPException(404, "Not Found")


router = APIRouter(prefix="/local", include_in_schema=False, dependencies=[Depends(_trusted)])


class LocalClip(Asked):
    """What a person calls a clip, and the file that this is; None where there is none."""

    name: str
    file: str | None


class LocalQuery(Asked):
    """The arguments of `Library.query`; the command of the same version made them."""

    clips: list[LocalClip]
    unlike: list[LocalClip]
    arguments: dict[str, Any]


class LocalDuplicates(Asked):
    """The arguments of `Library.duplicates`."""

    libraries: list[str]
    arguments: dict[str, Any]


@router.post("/query")
async def query(here: Here, asked: LocalQuery) -> StreamingResponse:
    """Answer ``vidsim query``."""
    named = Named(here.uploads)

    def work(tell: Tell) -> Any:
        with named.telling():
            result = here.library.query(
                [_clip(here, named, clip) for clip in asked.clips],
                unlike=[_clip(here, named, clip) for clip in asked.unlike],
                progress=tell,
                **asked.arguments,
            )
        # The name is what was typed; where the file lies is told as it is.
        return named.renamed(result).model_copy(update={"example_paths": result.example_paths})

    return _streamed(here, work)


@router.post("/duplicates")
async def duplicates(here: Here, asked: LocalDuplicates) -> StreamingResponse:
    """Answer ``vidsim duplicates``."""
    return _streamed(
        here,
        lambda tell: here.library.duplicates(*asked.libraries, progress=tell, **asked.arguments),
    )


@router.post("/libraries")
async def libraries(here: Here) -> StreamingResponse:
    """Answer ``vidsim libraries``."""
    return _streamed(here, lambda _: here.library.libraries())


def _clip(here: Serving, named: Named, clip: LocalClip) -> str | Path:
    if clip.file is None or clip.name in here.catalogue.now().videos:
        return VideoId(clip.name)
    return named.file(clip.file, clip.name)


def _streamed(here: Serving, work: Callable[[Tell], Any]) -> StreamingResponse:
    return StreamingResponse(_lines(here, work), media_type="application/x-ndjson")


async def _lines(here: Serving, work: Callable[[Tell], Any]) -> AsyncIterator[bytes]:
    """Yield what work tells, then what came of it; it ends when nobody listens any more.

    It has its turn until it has ended, whether or not somebody listens.
    """
    loop = asyncio.get_running_loop()
    said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    gone = Event()

    def tell(step: Step) -> None:
        if gone.is_set():
            raise _GoneError
        loop.call_soon_threadsafe(said.put_nowait, {"step": asdict(step)})

    def begin() -> Any:
        if gone.is_set():
            raise _GoneError
        return work(tell)

    async def run() -> None:
        try:
            result = await here.turns.run(begin)
            last = {"result": _plain(result)}
        except VidsimError as error:
            last = {"error": {"kind": type(error).__name__, "message": str(error)}}
        except _GoneError:
            return
        except Exception as error:
            _log.exception("What a command asked for failed.")
            last = {"error": {"kind": "", "message": f"{type(error).__name__}: {error}"}}
        said.put_nowait(last)

    running = asyncio.create_task(run())
    _running.add(running)
    running.add_done_callback(_running.discard)
    try:
        while True:
            line = await said.get()
            yield json.dumps(line).encode() + b"\n"
            if "step" not in line:
                return
    finally:
        gone.set()


def _plain(result: Any) -> Any:
    if isinstance(result, BaseModel):
        return result.model_dump(mode="json")
    return [_plain(each) for each in result]
