"""Runs the server of a home until it is told to end."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import os
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import uvicorn
from filelock import FileLock, Timeout

from ... import __version__
from ...ingest.system.atomic_file import whole_file
from ...schemas.errors import SettingsError, StoreError, VidsimError
from ...schemas.serve import ServeOptions
from ..library import Library
from .app import create_app
from .clips.catalogue import Catalogue
from .clips.uploads import Uploads
from .duplicates.decisions import Decisions
from .duplicates.search import Duplicates
from .http.connections import SILENCE_S, Connection
from .http.guard import Guard
from .http.sockets import FOLDER, NOTE, SOCKET, WAITING, listen, listen_in
from .http.turns import Turns
from .jobs.folders import Folders
from .jobs.jobs import Jobs
from .maps.maps import Maps
from .media.pictures import Pictures
from .routes.meters import metered
from .routes.serving import Serving

_log = logging.getLogger(__name__)

_LOCK = "serving.lock"

_AT_ONCE = 4
"""Queries that run at once: one embeds, one searches, and the next are being read."""

_LAST_S = 3
"""Seconds that open answers are given when the server ends."""


def serve(
    library: Library, options: ServeOptions, started: Callable[[str], object] = lambda _: None
) -> None:
    """Serve a library until SIGINT or SIGTERM.

    Args:
        library: What is served; it stays open.
        options: How.
        started: Receives the address of the page, with the token if there is one.

    Raises:
        SettingsError: The address is taken, or others could reach it without a token.
        StoreError: Another server serves the home.
    """
    refuse_strangers(options)
    with ExitStack() as stack:
        folder = stack.enter_context(_own_folder(library.home))
        at = stack.enter_context(listen(options.host, options.port))
        url = address(options.host, at.getsockname()[1])
        inside = _listen_inside(folder, stack)
        with suppress(OSError), whole_file(folder / NOTE) as partial:
            note = {"pid": os.getpid(), "url": url, "since": time.time(), "version": __version__}
            partial.write_text(json.dumps(note | {"uri": library.place.uri}))
        serving = stack.enter_context(opened(library, options, folder))
        app = create_app(serving)
        hosts = options.hosts | {options.host}
        guarded = Guard(app, hosts=hosts, token=options.token, max_upload_mb=options.max_upload_mb)
        servers = [(_server(guarded), at)]
        if inside is not None:
            servers.append(
                (_server(Guard(app, trusted=True, max_upload_mb=options.max_upload_mb)), inside)
            )
        page = f"{url}/#token={quote(options.token, safe='')}" if options.token else url

        def begin() -> None:
            Thread(target=_warm, args=[library], name="warming", daemon=True).start()
            started(page)

        asyncio.run(_run(servers, begin))


def refuse_strangers(options: ServeOptions) -> None:
    """Raise SettingsError where other machines could ask without a token that works."""
    token = options.token
    if not (token.isascii() and token.isprintable() and token == token.strip()):
        raise SettingsError(
            "VIDSIM_SERVE_TOKEN has characters that a header cannot carry; set it to a long random "
            "text of ASCII letters and digits."
        )
    if not token and not is_loopback(options.host):
        raise SettingsError(
            f"Other machines can reach {options.host}, so a token is needed; set "
            "VIDSIM_SERVE_TOKEN to a long random text, or leave --host out."
        )


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def address(host: str, port: int) -> str:
    """Return the address of a page; one that stands for all is told as this machine's."""
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


@contextmanager
def opened(library: Library, options: ServeOptions, folder: Path) -> Iterator[Serving]:
    """Yield what the routes share; what it started ends afterwards.

    Args:
        library: What is served.
        options: The limits.
        folder: Of the server's own files; uploads of an earlier server are deleted.
    """
    with ExitStack() as stack:
        pictures = Pictures(folder / "cache", library.place)
        stack.callback(pictures.close)
        maps = Maps(library.home, folder / "cache" / "maps")
        stack.callback(maps.close)
        uploads = Uploads(folder / "uploads", options.max_upload_mb, pictures.forget)
        stack.callback(uploads.close)
        jobs = Jobs(folder / "jobs", library.place)
        stack.callback(jobs.close)
        duplicates = Duplicates(library)
        stack.callback(duplicates.close)
        turns = Turns(_AT_ONCE, options.most_waiting)
        yield Serving(
            library,
            options,
            folder,
            Catalogue(library),
            uploads,
            turns,
            Folders(library.home, options.roots),
            jobs,
            duplicates,
            Decisions(folder / "decisions.json"),
            metered(library.home, turns, uploads, jobs),
            pictures,
            maps,
        )


@contextmanager
def _own_folder(home: Path) -> Iterator[Path]:
    """Yield the server's folder in the home, held for this server; elsewhere if none can be made.

    Raises:
        StoreError: Another server holds it.
    """
    folder = home / FOLDER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        lock = FileLock(folder / _LOCK)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StoreError(
            f"A server runs on {home} already{_who(folder)}; open that, or end it first."
        ) from error
    except OSError as error:
        _log.warning("%s cannot be written (%s); commands will not ask the server.", folder, error)
        with tempfile.TemporaryDirectory(prefix="vidsim-server-") as elsewhere:
            yield Path(elsewhere)
        return
    try:
        yield folder
    finally:
        for name in (SOCKET, NOTE):
            (folder / name).unlink(missing_ok=True)
        lock.release()


def _warm(library: Library) -> None:
    """Load what the first query would wait for; what fails is told by the query that needs it."""
    try:
        library.warm()
    except VidsimError as error:
        _log.warning("%s", error)


def _who(folder: Path) -> str:
    try:
        note = json.loads((folder / NOTE).read_text())
        return f": {note['url']}, process {note['pid']}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _listen_inside(folder: Path, stack: ExitStack) -> socket.socket | None:
    try:
        return stack.enter_context(listen_in(folder))
    except OSError as error:
        _log.warning("No socket can be made in %s (%s); commands go without.", folder, error)
        return None


class _Server(uvicorn.Server):
    """A server that leaves signals alone: it would end the process before all is closed."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]
        return nullcontext()


def _server(app: Guard) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_LAST_S,
        timeout_keep_alive=round(SILENCE_S),
        backlog=WAITING,
    )


async def _run(
    servers: Sequence[tuple[uvicorn.Config, socket.socket]], begin: Callable[[], object]
) -> None:
    """Serve until a signal ends all of them; call `begin` once signals are listened to."""
    running = [(_Server(config), at) for config, at in servers]

    def end() -> None:
        for server, _ in running:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    begin()
    await asyncio.gather(*(server.serve(sockets=[at]) for server, at in running))
