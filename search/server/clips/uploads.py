"""Clips that clients send: streamed to disk within limits, kept for a while, then deleted."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TypeVar

from ....schemas.errors import LibraryError, MediaError, StoreError
from ..http.refusals import BusyError, TooLargeError

KEPT_S = 1800.0
"""Seconds that an upload is kept after it was last asked for."""

_MOST = 32
"""Uploads that are kept; then the one that was asked for longest ago goes."""

_AT_ONCE = 8
"""Uploads that may come in at once."""

_RETRY_S = 5.0

_MB = 1_000_000

_NAME = re.compile(r"[^\w. ()\[\]+-]", re.ASCII)
_LONGEST = 80


T = TypeVar("T")


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
    """Clips of clients, each in a folder of its own.

    `place`, `receive` and `held` are of the server's loop; any thread may call the others.
    """

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
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places of uploads that come in at once.

        Raises:
            BusyError: None is free, or all uploads that are kept are in use.
        """
        if self._coming >= _AT_ONCE or len(self._held) >= _MOST:
            raise BusyError(_RETRY_S)
        self._coming += 1
        try:
            yield
        finally:
            self._coming -= 1

    async def receive(
        self,
        name: str,
        pieces: AsyncIterator[bytes],
        length: int | None,
        look: Callable[[Path], Awaitable[T]],
    ) -> tuple[Upload, T]:
        """Take an upload in, which has a `place`; nothing is left of one that is refused.

        Args:
            name: Its file name, as the client says; it is shown, and never becomes a path.
            pieces: Its bytes.
            length: How many there will be, where the client says so.
            look: Called with its path; returns what it is, or refuses it.

        Raises:
            MediaError: It is empty.
            StoreError: It cannot be written.
            TooLargeError: It is too large.
        """
        if length is not None and length > self._most_bytes:
            raise self._too_large(name)
        token = secrets.token_urlsafe(16)
        folder = self._folder / token
        path = folder / _file_name(name)
        try:
            try:
                folder.mkdir(mode=0o700)
                await self._write(path, pieces, name)
            except OSError as error:
                raise unkept(name, error) from error
            found = await look(path)
        except BaseException:
            self._dropped(path)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        upload = Upload(token, name, path, time.monotonic())
        with self._lock:
            self._kept[token] = upload
        self.sweep()
        return upload, found

    async def _write(self, path: Path, pieces: AsyncIterator[bytes], name: str) -> None:
        size = 0
        with path.open("xb") as file:
            async for piece in pieces:
                size += len(piece)
                if size > self._most_bytes:
                    raise self._too_large(name)
                await asyncio.to_thread(file.write, piece)
        if not size:
            raise MediaError(f"{name} is empty; send the bytes of a video, sound or picture.")

    def _too_large(self, name: str) -> TooLargeError:
        return TooLargeError(
            f"{name} has more than {self._most_bytes // _MB} MB; send a part of it, or start the "
            "server with --max-upload-mb."
        )

    @contextmanager
    def held(self, tokens: Iterable[str]) -> Iterator[None]:
        """Keep uploads until the block ends, however many come meanwhile.

        Raises:
            LibraryError: One is not kept any more.
        """
        wanted = [self.get(token).token for token in tokens]
        self._held.update(wanted)
        try:
            yield
        finally:
            self._held -= Counter(wanted)

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
        """Delete what was kept for long enough, and the oldest of too many, but none in use."""
        with self._lock:
            old = time.monotonic() - KEPT_S
            free = [each for token, each in self._kept.items() if token not in self._held]
            gone = [each.token for each in free if each.used_s < old]
            rest = [each.token for each in free if each.used_s >= old]
            gone += rest[: max(0, len(self._kept) - len(gone) - _MOST)]
        for token in gone:
            self.drop(token)

    def close(self) -> None:
        """Delete all."""
        self._kept.clear()
        shutil.rmtree(self._folder, ignore_errors=True)


def unkept(name: str, error: OSError) -> StoreError:
    """Return the error of a clip that cannot be written, a full disk say."""
    return StoreError(
        f"{name} cannot be kept ({error.strerror or error}); free some space for the server, or "
        "mend the permissions of its folder."
    )


def _file_name(name: str) -> str:
    """Return a harmless file name that keeps the suffix, of which some formats are known by."""
    stem, suffix = os.path.splitext(os.path.basename(name.replace("\\", "/")))
    suffix = _NAME.sub("", suffix)[:12]
    stem = _NAME.sub("_", stem).strip(". ")[:_LONGEST]
    return (stem or "clip") + suffix
