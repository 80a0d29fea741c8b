"""The shape of a stream's pixels, which may be told late and may change."""

from __future__ import annotations

from fractions import Fraction
from typing import cast

from av.stream import Stream
from av.video.codeccontext import VideoCodecContext

_MOST = 10.0
"""Pixels wider or higher than 10:1 are a mistake of the file; they are taken as square."""


class PixelAspect:
    """Width over height of one pixel, as the container or the coded pictures tell it.

    As in libav's `av_guess_sample_aspect_ratio`, the container's word counts where it says
    another than the coded pictures. Else those are followed from frame to frame.
    """

    def __init__(self, stream: Stream) -> None:
        """Reads what is known before the first picture is decoded."""
        self._context = cast(VideoCodecContext, stream.codec_context)
        self._declared = cast(
            Fraction | None,
            stream.sample_aspect_ratio,  # type: ignore[attr-defined]
        )
        coded = self._context.sample_aspect_ratio
        self._follows = not self._declared or self._declared == coded

    def now(self) -> float:
        """That of the frame that was decoded last.

        A decoder that holds frames back tells a change up to as many frames early.
        """
        coded = self._context.sample_aspect_ratio if self._follows else None
        aspect = float(coded or self._declared or 1)
        return aspect if 1 / _MOST < aspect < _MOST else 1.0
