"""Download missing weights, with progress reporting."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from ...schemas.backbones import Backbone
from ...schemas.errors import WeightsError
from ..system.progress import Progress, shown
from .weights import ensure, status

_log = logging.getLogger(__name__)


def pull(backbones: Iterable[Backbone], progress: Progress) -> None:
    """Download the weights that `backbones` need and the cache lacks.

    What can be fetched is fetched, whatever else cannot.

    Raises:
        WeightsError: Some cannot be fetched, or are not what they should be; it names them all.
    """
    failed: dict[str, WeightsError] = {}
    for backbone in backbones:
        if status(backbone) in ("missing", "damaged", "unreadable"):
            _log.info("The weights of %s are fetched.", backbone.name)
            with shown(progress, f"pulling {backbone.name}") as advance:
                try:
                    ensure(backbone, advance)
                except WeightsError as error:
                    failed[backbone.name] = error
    if len(failed) == 1:
        raise next(iter(failed.values()))
    if failed:
        told = " ".join(f"{name}: {error}" for name, error in failed.items())
        raise WeightsError(f"The weights of {' and '.join(failed)} cannot be had. {told}")


def check_there(backbones: Iterable[Backbone]) -> None:
    """Raise WeightsError where the cache lacks weights that `backbones` need; fetch nothing."""
    lacking = [b.name for b in backbones if status(b) not in ("pulled", "none needed")]
    if lacking:
        raise WeightsError(
            f"The weights of {' and '.join(lacking)} are not here; run "
            f"'vidsim models pull {' '.join(lacking)}' on the server's machine."
        )
