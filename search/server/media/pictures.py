"""What is shown of files: pictures, sound and clips, made by child processes and kept."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from ....ingest.decode.clip import MOST_S
from ....ingest.decode.container import UnreachableError
from ....ingest.decode.description import Description
from ....ingest.decode.pictures import jpeg, png
from ....ingest.decode.viewer import Viewer
from ....ingest.shards.home import Place
from ....schemas.errors import LibraryError, MediaError, StoreError
from ....schemas.results import StoredVideo
from ...explain import stored_strip
from ..http.turns import Turns
from . import drawing
from .derived import MOST_BYTES, Derived, Wanted

_RUNNING, _WAITING = 32, 512
"""Requests that are answered at once, each in a thread, of which few can use a child process; and
that may wait: a page asks for some sixty thumbnails."""

_SPECTROGRAM_S = 600.0
"""Seconds of the longest spectrogram; it has 1,000 columns at most."""

_UPLOADS_BYTES = 256 << 20


@dataclass(frozen=True)
class Source:
    """A file of which something is shown.

    Attributes:
        name: What it is called in messages.
        path: Its real path, that of a file that may be shown.
        state: Device, inode, size and time of change: of another file, another.
        upload: Whether a client sent it.
    """

    name: str
    path: Path
    state: tuple[int, int, int, int]
    upload: bool = False

    def wanted(self, what: str, suffix: str, write: Callable[[BinaryIO], None]) -> Wanted:
        """Want something that is made from it as it is now."""
        return Wanted(str(self.path), f"{self.state} {what}", suffix, write, self.upload)


def source(name: str, path: Path, upload: bool = False) -> Source:
    """Look at a file that may be shown.

    Args:
        name: What it is called in messages.
        path: Its real path.
        upload: Whether a client sent it.

    Raises:
        LibraryError: It is gone.
    """
    return Source(name, path, _state(name, path), upload)


class Pictures:
    """Makes what is shown of files, each once.

    Attributes:
        turns: Turns of those who wait for something to be made.
    """

    def __init__(self, folder: Path, place: Place, most_bytes: int = MOST_BYTES) -> None:
        """Take over a folder, with what an earlier server left in it.

        Args:
            folder: Where what is made is kept; that of uploads is deleted.
            place: Home of the stored videos, which has their strips.
            most_bytes: Most bytes that are kept.

        Raises:
            OSError: The folder cannot be written.
        """
        self.turns = Turns(_RUNNING, _WAITING)
        self._place = place
        self._viewer = Viewer()
        self._stored = Derived(folder / "stored", most_bytes)
        self._of_uploads = Derived(folder / "uploads", _UPLOADS_BYTES)
        self._of_uploads.clear()

    def made(self, wanted: Wanted) -> BinaryIO:
        """Return what is wanted, open, after making it if need be.

        Raises:
            LibraryError: The file is gone, or has no such thing.
            MediaError: It does not decode.
            StoreError: What was made cannot be written.
            WorkerError: No child process can be started.
        """
        kept = self._of_uploads if wanted.upload else self._stored
        return kept.made(wanted)

    def forget(self, path: Path) -> None:
        """Delete what was made from an upload."""
        self._of_uploads.forget(str(path))

    def close(self) -> None:
        """End the child processes, and delete what was made from uploads."""
        self._viewer.close()
        self._of_uploads.clear()

    def described(self, of: Source) -> Description:
        """Return what a file is.

        Raises:
            VidsimError: As `made`.
        """
        with self.made(self.description(of)) as file:
            return Description(**json.load(file))

    def description(self, of: Source) -> Wanted:
        """Want a `Description` as JSON."""
        return self._wanted(
            of,
            "description",
            ".json",
            lambda path: json.dumps(asdict(self._viewer.describe(path))).encode(),
        )

    def clip(self, of: Source, start_s: float, end_s: float | None) -> Wanted:
        """Want a stretch as MP4; the suffix says whether it has a picture.

        Raises:
            LibraryError: The file is gone.
            MediaError: The stretch is none or too long, or the file is a still picture.
        """
        start_s = round(start_s, 3)
        end_s = round(start_s + MOST_S if end_s is None else end_s, 3)
        if not 0 < end_s - start_s <= MOST_S:
            raise MediaError(f"A clip lasts from 0 to {MOST_S:g} s; give another start_s or end_s.")
        kind = self.described(of).kind
        if kind == "picture":
            raise MediaError(f"{of.name} is a still picture; ask for its thumbnail.")

        def write(file: BinaryIO) -> None:
            with _told(of):
                self._viewer.clip(str(of.path), start_s, end_s, file)

        suffix = ".mp4" if kind == "video" else ".m4a"
        return of.wanted(f"clip {start_s} {end_s}", suffix, write)

    def thumbnail(self, of: Source, at_s: float, size: int) -> Wanted:
        """Want the frame on the screen at a time as JPEG, `size` pixels wide or high."""
        at_s = round(at_s, 3)

        def draw(path: str) -> bytes:
            frame = self._viewer.look(path, [at_s], size)[0]
            assert frame is not None  # else look would have failed
            return jpeg(frame)

        return self._wanted(of, f"thumbnail {at_s} {size}", ".jpg", draw)

    def storyboard(self, of: Source) -> Wanted:
        """Want frames from all over a file in one JPEG, as `drawing.Storyboard` says.

        Raises:
            LibraryError: The file is gone.
            MediaError: It does not decode, or has no picture that moves.
        """
        plan = drawing.plan_storyboard(self.described(of))
        if plan is None:
            raise MediaError(f"{of.name} has no picture that moves, and so no storyboard.")

        def draw(path: str) -> bytes:
            frames = self._viewer.look(path, plan.times_s, drawing.TILE, plan.roughly)
            return jpeg(drawing.tiled(plan, frames))

        return self._wanted(of, "storyboard", ".jpg", draw)

    def preview(self, of: Source) -> Wanted:
        """Want a few frames from all over a file as an animated WebP.

        Raises:
            LibraryError, MediaError: As `storyboard`.
        """
        plan = drawing.plan_storyboard(self.described(of), drawing.PREVIEW_FRAMES)
        if plan is None:
            raise MediaError(f"{of.name} has no picture that moves, and so no preview.")

        def draw(path: str) -> bytes:
            frames = self._viewer.look(path, plan.times_s, drawing.TILE, plan.roughly)
            return drawing.animated(plan, frames)

        return self._wanted(of, "preview", ".webp", draw)

    def spectrogram(self, of: Source, start_s: float, end_s: float | None) -> Wanted:
        """Want the spectrogram of a stretch as PNG.

        Raises:
            LibraryError: The file is gone.
            MediaError: The stretch is none or too long, or the file has no sound.
        """
        found = self.described(of)
        if not found.sound:
            raise MediaError(f"{of.name} has no sound.")
        length_s = found.duration_s or 0.0
        last_s = min(length_s, start_s + _SPECTROGRAM_S) if end_s is None else min(end_s, length_s)
        first_s, last_s = round(start_s, 3), round(last_s, 3)
        if not 0 < last_s - first_s <= _SPECTROGRAM_S:
            raise MediaError(
                f"A spectrogram is of up to {_SPECTROGRAM_S:g} s, and {of.name} lasts "
                f"{length_s:.1f} s; give another start_s or end_s."
            )

        def draw(path: str) -> bytes:
            sound = self._viewer.hear(path, first_s, last_s)
            if sound is None:
                raise MediaError("nothing is heard of it there")
            return drawing.spectrogram_of(sound)

        return self._wanted(of, f"spectrogram {first_s} {last_s}", ".png", draw)

    def strip(self, of: Source) -> Wanted:
        """Want the vid2img strip of an upload as PNG: its dominant colours over time."""
        return self._wanted(of, "strip", ".png", lambda path: png(drawing.strip_of(path)))

    def stored_strip(self, video: StoredVideo) -> Wanted:
        """Want the vid2img strip of a stored video as PNG, which its file need not be there for."""

        def write(file: BinaryIO) -> None:
            strip = stored_strip(self._place, video.video_id)
            if strip is None:
                raise LibraryError(
                    f"{video.video_id} has no strip; ingest its folder with colour to have one."
                )
            file.write(png(strip))

        return Wanted(f"{video.video_id} {video.stored_at}", "strip", ".png", write)

    def _wanted(self, of: Source, what: str, suffix: str, draw: Callable[[str], bytes]) -> Wanted:
        def write(file: BinaryIO) -> None:
            with _told(of):
                file.write(draw(str(of.path)))

        return of.wanted(what, suffix, write)


@contextmanager
def _told(of: Source) -> Iterator[None]:
    """Say in whole sentences why nothing could be made, and refuse what another file gave.

    A link may have been put in the place of the file, or of a folder, since it was looked at.

    Raises:
        LibraryError: It is gone, or another file now.
        MediaError: It does not decode.
    """
    try:
        yield
    except UnreachableError as error:
        raise LibraryError(f"{of.name} cannot be shown: {error}; is it still there?") from error
    except MediaError as error:
        raise MediaError(f"{of.name} cannot be shown: {error}.") from error
    if os.path.realpath(of.path) != str(of.path) or _state(of.name, of.path) != of.state:
        raise StoreError(f"{of.name} changed while it was read; ask again.")


def _state(name: str, path: Path) -> tuple[int, int, int, int]:
    try:
        found = os.stat(path, follow_symlinks=False)
    except OSError as error:
        raise LibraryError(
            f"{name} cannot be shown: {path.name} is gone ({error.strerror}); put it back, or "
            "ingest its folder again."
        ) from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
