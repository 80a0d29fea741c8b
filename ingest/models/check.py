"""Check that files hold the weights of a network, by loading it and checking every tensor."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from ...schemas.backbones import Backbone
from ...schemas.errors import WeightsError
from ...schemas.modality import Modality


def check_fits(backbone: Backbone, folder: Path) -> None:
    """Load the network of `backbone` from the files in `folder`, and discard it.

    Raises:
        WeightsError: A file cannot be read, or a tensor is missing, left over or misshapen; the
            message says which.
    """
    if backbone.modality is not Modality.AUDIO:
        from .networks.loading import load_network

        load_network(backbone, folder)
        return
    from .audio_worker import START_SECONDS, start_audio

    with closing(start_audio(backbone, folder, "cpu", threads=1)) as child:
        message = child.receive(START_SECONDS)
    if message.kind != "ready":
        reason = str(message.fields.get("reason", message.kind))
        raise WeightsError(reason.removeprefix("WeightsError: "))
