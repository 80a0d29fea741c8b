"""What there is on this machine: home, cache, versions, libraries, the lock, the server's address.

Nothing is locked or written, and no network, decoder or client of Milvus is imported.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit

from ... import __version__
from ...schemas.backbones import Backbone
from ...schemas.errors import StoreError
from ...schemas.settings import settings
from ...schemas.status import (
    CacheStatus,
    CpuStatus,
    FolderStatus,
    LibraryStatus,
    LockHolder,
    ServerStatus,
    Status,
)
from ..models.weights import folder_of
from ..shards.home import Home, Place, without_user
from ..shards.lock import holder
from ..system.cpu import describe_cpu, motion_numbers
from .roots import look_at_root, origin

_ANSWER_S = 2.0
"""Seconds to wait for a server's port."""

_MILVUS_PORT = 19530

_PACKAGES = {
    "torch": ("torch",),
    "TensorFlow": ("tensorflow", "tensorflow-cpu"),
    "pymilvus": ("pymilvus",),
    "Milvus Lite": ("milvus-lite",),
    "PyAV": ("av",),
}
"""By what people call it, the distributions that may bring it."""


def look(place: Place) -> Status:
    """Describe the home of `place`, its libraries, the cache, and what is installed.

    Raises:
        SettingsError: A setting has an invalid value.
        StoreError: The home's folder, or what it notes of its backbones, cannot be read.
    """
    home = Home(place)
    return Status(
        home=_folder(place.home),
        cache=_cache(settings().cache, home.backbones.values()),
        cpu=_cpu(),
        versions=versions(),
        libraries=[_library(home, library) for library in home.shards.libraries()],
        lock=_lock(place.home),
        server=_server(place.uri),
    )


def versions() -> dict[str, str]:
    """Return the versions of vidsim, Python and the main packages, importing none of them."""
    found = {"vidsim": __version__, "Python": platform.python_version()}
    for name, distributions in _PACKAGES.items():
        for distribution in distributions:
            with suppress(metadata.PackageNotFoundError):
                found[name] = metadata.version(distribution)
    if codecs := _codecs():
        found["FFmpeg's libavcodec"] = codecs
    return found


def _codecs() -> str:
    """Return the version of libavcodec that PyAV's wheel brings; "" where it brings none."""
    with suppress(metadata.PackageNotFoundError):
        for file in metadata.files("av") or ():
            if match := re.match(r"libavcodec-\w+\.so\.([\d.]+)$", file.name):
                return match[1]
    return ""


def _cpu() -> CpuStatus:
    found = describe_cpu()
    return CpuStatus(
        name=found.name,
        cores=found.cores,
        features=list(found.features),
        motion=motion_numbers(found.features),
    )


def _folder(path: Path) -> FolderStatus:
    return FolderStatus(path=str(path), bytes=_size(path), free_bytes=_free(path))


def _cache(path: Path, backbones: Iterable[Backbone]) -> CacheStatus:
    here: dict[bool, list[str]] = {True: [], False: []}
    for backbone in {b.network: b for b in backbones}.values():
        if backbone.weights:
            folder = folder_of(backbone)
            files = [folder / file.name for file in backbone.weights.files]
            here[all(os.path.isfile(file) for file in files)].append(backbone.network)
    return CacheStatus(
        path=str(path),
        bytes=_size(path),
        free_bytes=_free(path),
        weights=here[True],
        missing_weights=here[False],
    )


def _size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # it may be deleted meanwhile
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def _free(folder: Path) -> int:
    there = next(p for p in (folder, *folder.parents) if os.path.exists(p))
    return shutil.disk_usage(there).free


def _library(home: Home, library: str) -> LibraryStatus:
    try:
        note = home.note(library)
        root = look_at_root(home, library, note.first)
        problems = home.shards.problems(library)
    except StoreError as error:  # the other libraries are told all the same
        return LibraryStatus(
            library=library,
            videos=0,
            hours=0,
            root="",
            root_state="unknown",
            looked_at=0,
            missing=0,
            shard_problems=[str(error)],
        )
    return LibraryStatus(
        library=library,
        videos=note.videos,
        hours=note.seconds / 3600,
        root=origin(note.first) if note.first else "",
        root_state=root.state,
        looked_at=root.looked_at,
        missing=root.missing,
        shard_problems=problems,
    )


def _lock(home: Path) -> LockHolder | None:
    found = holder(home)
    if found is None:
        return None
    return LockHolder(
        pid=found.pid,
        doing=found.doing,
        host=found.host,
        since=datetime.fromtimestamp(found.since_s, UTC).astimezone(),
        writes=found.changes,
        done=found.done,
        total=found.total,
    )


def _server(uri: str | None) -> ServerStatus | None:
    if not uri:
        return None
    return ServerStatus(uri=without_user(uri), answers=_answers(uri), deployment=None)


def _answers(uri: str) -> bool:
    address = urlsplit(uri)
    try:
        where = (address.hostname or "", address.port or _MILVUS_PORT)
        with socket.create_connection(where, _ANSWER_S):
            return True
    except (OSError, ValueError):
        return False
