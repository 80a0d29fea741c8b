"""Download missing weights, with progress reporting."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from ...schemas.backbones import Backbone
from ...schemas.errors import WeightsError
from ..system.cpu import describe_cpu, motion_numbers
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
    for network, backbone in {b.network: b for b in backbones}.items():
        if network in _PREPARED:
            stage = f"preparing {network}"
            progress.start(stage, None, "networks")
            _PREPARED[network](backbone)
            progress.finish(stage)


def _yamnet(backbone: Backbone) -> None:
    from .sound_weights import yamnet_weights

    yamnet_weights(backbone, ensure(backbone))


def _i3d(backbone: Backbone) -> None:
    if motion_numbers(describe_cpu().features) != "integers":
        return
    import torch

    from .i3d_prepared import load_i3d_int8

    load_i3d_int8(backbone, ensure(backbone), torch.float32)


_PREPARED = {"yamnet": _yamnet, "i3d": _i3d}
"""By network, what makes that of which the first use would else make."""


def check_there(backbones: Iterable[Backbone]) -> None:
    """Raise WeightsError where the cache lacks weights that `backbones` need; fetch nothing."""
    lacking = [b.name for b in backbones if status(b) not in ("pulled", "none needed")]
    if lacking:
        raise WeightsError(
            f"The weights of {' and '.join(lacking)} are not here; run "
            f"'vidsim models pull {' '.join(lacking)}' on the server's machine."
        )
