"""Read and apply a display matrix, which says how to rotate and flip a frame."""

from __future__ import annotations

from typing import cast

import numpy as np
import numpy.typing as npt
from av.buffer import Buffer
from av.filter import Graph
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame

from ...schemas.embedding import ByteArray

DisplayMatrix = npt.NDArray[np.int32]

_NEWEST_SIDE_DATA = 40
"""Above every side data type of FFmpeg 8, some of which PyAV 18 cannot name."""


def display_matrix(frame: VideoFrame) -> DisplayMatrix | None:
    """Return a frame's display matrix, (3, 3) int32; None if it has none.

    libav's decoders also copy there that of the stream or the packet. It maps (x, y) to
    (a x + c y, b x + d y), with a, b in its first row and c, d in its second.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # a type that PyAV cannot name, such as EXIF, hides all others
        data = _of_known_kinds(frame).side_data.get("DISPLAYMATRIX")
    if data is None:
        return None
    return np.frombuffer(bytes(cast(Buffer, data)), np.int32).reshape(3, 3)


def _of_known_kinds(frame: VideoFrame) -> VideoFrame:
    """Return the frame without the side data that PyAV cannot name."""
    graph = Graph()
    last = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    for kind in range(max(cast(int, known.value) for known in Type) + 1, _NEWEST_SIDE_DATA):
        following = graph.add("sidedata", f"mode=delete:type={kind}")
        last.link_to(following)
        last = following
    last.link_to(graph.add("buffersink"))
    graph.configure()
    graph.push(frame)
    return cast(VideoFrame, graph.pull())


def upright(rgb: ByteArray, matrix: DisplayMatrix | None) -> ByteArray:
    """Rotate and flip (h, w, 3) by the display matrix, to the nearest quarter turn."""
    if matrix is None:
        return rgb
    (a, b), (c, d) = matrix[0, :2], matrix[1, :2]
    if lies(matrix):
        rgb, mirrored, upended = rgb.transpose(1, 0, 2), c < 0, b < 0
    else:
        mirrored, upended = a < 0, d < 0
    return np.ascontiguousarray(rgb[:: -1 if upended else 1, :: -1 if mirrored else 1])


def lies(matrix: DisplayMatrix | None) -> bool:
    """Return whether a frame with this display matrix is a quarter turn from upright."""
    return matrix is not None and abs(int(matrix[0, 0])) < abs(int(matrix[1, 0]))
