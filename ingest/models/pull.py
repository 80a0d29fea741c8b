"""Download missing weights, with progress reporting."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ...schemas.backbones import Backbone
from ..system.progress import Progress, shown
from .weights import ensure, status

_log = logging.getLogger(__name__)


def pull(backbones: Iterable[Backbone], progress: Progress) -> None:
    """Download the weights that `backbones` need and the cache lacks.

    Raises:
        WeightsError: They cannot be fetched, or are not what they should be.
    """
    for backbone in backbones:
        if status(backbone) in ("missing", "damaged", "unreadable"):
            _log.info("The weights of %s are fetched.", backbone.name)
            with shown(progress, f"pulling {backbone.name}") as advance:
                ensure(backbone, advance)
