"""Clips that were embedded lately: asked for again, with other weights say, they are not again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import TYPE_CHECKING

from ..schemas.embedding import EmbeddedVideo

if TYPE_CHECKING:  # torch and PyAV, which a stored clip does not need
    from ..ingest.extract.batching import FailedVideo
    from ..ingest.extract.embed import EmbedOptions
    from ..schemas.video import Video

_MOST_SEGMENTS = 2000
"""Of all clips together: some 60 MB, at 30 kB a segment with the default networks."""


class RecentClips:
    """Embedded clips by content and by how they were cut, the most recent ones."""

    def __init__(self) -> None:
        """Begin without any."""
        self._kept: OrderedDict[Hashable, EmbeddedVideo] = OrderedDict()

    def get(self, video: Video, options: EmbedOptions) -> EmbeddedVideo | None:
        """Return the embeddings of the same content, if they have all that is asked for."""
        key = _key(video, options)
        found = self._kept.get(key)
        if found is None or not {b.name for b in options.backbones.values()} <= found.backbones:
            return None
        self._kept.move_to_end(key)
        return found

    def keep(
        self, video: Video, options: EmbedOptions, result: EmbeddedVideo | FailedVideo
    ) -> None:
        """Keep the embeddings of a clip; a failure may pass, and is not kept."""
        if not isinstance(result, EmbeddedVideo):
            return
        key = _key(video, options)
        self._kept[key] = result
        self._kept.move_to_end(key)
        while sum(len(each.embeddings) for each in self._kept.values()) > _MOST_SEGMENTS:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        self._kept.clear()


def _key(video: Video, options: EmbedOptions) -> Hashable:
    return (
        video.fingerprint,
        options.device,
        options.segment_seconds,
        options.audio_track,
        options.part,
        options.still,
    )
