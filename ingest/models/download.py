"""Files that lie at their publisher's own address: fetched, checked, their hashes noted.

What is published of a file is often less than its SHA-256: a few digits, an MD5 sum, or
nothing. So the SHA-256 of what was taken is noted beside it, in the format of `sha256sum`:
shards and exports name it, and later damage is noticed.
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
    """An address that gives no answer, or no whole file; says which and why."""


def read_note(folder: Path) -> dict[str, str]:
    """SHA-256 by file name, as `write_note` put it down; empty where there is no note.

    Raises:
        OSError: It cannot be read.
    """
    try:
        lines = (folder / NOTE).read_text().splitlines()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, UnicodeDecodeError):
        return {}
    pairs = [re.fullmatch(r"([0-9a-f]{64})  (.+)", line) for line in lines]
    return {pair[2]: pair[1] for pair in pairs if pair}


def write_note(path: Path, digests: Mapping[str, str]) -> None:
    """Writes SHA-256 by file name."""
    path.write_text("".join(f"{digest}  {name}\n" for name, digest in digests.items()))


def fetch(file: PublishedFile, target: Path, advance: Advance) -> None:
    """Downloads a file from its address; proxies are those of the environment.

    Args:
        file: One with an address.
        target: The file to write.
        advance: Told about the progress.

    Raises:
        UnreachableError: The address, or timm's hub, does not give it.
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
    """The file in blocks, each with the bytes in all.

    A generator, so that an error of whoever writes the blocks is not taken for the source's.
    """
    try:
        # The addresses are constants of vidsim and timm, none of them a person's.
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
    """The SHA-256 of `path`, after it was held against the checksum known of `file`.

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
