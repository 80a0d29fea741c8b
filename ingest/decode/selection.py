"""Choose the packets without which the wanted pictures of a video could not be decoded.

Pure numpy, independent of files and codecs; docs/decoding.md says why it may be done.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .stamps import Floats
from .structure import Structure

_LEAST = 0.1
"""Part of the packets that must be left out, so that it is worth the risk of beginning again."""


@dataclass(frozen=True)
class Selection:
    """Which packets of a video are decoded.

    Attributes:
        order: (n,) int64 numbers of all packets, in the order in which their pictures are shown.
        times_s: (n,) when their pictures are shown, in that order, ascending.
        chosen: (n,) bool by number, whether a packet is decoded.
        sizes: (n,) int64 bytes by number.
    """

    order: npt.NDArray[np.int64]
    times_s: Floats
    chosen: npt.NDArray[np.bool_]
    sizes: npt.NDArray[np.int64]


def select(structure: Structure, packets_s: Floats, shown_s: Floats) -> Selection | None:
    """Return a selection of everything, None where packets and pictures are not one to one.

    Args:
        structure: How the pictures depend on each other.
        packets_s: (n,) presentation times of the packets in file order, NaN if unknown.
        shown_s: (m,) ascending times at which something new is presented.
    """
    count = len(packets_s)
    if len(structure.begins) != count or len(shown_s) != count or not structure.begins[0]:
        return None
    order = np.argsort(structure.shown, kind="stable")
    # Stamps that a file gives in another order than that of its coded pictures are wrong.
    if not np.array_equal(packets_s[order], shown_s) or not (np.diff(shown_s) > 0).all():
        return None
    # A decoder that holds back fewer pictures than the order takes gives some too early.
    late = int((order - np.arange(count)).max(initial=0))
    if structure.delay is not None and structure.delay < late:
        return None
    return Selection(order, shown_s, np.ones(count, np.bool_), structure.sizes)


def needed(structure: Structure, of: Selection, wanted: npt.NDArray[np.int64]) -> Selection | None:
    """Return the packets that pictures depend on; None if that is nearly all of them.

    Args:
        structure: How the pictures depend on each other.
        of: The selection of everything.
        wanted: Places of the wanted pictures in the order in which they are shown.
    """
    count = len(of.order)
    rank = np.empty(count, np.int64)
    rank[of.order] = np.arange(count)
    asked = np.zeros(count, np.bool_)
    asked[of.order[wanted]] = True
    first = np.flatnonzero(structure.begins)
    behind = np.append(first[1:], count)
    group = np.cumsum(structure.begins) - 1
    leading = rank < rank[first][group]
    # Leading pictures depend on the group before, too, but for the leading pictures of that.
    on_before = np.zeros(len(first) + 1, np.bool_)
    on_before[group[asked & leading]] = True
    if on_before[0]:
        return None
    last = np.full(len(first), -1, np.int64)
    last[group[asked]] = np.flatnonzero(asked)  # ascending, so that the last of a group stays
    last[on_before[1:]] = behind[on_before[1:]] - 1
    # What precedes the last wanted picture of a group may be what it is made from.
    chosen = np.arange(count) <= last[group]
    chosen &= ~structure.free | asked
    chosen &= ~leading | on_before[:-1][group]
    if count - np.count_nonzero(chosen) < _LEAST * count:
        return None
    return Selection(of.order, of.times_s, chosen, of.sizes)
