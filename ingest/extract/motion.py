"""The motion modality: one embedding of a segment's middle frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from ...schemas.backbones import Backbone
from ...schemas.embedding import Rows, SegmentEmbedding
from ..decode.events import SegmentMedia
from ..decode.flat import all_flat
from ..models.i3d_prepared import load_i3d_int8
from ..models.networks.i3d import I3D
from ..models.networks.i3d_int8 import I3DInt8, supported
from ..models.networks.i3d_winograd import I3DWinograd
from ..models.networks.loading import load_network
from ..models.weights import ensure
from .pixels import computes_bfloat16, inference, may_reduce, to_network_input


class MotionExtractor:
    """Embeds clips with a three-dimensional network."""

    def __init__(self, backbone: Backbone, device: torch.device) -> None:
        """Load the weights of `backbone` onto `device`."""
        self.backbone = backbone
        self._names = frozenset([backbone.name])
        self._device = device
        assert backbone.pixels is not None
        self._pixels = backbone.pixels
        # Of the others it is not measured whether their embeddings hold in bfloat16.
        self._reduced = backbone.network == "i3d" and computes_bfloat16(device)
        self._network = self._load(ensure(backbone)).to(device)
        self._network.to(memory_format=torch.channels_last_3d)

    def _load(self, folder: Path) -> nn.Module:
        """Return the network, I3D by the path that is fastest on this CPU."""
        path = i3d_path(self._device) if self._on_cpu else ""
        if path == "integers":
            wide = torch.bfloat16 if self._reduced else torch.float32
            return load_i3d_int8(self.backbone, folder, wide)
        network = load_network(self.backbone, folder)
        if path == "winograd":
            assert isinstance(network, I3D)
            return I3DWinograd(network)
        if path == "bfloat16":
            assert isinstance(network, I3D)
            network.pool_by_axis()
        return network

    @property
    def _on_cpu(self) -> bool:
        """Whether this is I3D on a CPU, which is computed in several ways."""
        return self.backbone.network == "i3d" and self._device.type == "cpu"

    def embed(self, media: Sequence[SegmentMedia]) -> list[SegmentEmbedding]:
        """Embed segments that carry (count, size, size, 3) uint8 frames, one row each."""
        clips = np.stack([m.frames[self.backbone.modality] for m in media])
        with inference(self._device, self._reduced):
            if isinstance(self._network, I3DInt8):
                features = self._network(torch.from_numpy(clips))
            else:
                features = self._network(to_network_input(clips, self._pixels, self._device))
        vectors = features.float().cpu().numpy()
        return [
            SegmentEmbedding(
                {
                    self.backbone.name: Rows(
                        vector[None],
                        np.array([m.segment.start_s], np.float32),
                        np.array([m.segment.end_s], np.float32),
                    )
                },
                flat=self._names if all_flat(clip) else frozenset(),
            )
            for m, vector, clip in zip(media, vectors, clips)
        ]


def i3d_path(cpu: torch.device) -> Literal["integers", "bfloat16", "winograd"]:
    """Return how I3D is computed on this CPU: the fastest way that it has instructions for."""
    if may_reduce(cpu) and supported():
        return "integers"
    return "bfloat16" if computes_bfloat16(cpu) else "winograd"
