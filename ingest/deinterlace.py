"""One moment of an interlaced picture, whose even and odd rows are of two."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

_COMB = 10 / 255
"""How far beyond both of its neighbours a row is of another moment, as a share of full scale.

Measured together with `_AROUND`: 20 of 255, and none or one pixel around, are worse where much moves
(docs/decoding.md)."""

_AROUND = np.ones((5, 5), np.uint8)
"""Pixels around one of another moment that are taken for it too."""


def deinterlace(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The moment of the even rows.

    An odd row keeps its detail where it fits between its neighbours, as in all that stands
    still; where it does not, they are averaged in its place.

    Args:
        picture: (h, w, 3) uint8 or uint16.

    Returns:
        The same shape and type.
    """
    if len(picture) < 2:
        return picture
    even, odd = picture[::2], picture[1::2]
    above = even[: len(odd)]
    below = np.concatenate((even[1:], even[-1:]))[: len(odd)]
    beyond = np.maximum(
        cv2.subtract(cv2.min(above, below), odd), cv2.subtract(odd, cv2.max(above, below))
    )
    other = (beyond.max(2) > _COMB * np.iinfo(picture.dtype).max).astype(np.uint8)
    if not other.any():
        return picture
    moved = cv2.dilate(other, _AROUND).astype(bool)
    result = picture.copy()
    result[1::2][moved] = cv2.addWeighted(above, 0.5, below, 0.5, 0)[moved]
    return result
