"""Downloads from publishers' own addresses: fetch files, check them, and note their hashes.

Publishers often state less than a file's SHA-256: a few digits of it, an MD5 sum, or nothing. So
the SHA-256 of the downloaded file is noted beside it, in the format of `sha256sum`: shards and
exports name it, and later damage is detected.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import shutil
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

from ...schemas.errors import WeightsError
from ...schemas.weights import TIMM_SCHEME, PublishedFile
from .package_index import Advance

NOTE = "SHA256SUMS"
"""The file of notes; ``sha256sum -c`` reads it too."""

_BLOCK = 1 << 18
_TIMEOUT_S = 60.0


class UnreachableError(Exception):
    """An address gave no answer, or no whole file; the message says which and why."""


def read_note(folder: Path) -> dict[str, str]:
    """Read the note in the folder of weights, as `read_noted` does."""
    return read_noted(folder / NOTE)


def read_noted(path: Path) -> dict[str, str]:
    """Read SHA-256 by file name, as `write_note` wrote it; empty where there is no note.

    Raises:
        OSError: It cannot be read.
    """
    try:
        lines = path.read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError):
        return {}
    pairs = [re.fullmatch(r"([0-9a-f]{64})  (.+)", line) for line in lines]
    return {pair[2]: pair[1] for pair in pairs if pair}


def write_note(path: Path, digests: Mapping[str, str]) -> None:
    """Write SHA-256 by file name."""
    path.write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()))


def fetch(file: PublishedFile, target: Path, advance: Advance) -> None:
    """Download a file from its address, through the environment's proxies.

    Args:
        file: One with an address.
        target: The file to write.
        advance: Receives the progress.

    Raises:
        UnreachableError: The address, or timm's hub, does not provide it.
        OSError: `target` cannot be written.
    """
    assert file.url is not None
    url = file.url
    if url.startswith(TIMM_SCHEME):
        from .networks.timm_network import published_at

        try:
            cached, url = published_at(url.removeprefix(TIMM_SCHEME))
        except WeightsError as error:
            raise UnreachableError(str(error)) from error
        if cached:
            shutil.copyfile(cached, target)
            return
    done = 0
    with target.open("wb") as out:
        for block, total in _blocks(url):
            out.write(block)
            done += len(block)
            advance(done, total)


def _blocks(url: str) -> Iterator[tuple[bytes, int | None]]:
    """Yield the file in blocks, each with the total number of bytes.

    A generator keeps errors of writing the blocks apart from those of the source.
    """
    try:
        # The addresses are constants of vidsim and timm, never user input.
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:  # noqa: S310
            length = response.headers.get("Content-Length")
            total = int(length) if length else None
            done = 0
            while block := response.read(_BLOCK):
                done += len(block)
                yield block, total
    except (OSError, http.client.HTTPException) as error:  # urllib's own are OSErrors
        reason = getattr(error, "reason", None) or error
        raise UnreachableError(f"{url} is out of reach ({reason})") from error
    if total is not None and done < total:
        raise UnreachableError(f"{url} broke off after {done} of {total} bytes")


def check(file: PublishedFile, path: Path) -> str:
    """Check `path` against the known checksum of `file`; return its SHA-256.

    Raises:
        WeightsError: It is not the file of that checksum.
    """
    algorithm, _, known = file.checksum.partition(":")
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    found = digest
    if algorithm == "md5":
        with path.open("rb") as opened:
            found = hashlib.file_digest(
                opened, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
    if not found.startswith(known):
        name = "MD5" if algorithm == "md5" else "SHA-256"
        raise WeightsError(
            f"{path} is not the file vidsim knows ({name} {found[: len(known)]} instead of {known})"
        )
    return digest
