"""Addresses of videos: of files here, and of those that other machines hold."""

from __future__ import annotations

from pathlib import Path


def is_address(path: str) -> bool:
    """Return whether a stored path is an address of the web, as an import may have it."""
    return path.lower().startswith(("https://", "http://"))


def address_at(path: str, at_s: float = 0.0) -> str:
    """Return the address that opens a video at a time.

    That of a file is ``file:///...#t=SECONDS``, percent-encoded; one of the web stays as it is, as
    sites differ in how they name times.

    Args:
        path: An absolute path, or an address.
        at_s: Seconds from its start.
    """
    if is_address(path):
        return path
    return f"{Path(path).as_uri()}#t={at_s:.1f}"
