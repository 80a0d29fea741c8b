"""Deinterlace: reduce a frame whose even and odd rows are two moments to one of them."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

_COMB = 10 / 255
"""A pixel that is beyond both of its vertical neighbours by more than this fraction of full scale
is from the other moment.

Measured together with `_AROUND`: 20 of 255, and none or one pixel around, are worse where much
moves (docs/decoding.md)."""

_AROUND = np.ones((5, 5), np.uint8)
"""The pixels around one from the other moment that count as such too."""


def deinterlace(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the moment of the even rows.

    Pixels of odd rows are kept where they fit between their neighbours, as wherever nothing
    moves; elsewhere the average of the neighbours replaces them.

    Args:
        picture: (h, w, 3) uint8 or uint16.

    Returns:
        The same shape and dtype.
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
