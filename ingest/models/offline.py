"""``vidsim prepare``: get all that a machine needs which will have no network."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ...schemas.backbones import Backbone
from ...schemas.errors import WeightsError
from ...schemas.health import Prepared, PreparedWeights
from ...schemas.settings import settings
from ..system.progress import Progress, shown
from .pull import prepare, pull
from .sample_clips import ensure_sample_clips
from .weights import digests, folder_of, pinned_by, status


def prepare_offline(backbones: Iterable[Backbone], progress: Progress) -> Prepared:
    """Get the weights of `backbones`, what is made of them, and the clips of ``vidsim demo``.

    The clips are no need: that they cannot be had is a note.

    Raises:
        WeightsError: Weights cannot be fetched, or are not what they should be.
    """
    wanted = [b for b in backbones if b.weights]
    networks = {b.network: b for b in wanted}
    before = {network: status(backbone) for network, backbone in networks.items()}
    pull(networks.values(), progress)
    prepare(networks.values(), progress)
    notes = []
    with shown(progress, "pulling the clips of the demo") as advance:
        try:
            ensure_sample_clips(advance)
        except WeightsError as error:
            notes.append(f"'vidsim demo' will not work without a network: {error}")
    cache = settings().cache
    return Prepared(
        cache=str(cache),
        bytes=_size(cache),
        weights=[
            PreparedWeights(
                network=network,
                backbones=[b.name for b in wanted if b.network == network],
                bytes=_size(folder_of(backbone)),
                sha256=digests(backbone).split(","),
                fetched=before[network] != "pulled",
                pinned=pinned_by(backbone),
            )
            for network, backbone in networks.items()
        ],
        notes=notes,
    )


def _size(folder: Path) -> int:
    files = (os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names)
    return sum(os.lstat(file).st_size for file in files)
