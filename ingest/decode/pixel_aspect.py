"""The pixel aspect ratio of a stream, which may become known late and may change."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

from av.stream import Stream
from av.video.codeccontext import VideoCodecContext

_MOST = 10.0
"""Pixels wider or higher than 10:1 are an error in the file; they count as square."""


class PixelAspect:
    """Width over height of a pixel, as the container or the coded frames state it.

    As in libav's `av_guess_sample_aspect_ratio`, the container's value counts if it differs from
    that of the coded frames. Otherwise theirs is followed from frame to frame.
    """

    def __init__(self, stream: Stream) -> None:
        """Read what is known before the first frame is decoded."""
        self._context = cast(VideoCodecContext, stream.codec_context)
        self._declared = cast(
            Fraction | None,
            stream.sample_aspect_ratio,  # type: ignore[attr-defined]
        )
        coded = self._context.sample_aspect_ratio
        self._follows = not self._declared or self._declared == coded

    def now(self) -> float:
        """Return that of the frame decoded last.

        A decoder that holds frames back shows a change early, by up to that many frames.
        """
        coded = self._context.sample_aspect_ratio if self._follows else None
        aspect = float(coded or self._declared or 1)
        return aspect if 1 / _MOST < aspect < _MOST else 1.0
