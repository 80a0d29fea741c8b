"""How commands ask a server on their home, which has all loaded; without one they go on as ever."""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import __version__
from ...ingest.system.progress import Progress, repeating
from ...ingest.system.step import Step
from ...schemas import errors
from ...schemas.errors import VidsimError
from ..library import Library, Watcher
from .http.sockets import FOLDER, NOTE, connect_to

if TYPE_CHECKING:
    from ...schemas.results import DuplicatesReport, IngestReport, LibrarySummary, QueryResult

_log = logging.getLogger(__name__)


_LOST = {"kind": "StoreError", "message": "The server ended before it answered; ask again."}

_PATIENCE_S = 3.0
"""Seconds in which a server says that it lives, which one that is busy does, too."""

_WAITING = "waiting"

_STEP = [each.name for each in fields(Step)]


class AskingLibrary(Library):
    """A library of which a server on the same home answers what takes long.

    Open it by `open_asking`. What it does not override, it does itself.
    """

    def query(self, clip: Any, **options: Any) -> QueryResult:
        """Rank stored videos as `Library.query` does."""
        from ...schemas.results import QueryResult

        clips, unlike = _each(clip), _each(options.pop("unlike", ()))
        progress = self._told(options.pop("progress", None))
        options["device"] = options.get("device") or self._settings.device
        length_s = options.get("segment_seconds") or self._settings.segment_seconds
        options["segment_seconds"] = length_s
        asked = {"clips": clips, "unlike": unlike, "arguments": options}
        return QueryResult.model_validate(self._ask("query", asked, progress))

    def duplicates(self, *libraries: str, **options: Any) -> DuplicatesReport:
        """List pairs as `Library.duplicates` does."""
        from ...schemas.results import DuplicatesReport

        progress = self._told(options.pop("progress", None))
        asked = {"libraries": libraries, "arguments": options}
        return DuplicatesReport.model_validate(self._ask("duplicates", asked, progress))

    def libraries(self) -> list[LibrarySummary]:
        """Summarise libraries as `Library.libraries` does."""
        from ...schemas.results import LibrarySummary

        found = self._ask("libraries", {}, self._told(None))
        return [LibrarySummary.model_validate(each) for each in found]

    def ingest(self, folder: str | os.PathLike[str], **options: Any) -> IngestReport:
        """Read a folder as `Library.ingest` does, as a job of the server.

        With backbones of one's own choice it does so itself: a job takes fewer names.

        Raises:
            VidsimError: As the job says; or the server ended meanwhile, or the job was cancelled.
        """
        from ...schemas.modality import parse_modalities
        from ...schemas.results import IngestReport

        if options.get("models"):
            return super().ingest(folder, **options)
        show, shown = repeating(self._told(options.pop("progress", None))), dict[str, Step]()
        options.pop("stop", None)  # Ctrl-C cancels the job, which stores what is finished
        wanted = options.pop("modalities", None)
        asked = {
            "path": os.path.abspath(folder),
            "name": options.pop("library", None),
            "modalities": parse_modalities(wanted) if wanted else None,
            **{name: value for name, value in options.items() if name != "models"},
        }
        for name in ("segment_seconds", "device", "workers"):
            asked[name] = asked.get(name) or getattr(self._settings, name)
        at = self.home / FOLDER
        job = next(_lines(at, "/v1/ingest", asked), {"error": _LOST})
        if "job" not in job:
            raise _error(job["error"])
        try:
            for said in _lines(at, f"/v1/ingest/{job['job']}/events"):
                job = said
                steps = {step.stage: step for step in _steps(job)}
                over = {n: replace(s, finished=True) for n, s in shown.items() if n not in steps}
                for name, step in (over | steps).items():
                    if shown.get(name) != step:
                        show(step)
                    shown[name] = step
        except BaseException:
            for path in ("cancel", "events"):  # and wait until it has ended: the same may follow
                body: dict[str, Any] | None = {} if path == "cancel" else None
                deque(_lines(at, f"/v1/ingest/{job['job']}/{path}", body), maxlen=0)
            raise
        if job["state"] == "cancelled":
            raise KeyboardInterrupt
        if job["error"]:
            raise _error(job["error"])
        if job["state"] != "done":
            raise _error(_LOST)
        return IngestReport.model_validate(job["report"])

    def _ask(self, what: str, asked: Mapping[str, Any], progress: Progress) -> Any:
        """Return the server's result, showing its progress.

        Raises:
            VidsimError: As the server says; or it ended meanwhile.
        """
        show = repeating(progress)
        for line in _lines(self.home / FOLDER, f"/local/{what}", asked):
            if "result" in line:
                return line["result"]
            if "error" in line:
                raise _error(line["error"])
            show(Step(**line["step"]))
        raise _error(_LOST)


def open_asking(progress: Watcher, *, ask: bool = True, **how: Any) -> Library:
    """Open a home as `Library.open` does, asking the server on it if one answers.

    Args:
        progress: Receives the progress of every call.
        ask: Whether to ask a server at all.
        **how: As for `Library.open`.
    """
    opened = Library.open(progress=progress, **how)
    if not ask or not _serves(opened):
        return opened
    return AskingLibrary(opened.place, progress)


def _serves(library: Library) -> bool:
    """Return whether a server of the same version and Milvus answers on a library's home."""
    folder = library.home / FOLDER
    try:
        note = json.loads((folder / NOTE).read_text())
        with closing(_Connection(folder, _PATIENCE_S)) as connection:
            connection.request("GET", "/healthz")
            connection.getresponse().read()
    except TimeoutError:
        _log.warning("The server on %s does not answer, so this goes without it.", library.home)
        return False
    except (OSError, ValueError, http.client.HTTPException):
        return False
    same = (note.get("version"), note.get("uri")) == (__version__, library.place.uri)
    if not same:
        _log.warning("The server on %s is another version, or of another Milvus.", library.home)
    return same


class _Connection(http.client.HTTPConnection):
    """HTTP by the socket in a server's folder."""

    def __init__(self, folder: Path, patience_s: float | None = None) -> None:
        super().__init__("localhost")
        self._folder = folder
        self._patience_s = patience_s

    def connect(self) -> None:
        self.sock: socket.socket = connect_to(self._folder)
        self.sock.settimeout(self._patience_s)


def _lines(
    folder: Path, path: str, asked: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the JSON of an answer as it comes: of each line or event; none where the server ends.

    Args:
        folder: The server's.
        path: Of the route.
        asked: What to post; None to get.
    """
    connection = _Connection(folder)
    try:
        if asked is None:
            connection.request("GET", path)
        else:
            body = json.dumps(asked).encode()
            connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        for line in answer:
            said = line.removeprefix(b"data: ")
            if said.startswith(b"{"):
                yield json.loads(said)
    except (OSError, http.client.HTTPException, ValueError) as error:
        _log.debug("The server on %s ended: %s", folder, error)
    finally:
        connection.close()


def _steps(job: Mapping[str, Any]) -> Iterator[Step]:
    """Yield the stages of a job, first of all that it waits, if it does."""
    waits = job["state"] == "queued" or bool(job["waiting"])
    note = job["waiting"] or "other jobs of the server come first"
    if waits:
        yield Step(_WAITING, 0, None, "jobs", note=note)
    for stage in job["steps"]:
        yield Step(**{name: stage[name] for name in _STEP})


def _each(clips: Any) -> list[dict[str, str | None]]:
    """Return clips as they were called, each with its file if there is one."""
    named: Sequence[Any] = [clips] if isinstance(clips, (str, os.PathLike)) else clips
    return [
        {"name": os.fspath(c), "file": os.path.abspath(c) if os.path.lexists(c) else None}
        for c in named
    ]


def _error(said: Mapping[str, str]) -> Exception:
    kind = getattr(errors, said["kind"], None)
    if isinstance(kind, type) and issubclass(kind, VidsimError):
        return kind(said["message"])
    return VidsimError(said["message"])
