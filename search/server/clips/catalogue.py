"""What is stored, kept in memory for as long as the home does not change."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from ....ingest.shards.home import open_shards
from ....schemas.errors import LibraryError
from ....schemas.results import StoredVideo
from ...library import Library


@dataclass(frozen=True)
class Listing:
    """All stored videos at one time.

    Attributes:
        stamp: Changes with what is stored.
        videos: By id, in the order of the ids.
        roots: The folder of each library, or in words where it comes from.
    """

    stamp: str = ""
    videos: Mapping[str, StoredVideo] = field(default_factory=dict)
    roots: Mapping[str, str] = field(default_factory=dict)


class Catalogue:
    """The stored videos of a home, read again only when they have changed."""

    def __init__(self, library: Library) -> None:
        """Prepare; nothing is read yet."""
        self._library = library
        self._lock = Lock()
        self._listing: Listing | None = None

    def now(self) -> Listing:
        """Return what is stored now.

        Raises:
            StoreError: A shard cannot be read.
        """
        with self._lock:
            stamp = self.stamp()
            if self._listing is None or self._listing.stamp != stamp:
                videos = {video.video_id: video for video in self._library.videos()}
                roots = {each.library: each.root for each in self._library.libraries()}
                self._listing = Listing(stamp, videos, roots)
            return self._listing

    def stamp(self) -> str:
        """Return a text that changes with what is stored.

        Raises:
            StoreError: A folder cannot be read.
        """
        shards = open_shards(self._library.home)
        return "\n".join(f"{name} {shards.stamp(name)}" for name in shards.libraries())

    def video(self, video_id: str) -> StoredVideo:
        """Return a stored video.

        Raises:
            LibraryError: There is none of this id.
            StoreError: A shard cannot be read.
        """
        found = self.now().videos.get(video_id)
        if found is None:
            raise LibraryError(f"{video_id} is not stored; /v1/videos lists the ids.")
        return found

    def folder(self, video: StoredVideo) -> Path | None:
        """Return the folder of a video's library; None where that has none here."""
        root = self.now().roots.get(video.video_id.partition("/")[0], "")
        return Path(root) if os.path.isabs(root) else None
