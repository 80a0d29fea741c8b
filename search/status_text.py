"""What a person reads of ``vidsim status``."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..schemas.answer import Line, Table, count

if TYPE_CHECKING:
    from ..schemas.health import Prepared
    from ..schemas.results import LibrarySummary
    from ..schemas.status import (
        CpuStatus,
        FolderStatus,
        LibraryStatus,
        LockHolder,
        ServerStatus,
        Status,
    )

_UNITS = ("B", "kB", "MB", "GB", "TB")

_VERSIONS_IN_A_LINE = 4

_NUMBERS = {"integers": "8-bit integers", "bfloat16": "bfloat16", "winograd": "float32"}


def status_text(found: Status) -> Iterator[Line]:
    """Format a few lines per part; the deployment's table is the caller's."""
    yield f"home      {_folder(found.home)}"
    yield f"cache     {_folder(found.cache)}"
    yield f"weights   {', '.join(found.cache.weights) or 'none'}"
    if found.cache.missing_weights:
        yield f"          not here: {', '.join(found.cache.missing_weights)}"
    yield f"CPU       {_cpu(found.cpu)}"
    named = [f"{name} {version}" for name, version in found.versions.items()]
    yield f"versions  {', '.join(named[:_VERSIONS_IN_A_LINE])}"
    yield f"          {', '.join(named[_VERSIONS_IN_A_LINE:])}"
    yield f"lock      {_lock(found.lock)}"
    yield f"Milvus    {_server(found.server)}"
    if not found.libraries:
        return
    yield ""
    rows = [
        (item.library, f"{item.videos:,}", f"{item.hours:.2f}", _state(item), item.root)
        for item in found.libraries
    ]
    yield Table(("library", "videos", "hours", "files", "from"), rows, numbers=frozenset({1, 2}))


def _cpu(found: CpuStatus) -> str:
    features = f" ({' '.join(found.features)})" if found.features else ""
    return (
        f"{found.name}, {count(found.cores, 'core')}{features}; motion in {_NUMBERS[found.motion]}"
    )


def status_notes(found: Status) -> list[str]:
    """List what is wrong, with the next step."""
    notes = [problem for item in found.libraries for problem in item.shard_problems]
    notes += [note for item in found.libraries if (note := root_note(item))]
    server = found.server
    if server and server.uri and not server.answers and not server.deployment:
        notes.append(
            f"Nothing answers at {server.uri}; start that server, or unset VIDSIM_URI for the "
            "embedded Milvus."
        )
    if not found.libraries:
        notes.append("Nothing is stored yet; run 'vidsim ingest FOLDER'.")
    return [*notes, *found.notes]


def root_note(item: LibraryStatus | LibrarySummary) -> str:
    """Say what to do where files of a library are not where they were; "" where they are."""
    if item.root_state == "missing":
        return (
            f"The files of {item.library} are not in {item.root}; see that its disk is there. "
            "Where the folder was moved, 'vidsim ingest' on it takes over what is stored. That "
            "can be searched all the same."
        )
    if item.root_state == "partly missing":
        return (
            f"Files of {item.library} are gone ({_state(item)}); 'vidsim ingest {item.root}' "
            "names them, and with --prune removes what is stored of them."
        )
    return ""


def prepared_text(report: Prepared) -> Iterator[Line]:
    """Format a line per network."""
    for of in report.weights:
        told = "fetched" if of.fetched else "was here"
        pinned = f"pinned by {of.pinned}" if of.pinned else "not pinned"
        yield f"{of.network:<22}{_bytes(of.bytes):>8}  {told}, {pinned}"


def prepared_notes(report: Prepared) -> list[str]:
    """Say how to carry the cache to another machine."""
    folder = shlex.quote(report.cache)
    return [
        *report.notes,
        f"All is in {report.cache} ({_bytes(report.bytes)}). For a machine without a network: "
        f"'tar -C {folder} -cf vidsim-cache.tar .', unpack that there, set VIDSIM_CACHE to the "
        "folder, and see that 'vidsim doctor' says that all is fine.",
    ]


def _folder(folder: FolderStatus) -> str:
    return f"{folder.path} ({_bytes(folder.bytes)}, {_bytes(folder.free_bytes)} free)"


def _bytes(number: float) -> str:
    unit = 0
    while number >= 999.5 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.3g} {_UNITS[unit]}"


def _lock(held: LockHolder | None) -> str:
    if held is None:
        return "free"
    progress = f", {held.done:,} of {count(held.total, 'video')}" if held.total else ""
    does = "writing" if held.writes else "reading"
    return (
        f"process {held.pid} ({held.doing}{progress}) has been {does} since "
        f"{held.since:%Y-%m-%d %H:%M}"
    )


def _server(server: ServerStatus | None) -> str:
    if server is None or server.uri is None:
        return "embedded"
    return f"{server.uri} ({'answers' if server.answers else 'does not answer'})"


def _state(item: LibraryStatus | LibrarySummary) -> str:
    if item.missing:
        return f"{item.missing:,} of {item.looked_at:,} looked for are missing"
    if item.root_state == "here":
        if item.looked_at == item.videos:
            return "all there"
        return f"{item.looked_at:,} of {item.looked_at:,} looked for are there"
    return {"missing": "folder missing", "no folder": "imported"}.get(item.root_state, "unknown")
