"""One moment of an interlaced picture, whose even and odd rows are of two."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

_COMB = 10 / 255
"""How far beyond both of its neighbours a row is of another moment, as a share of full scale.

Measured together with `_AROUND`: 20 of 255, and none or one pixel around, are worse where much
moves (docs/decoding.md)."""

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
    even, odd = picture[::2], np.ascontiguousarray(picture[1::2])
    below = np.ascontiguousarray(np.concatenate((even[1:], even[-1:]))[: len(odd)])
    above = np.ascontiguousarray(even[: len(odd)])
    beyond = cv2.max(
        cv2.subtract(cv2.min(above, below), odd), cv2.subtract(odd, cv2.max(above, below))
    )
    red, green, blue = cv2.split(beyond)
    limit = _COMB * np.iinfo(picture.dtype).max
    other = cv2.compare(cv2.max(cv2.max(red, green), blue), limit, cv2.CMP_GT)
    between = cv2.addWeighted(above, 0.5, below, 0.5, 0)
    result = picture.copy()
    result[1::2] = cv2.copyTo(between, cv2.dilate(other, _AROUND), odd)
    return result
