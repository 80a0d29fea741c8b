"""Clips that clients send: streamed to disk within limits, kept for a while, then deleted."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock

from ...schemas.errors import LibraryError, MediaError
from .refusals import BusyError, TooLargeError

KEPT_S = 1800.0
"""Seconds that an upload is kept after it was last asked for."""

_MOST = 32
"""Uploads that are kept; then the one that was asked for longest ago goes."""

_AT_ONCE = 8
"""Uploads that may come in at once."""

_SILENCE_S = 20.0
_MOST_S = 900.0
"""Seconds without a byte, and in all, after which an upload is given up: it holds a place."""

_MB = 1_000_000

_NAME = re.compile(r"[^\w. ()\[\]+-]", re.ASCII)
_LONGEST = 80


@dataclass(frozen=True)
class Upload:
    """A clip that a client sent.

    Attributes:
        token: What it is asked for by; nobody can guess it.
        name: Its file name, as the client said.
        path: Where it is.
        used_s: When it was last asked for, on the monotonic clock.
    """

    token: str
    name: str
    path: Path
    used_s: float


class Uploads:
    """Clips of clients, each in a folder of its own."""

    def __init__(
        self, folder: Path, max_mb: int, dropped: Callable[[Path], None] = lambda _: None
    ) -> None:
        """Begin with an empty folder.

        Args:
            folder: Where they are kept; what is in it from before is deleted.
            max_mb: Size of each, in MB.
            dropped: Called with the path of each that is deleted.

        Raises:
            OSError: The folder cannot be written.
        """
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        self._folder = folder
        self._dropped = dropped
        self._most_bytes = max_mb * _MB
        self._lock = Lock()
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._coming = 0

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    async def receive(self, name: str, pieces: AsyncIterator[bytes], length: int | None) -> Upload:
        """Take an upload in.

        Args:
            name: Its file name, as the client says; it is shown, and never becomes a path.
            pieces: Its bytes.
            length: How many there will be, where the client says so.

        Raises:
            BusyError: Too many come in at once.
            MediaError: It is empty, or stopped half-way.
            TooLargeError: It is too large.
        """
        too_large = TooLargeError(
            f"{name} has more than {self._most_bytes // _MB} MB; send a part of it, or start the "
            "server with --max-upload-mb."
        )
        if length is not None and length > self._most_bytes:
            raise too_large
        if self._coming >= _AT_ONCE:
            raise BusyError(5)
        token = secrets.token_urlsafe(16)
        folder = self._folder / token
        self._coming += 1
        try:
            folder.mkdir(mode=0o700)
            path = folder / _file_name(name)
            await self._write(path, pieces, name, too_large)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        finally:
            self._coming -= 1
        upload = Upload(token, name, path, time.monotonic())
        with self._lock:
            self._kept[token] = upload
        self.sweep()
        return upload

    async def _write(
        self, path: Path, pieces: AsyncIterator[bytes], name: str, too_large: TooLargeError
    ) -> None:
        size, until = 0, time.monotonic() + _MOST_S
        with path.open("xb") as file:
            while True:
                left = min(_SILENCE_S, until - time.monotonic())
                try:
                    piece = await asyncio.wait_for(anext(pieces, b""), max(0.0, left))
                except TimeoutError:
                    raise MediaError(f"{name} came too slowly; send it again.") from None
                if not piece:
                    break
                size += len(piece)
                if size > self._most_bytes:
                    raise too_large
                await asyncio.to_thread(file.write, piece)
        if not size:
            raise MediaError(f"{name} is empty; send the bytes of a video, sound or picture.")

    def get(self, token: str) -> Upload:
        """Return an upload, which is kept for longer then.

        Raises:
            LibraryError: There is none: it was kept long enough, or never sent.
        """
        with self._lock:
            found = self._kept.get(token)
            if found is None:
                raise LibraryError("This clip is not kept any more; send it again.")
            found = self._kept[token] = replace(found, used_s=time.monotonic())
            self._kept.move_to_end(token)
            return found

    def drop(self, token: str) -> None:
        """Delete an upload, if it is there."""
        with self._lock:
            found = self._kept.pop(token, None)
        if found is not None:
            self._dropped(found.path)
        if re.fullmatch(r"[\w-]+", token):
            shutil.rmtree(self._folder / token, ignore_errors=True)

    def sweep(self) -> None:
        """Delete what was kept for long enough, and the oldest of too many."""
        with self._lock:
            old = time.monotonic() - KEPT_S
            gone = [token for token, each in self._kept.items() if each.used_s < old]
            rest = [token for token in self._kept if token not in gone]
            gone += rest[: max(0, len(rest) - _MOST)]
        for token in gone:
            self.drop(token)

    def close(self) -> None:
        """Delete all."""
        self._kept.clear()
        shutil.rmtree(self._folder, ignore_errors=True)


def _file_name(name: str) -> str:
    """Return a harmless file name that keeps the suffix, of which some formats are known by."""
    stem, suffix = os.path.splitext(os.path.basename(name.replace("\\", "/")))
    suffix = _NAME.sub("", suffix)[:12]
    stem = _NAME.sub("_", stem).strip(". ")[:_LONGEST]
    return (stem or "clip") + suffix
