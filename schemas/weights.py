"""Where weights are published, and by what they are known to be right."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PinnedFile:
    """One file inside a published archive: its path there and its SHA-256 (hex)."""

    member: str
    sha256: str

    @property
    def name(self) -> str:
        """The file's own name, which it keeps in the cache."""
        return self.member.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class PinnedArchive:
    """An archive on the package index, pinned, and the files wanted of it."""

    distribution: str
    version: str
    archive_sha256: str
    files: tuple[PinnedFile, ...]
    licence: str
    source: str


TIMM_SCHEME = "timm:"
"""What names a network of timm: ``--model frame=timm:NAME``."""


@dataclass(frozen=True)
class PublishedFile:
    """A file that its publisher offers at an address of its own.

    Attributes:
        name: The file's own name, which it keeps in the cache.
        url: Where it is fetched from; ``timm:NAME`` asks timm for it, which knows its own
            hub; None where a person has to.
        checksum: ``sha256:`` or ``md5:`` and the hexadecimal digits that are known, of
            SHA-256 perhaps the first ones only; "" where none are.
    """

    name: str
    url: str | None
    checksum: str


@dataclass(frozen=True)
class PublishedFiles:
    """Weights that are not on the package index, but at their publisher's.

    Attributes:
        folder: Where in the cache they lie; backbones that need the same files share it.
        files: What is needed.
        licence: SPDX identifier.
        source: What was trained on what, by whom.
        how: Where a person gets the files: the words that follow "get them from".
    """

    folder: str
    files: tuple[PublishedFile, ...]
    licence: str
    source: str
    how: str
