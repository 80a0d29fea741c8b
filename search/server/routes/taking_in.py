"""Takes uploads in: what is none of ours, or too long, is refused before any network runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from ....ingest.decode.description import Description
from ....schemas.answer import clock
from ..clips.uploads import Upload
from ..http.refusals import TooLargeError
from ..media.pictures import source
from .serving import Serving


async def take_in(
    here: Serving, name: str, pieces: AsyncIterator[bytes], length: int | None
) -> tuple[Upload, Description]:
    """Keep a clip that a client sends, and say what it is; nothing is kept of one that is refused.

    Call it within `Uploads.place`.

    Args:
        here: What is served.
        name: Its file name, as the client says.
        pieces: Its bytes.
        length: How many there will be, where the client says so.

    Raises:
        BusyError: Too many are looked at.
        MediaError: It is no video, sound or picture.
        StoreError: It cannot be written.
        TooLargeError: It is too large or too long.
    """

    async def look(path: Path) -> Description:
        seen = source(name, path, upload=True)
        found = await here.pictures.turns.run(lambda: here.pictures.described(seen))
        if found.duration_s is not None and found.duration_s > here.options.max_clip_s:
            raise TooLargeError(
                f"{name} lasts {clock(found.duration_s)}, and a clip may last "
                f"{clock(here.options.max_clip_s)}; send a part of it, or start the server with "
                "--max-clip-seconds."
            )
        return found

    return await here.uploads.receive(name, pieces, length, look)
