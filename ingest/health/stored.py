"""What is stored: the settings, the home, the cache with its weights, the store, the server."""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ...schemas.presets import DEFAULT_PRESET, PRESETS
from ...schemas.settings import settings, unknown_in_environment
from ..models.registry import known_backbones
from ..models.weights import folder_of, status
from ..shards.home import EMBEDDED, Home, Place, outdated
from ..shards.lock import holder
from .finding import Finding

_FOR_DEFAULT = frozenset(PRESETS[DEFAULT_PRESET].values())


def settings_findings() -> Iterator[Finding]:
    """Say whether the settings can be read, and which names are none."""
    found = settings()
    unknown = unknown_in_environment(os.environ)
    if unknown:
        told, _, step = unknown[0].rstrip(".").partition("; ")
        more = f" (and {len(unknown) - 1} others)" if len(unknown) > 1 else ""
        yield Finding("settings", "advice", told + more, step)
        return
    yield Finding("settings", "fine", f"home {found.home}, cache {found.cache}")


def folder_finding(name: str, folder: Path, variable: str) -> Finding:
    """Say whether a folder can be written, and locked, without leaving anything there."""
    there = next(p for p in (folder, *folder.parents) if os.path.lexists(p))
    if not there.is_dir():
        return Finding(name, "wrong", f"{there} is no folder", f"set {variable} to another")
    if there != folder:
        if os.access(there, os.W_OK | os.X_OK):
            return Finding(name, "fine", f"{folder} (made when it is needed)")
        step = f"set {variable} to a folder that can be"
        return Finding(name, "wrong", f"{folder} cannot be made in {there}", step)
    try:
        with tempfile.TemporaryFile(dir=folder) as trial:
            try:
                fcntl.flock(trial, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                    raise
                said = f"{folder} is on a file system without locks"
                step = f"mount it with locks, or set {variable} to a folder of another disk"
                return Finding(name, "wrong", said, step)
    except OSError as error:
        said = f"{folder} cannot be written ({error.strerror})"
        return Finding(
            name, "advice", said, "it can be searched; to store more, allow writing to it"
        )
    return Finding(name, "fine", str(folder))


def weights_findings() -> Iterator[Finding]:
    """Say of the default backbones, and those that the home has rows of, whether weights are here.

    Raises:
        VidsimError: The settings or the home cannot be read.
    """
    known = known_backbones(settings().home)
    wanted = {known[name].network: known[name] for name in _FOR_DEFAULT | _stored()}
    here = []
    for backbone in wanted.values():
        state = status(backbone)
        pull = f"vidsim models pull {backbone.name}"
        if state == "missing":
            said = f"those of {backbone.name} are not here; they are fetched when they are needed"
            step = "vidsim prepare, before this machine goes offline"
            yield Finding(
                "weights", "advice", said, step if backbone.name in _FOR_DEFAULT else pull
            )
        elif state == "damaged":
            said = f"{folder_of(backbone)} fails its SHA-256"
            yield Finding("weights", "wrong", said, pull)
        elif state == "unreadable":
            said = f"{folder_of(backbone)} cannot be read"
            yield Finding("weights", "wrong", said, "see its permissions and its disk")
        elif state == "pulled":
            here.append(backbone.network)
    if here:
        yield Finding("weights", "fine", f"{', '.join(sorted(here))}; each has its SHA-256")


def _stored() -> set[str]:
    home = Home(Place(settings().home))
    notes = (home.note(library) for library in home.shards.libraries())
    return {name for note in notes for name in note.weights if name in home.backbones}


def store_findings() -> Iterator[Finding]:
    """Say what is wrong with the shards, by their lists, and who holds the home.

    Raises:
        VidsimError: The settings or the home cannot be read.
    """
    home = Home(Place(settings().home))
    libraries = home.shards.libraries()
    for library in libraries:
        for problem in home.shards.problems(library):
            said, _, step = problem.rstrip(".").partition("; ")
            yield Finding("store", "wrong", said, step or f"vidsim verify {library}")
    held = holder(home.path)
    videos = sum(home.note(library).videos for library in libraries)
    said = f"{len(libraries)} libraries, {videos:,} videos"
    if held:
        said += f"; {held}"
    behind = outdated(home.path, EMBEDDED)
    if behind and not settings().uri and not held:
        said += f"; the embedded Milvus is behind in {', '.join(sorted(behind))}"
        yield Finding("store", "advice", said, "vidsim reindex; searches read the shards meanwhile")
    else:
        yield Finding("store", "fine", said)


def server_finding() -> Finding:
    """Say whether the Milvus server that is set answers, and its version.

    Raises:
        VidsimError: It does not answer, or is too old, or a setting is invalid.
    """
    found = settings()
    if not found.uri or found.uri == EMBEDDED:
        return Finding("Milvus", "fine", "embedded (VIDSIM_URI names no server)")
    from ..milvus.connection import OLDEST_SERVER, open_client

    token = found.token.get_secret_value() if found.token else ""
    place = Place(found.home, found.uri, token, found.ca_cert, found.client_cert, found.client_key)
    with open_client(place) as connection:
        oldest = ".".join(map(str, OLDEST_SERVER))
        said = f"{connection.about} is {connection.version} (oldest that is supported: {oldest})"
        return Finding("Milvus", "fine", said)
