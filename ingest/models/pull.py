"""Download missing weights, with progress reporting."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

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
    wanted = list(backbones)
    with ThreadPoolExecutor(thread_name_prefix="vidsim-weights") as pool:  # hashing them
        states = list(pool.map(status, wanted))
    for backbone, state in zip(wanted, states, strict=True):
        if state in ("missing", "damaged", "unreadable"):
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


def prepare(backbones: Iterable[Backbone], progress: Progress) -> None:
    """Make of weights that were pulled what would else be made at first use (see `prepared`).

    Raises:
        WeightsError: A file does not hold its network.
    """
    for backbone in backbones:
        if backbone.name == "yamnet":
            from .sound_weights import yamnet_weights

            stage = f"preparing {backbone.name}"
            progress.start(stage, None, "networks")
            yamnet_weights(backbone, ensure(backbone))
            progress.finish(stage)


def check_there(backbones: Iterable[Backbone]) -> None:
    """Raise WeightsError where the cache lacks weights that `backbones` need; fetch nothing."""
    lacking = [b.name for b in backbones if status(b) not in ("pulled", "none needed")]
    if lacking:
        raise WeightsError(
            f"The weights of {' and '.join(lacking)} are not here; run "
            f"'vidsim models pull {' '.join(lacking)}' on the server's machine."
        )
