"""One set of weights per library: which rows of others may join it.

Rows of two sets of weights cannot be compared, and a library that has both takes no new ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from ...schemas.backbones import Backbones
from ..models.weights import digests
from ..shards.catalog import CatalogEntry, stored_weights


def weights_to_have(
    backbones: Backbones,
    catalog: Mapping[str, CatalogEntry],
    offered: Sequence[CatalogEntry],
    embedding: bool,
) -> dict[str, Collection[str]]:
    """Return, by backbone, the SHA-256 of the weights that rows which join a library must have.

    They are the library's own; where it has no rows of a backbone, those that new rows are computed
    with, or those of most videos that are offered where that is unknown. Without new rows any will
    do, if all that are offered are of one set.

    Args:
        backbones: The backbones of the home, by name.
        catalog: What the library has.
        offered: Videos of other libraries that may join it.
        embedding: Whether new rows may be computed for it, besides those of offered videos that do
            not join.

    Raises:
        WeightsError: The weights here cannot be read.
    """
    wanted: dict[str, Collection[str]] = {
        name: of.split(";") for name, of in stored_weights(catalog).items() if of
    }
    theirs: dict[str, Counter[str]] = {}
    for entry in offered:
        for name, digest in entry.weights.items():
            theirs.setdefault(name, Counter()).update([digest] if digest else [])
    alike = len({frozenset(entry.weights) for entry in offered}) == 1
    if not embedding and alike and all(len(found) <= 1 for found in theirs.values()):
        return wanted
    for name in theirs.keys() - wanted.keys():
        ours = digests(backbones[name]) if name in backbones else ""
        if ours or theirs[name]:
            wanted[name] = [ours or theirs[name].most_common(1)[0][0]]
    return wanted


def other_weights_of(entry: CatalogEntry, wanted: Mapping[str, Collection[str]]) -> list[str]:
    """Return the backbones of which a video has rows by weights that are known to be others."""
    return [
        name
        for name, found in sorted(entry.weights.items())
        if found and found not in wanted.get(name, (found,))
    ]
